"""virt-handler: one on each node; labels it, and looks after the VMIs that run there.

kubevirt pkg/virt-handler (heartbeat, vm.go) and pkg/hypervisor/kvm (housekeeping). Labels
follow the kubelet's checkpoint and the feature gate; profile ``v1`` writes ``"false"`` where
the documents promise removal, as releases do, and undoes labels set by hand with the next
heartbeat. Profile ``v1alpha2`` leaves the label alone while the gate is off.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress

from clusters.contract import cpuset
from clusters.reference import events, vmi
from clusters.reference.apiserver.resources import CONFIG_MAP, KUBEVIRT, NODE, POD, VMI
from clusters.reference.apiserver.store import Change, NotFoundError, Object, Store, now
from clusters.reference.cluster_config import CPU_MANAGER_GATE, V1ALPHA2, ClusterConfig
from clusters.reference.conditions import get_condition, set_condition
from clusters.reference.faults import Faults
from clusters.reference.kubelet import cgroups, checkpoint
from clusters.reference.launcher.domain_xml import GuestSettings
from clusters.reference.launcher.launcher import SILENCE_SECONDS, Launcher
from clusters.reference.launcher.pinning import PinningError
from clusters.reference.launcher_pod import (
    CPU_MANAGER,
    CREATED_BY,
    DEPRECATED_CPU_MANAGER,
    KVM_DEVICE,
    REALTIME,
    SCHEDULABLE,
)
from clusters.reference.machine import Machine, NodeError
from clusters.reference.migrating import Hands, Migrating
from clusters.reference.node_topology import NodeTopology, discover
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow
from clusters.reference.virt_controller import current
from clusters.reference.vmi import FINAL
from clusters.reference.vmi_status import set_phase

COMPONENT = "virt-handler"
HEARTBEAT = "kubevirt.io/heartbeat"
HANDLER_LABEL = {"kubevirt.io": "virt-handler"}
DEVICES = "1k"
"""How many VMIs may open /dev/kvm of one node."""

_HOUSEKEEPING = "housekeeping"
_RT_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
_VCPU = re.compile(r"CPU (\d+)/KVM")
_FIFO_PRIORITY = 1
_SWEEPS = 10
_LABELS = ("", "labels")

Key = tuple[str, str]


class VirtHandler:
    """virt-handler of one node."""

    def __init__(
        self,
        node: str,
        *,
        store: Store,
        machine: Machine,
        config: ClusterConfig,
        settings: GuestSettings,
        heartbeat_seconds: float,
        peers: Mapping[str, Migrating],
        faults: Faults,
        health: Health,
    ) -> None:
        self.node = node
        self._store = store
        self._machine = machine
        self._config = config
        self._settings = settings
        self._heartbeat_seconds = heartbeat_seconds
        self._faults = faults
        self._name = f"virt-handler {node}"
        self._tasks = Tasks(health)
        self._queue: WorkQueue[Key] = WorkQueue(self._name, self._reconcile, health)
        self._launchers: dict[str, Launcher] = {}
        self._topology: NodeTopology | None = None
        hands = Hands(self._open, self._look_after, self._change, self._event)
        self.migrating = Migrating(node, self._launchers, peers, hands)

    async def start(self) -> None:
        """Begins to watch and to beat."""
        kinds = [VMI, NODE, POD, KUBEVIRT, CONFIG_MAP]
        self._tasks.start(self._name, follow(self._store, kinds, self._on_change))
        self._tasks.start(f"{self._name} heartbeat", self._beat())

    async def stop(self) -> None:
        """Stops; the guests run on."""
        await self._tasks.stop()
        await self._queue.stop()

    async def heartbeat(self) -> None:
        """Reads the kubelet's policy and the gate, and writes labels and devices."""
        if not self._pod_runs():
            return
        began = now()
        labels = {
            SCHEDULABLE: "true",
            **await self._realtime_label(),
            **await self._cpu_manager_labels(),
        }

        def change(node: Object) -> None:
            _stamp(node, began)
            merged = {**(node["metadata"].get("labels") or {}), **labels}
            node["metadata"]["labels"] = {k: v for k, v in merged.items() if v is not None}
            if self._faults.manual_label_undone and not self._config.enabled(CPU_MANAGER_GATE):
                node["metadata"]["labels"].pop(DEPRECATED_CPU_MANAGER, None)
            for amounts in ("capacity", "allocatable"):
                node["status"].setdefault(amounts, {})[KVM_DEVICE] = DEVICES

        self._store.mutate(NODE, self.node, "", change)

    async def console(self, instance: Object) -> str:
        """The serial console of a VMI on this node. Raises KeyError, NodeError."""
        launcher = self._launchers[instance["metadata"]["uid"]]
        return await self._machine.console_text(launcher.container_id, launcher.domain)

    def launcher(self, instance: Object) -> Launcher:
        """The launcher of a VMI that runs on this node. Raises KeyError."""
        return self._launchers[instance["metadata"]["uid"]]

    def _on_change(self, change: Change) -> None:
        obj = change.object
        metadata = obj["metadata"]
        if change.kind == VMI.kind:
            here = (obj.get("status") or {}).get("nodeName") == self.node
            if here or self.migrating.concerns(obj):
                self._queue.add((metadata["namespace"], metadata["name"]))
        elif change.kind in (KUBEVIRT.kind, CONFIG_MAP.kind) or self._concerns_labels(change):
            self._queue.add(_LABELS)

    def _concerns_labels(self, change: Change) -> bool:
        """Whether the kubelet or the handler's own pod has just come up."""
        obj = change.object
        if change.kind == NODE.kind and obj["metadata"]["name"] == self.node:
            before = (change.previous or {}).get("status", {})
            now_, then = (get_condition(s, "Ready") for s in (obj.get("status", {}), before))
            return (now_ or {}).get("status") != (then or {}).get("status")
        return change.kind == POD.kind and self._is_own_pod(obj)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            self._queue.add(_LABELS)

    async def _realtime_label(self) -> dict[str, str | None]:
        """What node-labeller makes of the kernel's settings (isNodeRealtimeCapable)."""
        text = (await self._machine.read([_RT_RUNTIME])).files.get(_RT_RUNTIME, "")
        capable = text.strip() == "-1" and not self._faults.realtime_label_missing
        return {REALTIME: "true" if capable else None}

    async def _cpu_manager_labels(self) -> dict[str, str | None]:
        """The labels to be written; None removes one.

        KubeVirt writes "false" where there is no CPU manager; the guide of 2018 says that the
        label is removed, and so it is in that profile.
        """
        if self._faults.label_missing:
            return {}
        gate = self._config.enabled(CPU_MANAGER_GATE)
        old = self._config.profile == V1ALPHA2
        if old and not gate and not self._faults.label_always_true:
            return {}
        running = gate and await self._static_policy()
        true = running or self._faults.label_always_true
        if old:
            return {DEPRECATED_CPU_MANAGER: "true" if true else None}
        return dict.fromkeys([DEPRECATED_CPU_MANAGER, CPU_MANAGER], str(true).lower())

    async def _static_policy(self) -> bool:
        text = (await self._machine.read([checkpoint.PATH])).files.get(checkpoint.PATH)
        try:
            return text is not None and json.loads(text)["policyName"] == "static"
        except (ValueError, KeyError):
            return False

    async def _reconcile(self, key: Key) -> None:
        if key == _LABELS:
            if self._store.find(NODE, self.node) is not None:
                await self.heartbeat()
            return
        namespace, name = key
        instance = self._store.find(VMI, name, namespace)
        if instance is None:
            return
        await self.migrating.reconcile(instance)
        if instance["status"].get("nodeName") != self.node:
            return
        phase = instance["status"].get("phase")
        deleting = "deletionTimestamp" in instance["metadata"]
        if phase == "Scheduled" and not deleting:
            await self._launch(instance)
        elif phase == "Running" and deleting:
            await self._take_down(instance)
        elif phase in FINAL:
            self._launchers.pop(instance["metadata"]["uid"], None)

    async def _launch(self, instance: Object) -> None:
        uid = instance["metadata"]["uid"]
        if self._pod_of(instance) is None or uid in self._launchers:
            return
        try:
            launcher = await self._open(instance)
            self._launchers[uid] = launcher
            await launcher.start(instance)
            if launcher.emulator_cpus:
                await self._keep_house(launcher)
            if vmi.is_dedicated(instance) and not self._faults.pit_not_affined:
                await self._machine.affine_pit(launcher.container_id)
            if vmi.realtime(instance) and not self._faults.realtime_forgotten:
                await self._schedule_in_real_time(instance, launcher)
        except (PinningError, NodeError, ValueError) as error:
            self._fail(instance, f'server error. command SyncVMI failed: "{error}"')
            return
        self._event(instance, "Created", "VirtualMachineInstance defined.")
        self._change(instance, self._run)
        self._event(instance, "Started", "VirtualMachineInstance started.")
        self._follow(instance, launcher)

    async def _open(self, instance: Object) -> Launcher:
        """The launcher of a VMI's pod on this node. Raises NodeError."""
        pod = self._pod_of(instance)
        if pod is None:
            raise NodeError(f"there is no launcher pod on {self.node}")
        if self._topology is None:
            self._topology = await discover(self._machine)
        return Launcher(self._machine, self._topology, pod, self._settings, self._faults)

    async def _look_after(self, instance: Object, launcher: Launcher) -> None:
        """What becomes of a guest that has migrated here; its vCPUs stay as they were scheduled."""
        self._follow(instance, launcher)
        if launcher.emulator_cpus:
            await self._keep_house(launcher)

    def _follow(self, instance: Object, launcher: Launcher) -> None:
        self._tasks.start(f"{self._name} domain {launcher.domain}", self._watch(instance, launcher))

    async def _watch(self, instance: Object, launcher: Launcher) -> None:
        """Reports the end of a domain that ends by itself."""
        rousing = asyncio.create_task(self._rouse(instance, launcher))
        try:
            reason = await launcher.wait_end()
            phase = "Succeeded"
        except NodeError as error:
            reason, phase = str(error), "Failed"
        finally:
            rousing.cancel()
        if self.migrating.gives_away(instance):
            return

        def change(stored: Object) -> None:
            if stored["status"].get("phase") == "Running":
                set_phase(stored, phase)
                set_condition(stored["status"], "Ready", "False", reason="GuestNotRunning")

        self._event(instance, "Stopped", f"The VirtualMachineInstance was shut down: {reason}")
        self._change(instance, change)

    async def _rouse(self, instance: Object, launcher: Launcher) -> None:
        # What has ended meanwhile needs no help, and its end is reported.
        with suppress(NodeError):
            if await launcher.rouse():
                message = f"The guest said nothing for {SILENCE_SECONDS:.0f} s, and was reset."
                self._event(instance, "Reset", message, type_=events.WARNING)

    async def _take_down(self, instance: Object) -> None:
        self._event(instance, "Deleted", "Signaled Deletion")
        launcher = self._launchers.get(instance["metadata"]["uid"])
        if launcher is not None:
            await launcher.stop()
        self._change(instance, lambda stored: set_phase(stored, "Succeeded"))

    async def _keep_house(self, launcher: Launcher) -> None:
        """Moves every thread but the vCPUs' to the emulator's CPUs, until none is left.

        Threads come and go meanwhile; one that has gone makes the sweep start again.
        """
        if self._faults.housekeeping_missing:
            return
        parent = cgroups.MOUNT + launcher.cgroup
        child = f"{parent}/{_HOUSEKEEPING}"
        await self._machine.make_directories([child])
        await self._machine.write(
            {
                f"{child}/cgroup.type": "threaded",
                f"{parent}/cgroup.subtree_control": "+cpuset",
                f"{child}/cpuset.cpus": cpuset.render(launcher.emulator_cpus),
            }
        )
        for sweep in range(1, _SWEEPS + 1):
            movable = await self._threads_to_move(parent)
            if not movable:
                return
            try:
                await self._move(movable, f"{child}/cgroup.threads")
            except NodeError:
                if sweep == _SWEEPS:
                    raise

    async def _schedule_in_real_time(self, instance: Object, launcher: Launcher) -> None:
        """kubevirt pkg/hypervisor/kvm/realtime.go, configureVCPUScheduler."""
        path = f"{cgroups.MOUNT}{launcher.cgroup}/cgroup.threads"
        threads = (await self._machine.read([path])).files[path].split()
        comms = (await self._machine.read([f"/proc/{thread}/comm" for thread in threads])).files
        every = self._faults.realtime_mask_ignored
        chosen = [
            int(path.split("/")[2])
            for path, comm in comms.items()
            if (found := _VCPU.fullmatch(comm.strip()))
            and (every or vmi.in_real_time(instance, int(found[1])))
        ]
        await self._machine.set_fifo(chosen, _FIFO_PRIORITY)

    async def _move(self, threads: list[str], destination: str) -> None:
        for thread in threads:
            await self._machine.write({destination: thread})

    async def _threads_to_move(self, cgroup: str) -> list[str]:
        path = f"{cgroup}/cgroup.threads"
        threads = (await self._machine.read([path])).files[path].split()
        comms = (await self._machine.read([f"/proc/{thread}/comm" for thread in threads])).files
        return [
            path.split("/")[2]
            for path, comm in comms.items()
            if not ("CPU " in comm and "KVM" in comm)
        ]

    def _run(self, instance: Object) -> None:
        set_phase(instance, "Running")
        set_condition(instance["status"], "Ready", "True")
        why = self._machine.immobile
        told = {"reason": "NotMigratable", "message": why} if why else {}
        set_condition(instance["status"], "LiveMigratable", "False" if why else "True", **told)

    def _fail(self, instance: Object, message: str) -> None:
        def change(stored: Object) -> None:
            reason = "Synchronizing with the Domain failed."
            set_condition(stored["status"], "Synchronized", "False", reason=reason, message=message)
            set_phase(stored, "Failed")

        self._event(instance, "SyncFailed", message, type_=events.WARNING)
        self._change(instance, change)

    def _pod_of(self, instance: Object) -> Object | None:
        uid = instance["metadata"]["uid"]

        def is_one(pod: Object) -> bool:
            labels = pod["metadata"].get("labels") or {}
            return bool(labels.get(CREATED_BY) == uid and pod["spec"].get("nodeName") == self.node)

        return current(
            {"status": {"nodeName": self.node}},
            self._store.list(POD, instance["metadata"]["namespace"], where=is_one),
        )

    def _is_own_pod(self, pod: Object) -> bool:
        labels = pod["metadata"].get("labels") or {}
        return HANDLER_LABEL.items() <= labels.items() and pod["spec"].get("nodeName") == self.node

    def _pod_runs(self) -> bool:
        return any(
            self._is_own_pod(pod) and pod["status"].get("phase") == "Running"
            for pod in self._store.stored(POD)
        )

    def _change(self, instance: Object, change: Callable[[Object], object]) -> None:
        """Edits the VMI, unless another of its name has taken its place."""
        metadata = instance["metadata"]

        def guarded(stored: Object) -> None:
            if stored["metadata"]["uid"] == metadata["uid"]:
                change(stored)

        with suppress(NotFoundError):
            self._store.mutate(VMI, metadata["name"], metadata["namespace"], guarded)

    def _event(
        self, instance: Object, reason: str, message: str, *, type_: str = events.NORMAL
    ) -> None:
        events.record(self._store, instance, COMPONENT, reason, message, type_=type_)


def _stamp(node: Object, began: str) -> None:
    """One patch has the labels and when they were decided on, as upstream (heartbeat.go)."""
    node["metadata"].setdefault("annotations", {})[HEARTBEAT] = began
