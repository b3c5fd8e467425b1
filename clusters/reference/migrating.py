"""virt-handler's part in a live migration: the source gives a guest away, the target takes it.

kubevirt pkg/virt-handler/migration-{source,target}.go and what the launchers do for them. The
target says which CPUs it has, the domain arrives with the pins for these, and only when the guest
runs there does the API name the other node: for a while the source has none, and nobody says so.
As in pkg/virt-launcher/premigration-hook-server/cpuhook, the domain is made to fit on the target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from clusters.reference.apiserver.store import Object, now
from clusters.reference.launcher.launcher import Launcher
from clusters.reference.launcher.pinning import PinningError
from clusters.reference.machine import NodeError

TARGET_NODE = "kubevirt.io/migrationTargetNodeName"
"""Label of a VMI: the node to which it migrates."""
NODE_NAME = "kubevirt.io/nodeName"
COPY_SECONDS = 0.3
"""How long the guest's memory is under way."""
TELL_SECONDS = 0.1
"""From a guest that goes on at the target until the API says so."""
_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Hands:
    """What a virt-handler lends to its migrations.

    Attributes:
        open: makes the launcher of a VMI's pod on this node. Raises NodeError.
        look_after: moves threads of a guest that has come, and watches it.
        change: edits the stored VMI.
        event: records one about it.
    """

    open: Callable[[Object], Awaitable[Launcher]]
    look_after: Callable[[Object, Launcher], Awaitable[None]]
    change: Callable[[Object, Callable[[Object], object]], None]
    event: Callable[[Object, str, str], None]


class Migrating:
    """The migrations to and from one node."""

    def __init__(
        self,
        node: str,
        launchers: dict[str, Launcher],
        peers: Mapping[str, Migrating],
        hands: Hands,
    ) -> None:
        """One that knows of no migration yet.

        Args:
            node: its own.
            launchers: those whose guests run here, by the UID of their VMI.
            peers: the same of every node, to be filled by whoever makes them.
            hands: what it needs.
        """
        self._node = node
        self._launchers = launchers
        self._peers = peers
        self._hands = hands
        self._incoming: dict[str, Launcher] = {}
        self._leaving: set[str] = set()

    def concerns(self, instance: Object) -> bool:
        """Whether a VMI is to come here."""
        state = _state(instance)
        return state.get("targetNode") == self._node and not state.get("completed")

    def gives_away(self, instance: Object) -> bool:
        """Whether its guest is being given away, so that its end here is none."""
        return instance["metadata"]["uid"] in self._leaving

    async def reconcile(self, instance: Object) -> None:
        """The next step of a VMI's migration, as far as it is this node's."""
        state, uid = _state(instance), instance["metadata"]["uid"]
        if not state or state.get("completed") or "deletionTimestamp" in instance["metadata"]:
            self._incoming.pop(uid, None)
        elif state.get("targetNode") == self._node and not state.get("targetNodeAddress"):
            await self._prepare(instance)
        elif (
            state.get("sourceNode") == self._node
            and state.get("targetNodeAddress")
            and not state.get("startTimestamp")
            and uid not in self._leaving
        ):
            await self._give(instance)

    async def _prepare(self, instance: Object) -> None:
        try:
            launcher = await self._hands.open(instance)
            cpus = await launcher.prepare(instance)
        except (NodeError, ValueError) as error:
            self._fail(instance, str(error))
            return
        self._incoming[instance["metadata"]["uid"]] = launcher
        said = {"targetNodeAddress": _ADDRESS, "targetCPUSet": sorted(cpus)}
        self._hands.change(instance, lambda stored: _state(stored).update(said))
        self._hands.event(
            instance, "PreparingTarget", f"Migration Target is listening at {_ADDRESS}"
        )

    async def _give(self, instance: Object) -> None:
        uid, target = instance["metadata"]["uid"], self._peers[_state(instance)["targetNode"]]
        self._leaving.add(uid)
        began = {"startTimestamp": now()}
        self._hands.change(instance, lambda stored: _state(stored).update(began))
        try:
            await target.receive(instance)
            await asyncio.sleep(COPY_SECONDS)
            await self._launchers[uid].stop()
        except (NodeError, PinningError, KeyError) as error:
            self._leaving.discard(uid)
            self._fail(instance, str(error))
            return
        self._launchers.pop(uid, None)
        await asyncio.sleep(TELL_SECONDS)
        await target.arrive(instance)
        self._leaving.discard(uid)

    async def receive(self, instance: Object) -> None:
        """Makes the domain of a guest that is to come. Raises NodeError, PinningError."""
        launcher = self._incoming.get(instance["metadata"]["uid"])
        if launcher is None:
            raise NodeError("the target has gone")
        await launcher.receive(instance)

    async def arrive(self, instance: Object) -> None:
        """The guest has come: the VMI is here from now on (ackMigrationCompletion)."""
        uid = instance["metadata"]["uid"]
        launcher = self._incoming.pop(uid, None)
        if launcher is None:
            return
        self._launchers[uid] = launcher

        def move(stored: Object) -> None:
            stored["metadata"].setdefault("labels", {})[NODE_NAME] = self._node
            stored["status"]["nodeName"] = self._node
            moment = now()
            _state(stored).update(endTimestamp=moment, targetNodeDomainReadyTimestamp=moment)

        def finish(stored: Object) -> None:
            _state(stored)["completed"] = True
            stored["metadata"]["labels"].pop(TARGET_NODE, None)

        self._hands.change(instance, move)
        message = f"The VirtualMachineInstance migrated to node {self._node}."
        self._hands.event(instance, "Migrated", message)
        self._hands.change(instance, finish)
        # virt-handler looks after it as after any that runs, which nobody waits for.
        await asyncio.sleep(TELL_SECONDS)
        await self._hands.look_after(instance, launcher)

    def _fail(self, instance: Object, why: str) -> None:
        def change(stored: Object) -> None:
            ended = {"endTimestamp": now(), "failureReason": why}
            _state(stored).update(ended, failed=True, completed=True)

        self._hands.change(instance, change)
        self._hands.event(instance, "Migrated", f"VirtualMachineInstance migration failed: {why}")


def _state(instance: Object) -> Object:
    state: Object = instance["status"].get("migrationState") or {}
    return state
