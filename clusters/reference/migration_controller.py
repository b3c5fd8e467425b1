"""virt-controller: makes the target pod of each live migration, and follows it to its end.

kubevirt pkg/virt-controller/watch/migration. The pod that a guest has left is deleted rather than
left completed, as `virt_controller` does with others. Nothing limits how many there are at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from clusters.reference import events, pod_resources
from clusters.reference.apiserver.resources import MIGRATION, POD, VMI
from clusters.reference.apiserver.store import Change, Object, Store, now
from clusters.reference.cluster_config import ClusterConfig
from clusters.reference.conditions import get_condition, set_condition
from clusters.reference.faults import Faults
from clusters.reference.launcher_pod import CREATED_BY, MIGRATION_JOB, render
from clusters.reference.migrating import TARGET_NODE
from clusters.reference.migrations_api import FINALIZER
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow
from clusters.reference.virt_controller import GRACE_AFTER_DOMAIN, current, labels_of
from clusters.reference.vmi import FINAL

COMPONENT = "virtualmachine-controller"
JOB_NAME = "kubevirt.io/migrationJobName"
HOSTNAME = "kubernetes.io/hostname"

Key = tuple[str, str]
Unpin = Callable[[Object], Awaitable[None]]


class MigrationController:
    """Reconciles every migration with its target pod and its VMI."""

    def __init__(
        self, store: Store, config: ClusterConfig, faults: Faults, health: Health, unpin: Unpin
    ) -> None:
        """A controller; `unpin` is what the fault `waiting_migration_unpins` does to a VMI."""
        self._store = store
        self._config = config
        self._faults = faults
        self._unpin = unpin
        self._tasks = Tasks(health)
        self._queue: WorkQueue[Key] = WorkQueue("migrations", self._reconcile, health)

    async def start(self) -> None:
        """Begins to watch."""
        kinds = [MIGRATION, VMI, POD]
        self._tasks.start("migrations", follow(self._store, kinds, self._on_change))

    async def stop(self) -> None:
        """Stops."""
        await self._tasks.stop()
        await self._queue.stop()

    def _on_change(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if change.kind == MIGRATION.kind:
            self._queue.add((metadata["namespace"], metadata["name"]))
            return
        names = {metadata["name"]} if change.kind == VMI.kind else set()
        names |= {o["name"] for o in metadata.get("ownerReferences") or () if o["kind"] == VMI.kind}
        for migration in self._store.stored(MIGRATION, metadata["namespace"]) if names else ():
            if migration["spec"].get("vmiName") in names:
                self._queue.add((metadata["namespace"], migration["metadata"]["name"]))

    async def _reconcile(self, key: Key) -> None:
        namespace, name = key
        migration = self._store.find(MIGRATION, name, namespace)
        if migration is None:
            return
        vmi = self._store.find(VMI, migration["spec"]["vmiName"], namespace)
        pod = self._target_pod(migration)
        phase = (migration.get("status") or {}).get("phase") or ""
        if phase in FINAL:
            self._release(migration)
        elif why := self._failed(migration, vmi, pod, phase):
            self._fail(migration, vmi, pod, why)
        elif vmi is not None:
            await self._go_on(migration, vmi, pod, phase)

    def _failed(
        self, migration: Object, vmi: Object | None, pod: Object | None, phase: str
    ) -> str | None:
        """Why nothing comes of a migration any more."""
        if vmi is None:
            return "Migration failed because vmi does not exist."
        if vmi["status"].get("phase") in FINAL or "deletionTimestamp" in vmi["metadata"]:
            return "Migration failed vmi shutdown during migration."
        state = _state(vmi, migration)
        if "deletionTimestamp" in migration["metadata"] and state is None:
            return "Migration failed due to being canceled"
        if state is not None and state.get("failed"):
            return "source node reported migration failed"
        gone = phase not in ("", "Pending") and pod is None
        down = pod is not None and (
            pod["status"].get("phase") in FINAL or "deletionTimestamp" in pod["metadata"]
        )
        if (gone or down) and not (state is not None and state.get("completed")):
            return "Migration failed because target pod shutdown during migration"
        return None

    async def _go_on(self, migration: Object, vmi: Object, pod: Object | None, phase: str) -> None:
        state = _state(vmi, migration) or {}
        match phase:
            case "":
                self._to(migration, "Pending")
            case "Pending" if vmi["status"].get("phase") == "Running":
                if pod is None:
                    self._create_pod(migration, vmi)
                self._to(migration, "Scheduling")
            case "Scheduling" if pod is not None:
                ready = get_condition(pod["status"], "Ready")
                scheduled = get_condition(pod["status"], "PodScheduled")
                if ready is not None and ready["status"] == "True":
                    self._to(migration, "Scheduled")
                elif scheduled is not None and scheduled["status"] == "False":
                    await self._waits(migration, vmi)
            case "Scheduled" if pod is not None:
                self._hand_over(migration, vmi, pod)
                self._to(migration, "PreparingTarget")
            case "PreparingTarget" if state.get("targetNodeAddress"):
                self._to(migration, "TargetReady")
            case "TargetReady" if state.get("startTimestamp"):
                self._to(migration, "Running")
            case "Running" if state.get("completed"):
                self._delete_pod(vmi, migration["status"]["migrationState"]["sourcePod"])
                self._to(migration, "Succeeded")

    def _create_pod(self, migration: Object, vmi: Object) -> None:
        pod = pod_resources.with_defaults(render(vmi, self._config, self._faults))
        metadata = migration["metadata"]
        pod["metadata"]["labels"][MIGRATION_JOB] = metadata["uid"]
        pod["metadata"]["annotations"][JOB_NAME] = metadata["name"]
        apart = {
            "labelSelector": {"matchLabels": {CREATED_BY: vmi["metadata"]["uid"]}},
            "topologyKey": HOSTNAME,
        }
        affinity = pod["spec"].setdefault("affinity", {}).setdefault("podAntiAffinity", {})
        required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", [])
        required.append(apart)
        created = self._store.create(POD, pod)
        source = current(vmi, self._pods(vmi))
        self._change(
            migration,
            lambda stored: stored["status"].update(
                migrationState={"sourcePod": source["metadata"]["name"] if source else ""}
            ),
        )
        message = f"Created migration target pod {created['metadata']['name']}"
        events.record(self._store, migration, COMPONENT, "SuccessfulCreate", message)

    async def _waits(self, migration: Object, vmi: Object) -> None:
        metadata = vmi["metadata"]
        message = (
            f"Migration target pod for VMI [{metadata['namespace']}/{metadata['name']}] is "
            "currently unschedulable."
        )
        reason = "migrationTargetPodUnschedulable"
        events.record(self._store, migration, COMPONENT, reason, message, type_=events.WARNING)
        if self._faults.waiting_migration_unpins:
            await self._unpin(vmi)

    def _hand_over(self, migration: Object, vmi: Object, pod: Object) -> None:
        """From now on the virt-handlers of both nodes know of it (handleTargetPodHandoff)."""
        node = pod["spec"]["nodeName"]

        def change(stored: Object) -> None:
            stored["metadata"].setdefault("labels", {})[TARGET_NODE] = node
            stored["status"]["migrationState"] = {
                "migrationUid": migration["metadata"]["uid"],
                "sourceNode": stored["status"].get("nodeName"),
                "sourcePod": migration["status"]["migrationState"]["sourcePod"],
                "targetNode": node,
                "targetPod": pod["metadata"]["name"],
            }

        metadata = vmi["metadata"]
        self._store.mutate(VMI, metadata["name"], metadata["namespace"], change)
        message = "Migration target pod is ready for preparation by virt-handler."
        events.record(self._store, migration, COMPONENT, "SuccessfulHandOver", message)

    def _fail(self, migration: Object, vmi: Object | None, pod: Object | None, why: str) -> None:
        if pod is not None and vmi is not None:
            self._delete_pod(vmi, pod["metadata"]["name"])
        if vmi is not None and _state(vmi, migration) is not None:

            def change(stored: Object) -> None:
                state = stored["status"]["migrationState"]
                moment = now()
                state.setdefault("startTimestamp", moment)
                state.setdefault("endTimestamp", moment)
                state.setdefault("failureReason", "Target pod is down")
                state["failed"] = state["completed"] = True
                stored["metadata"].get("labels", {}).pop(TARGET_NODE, None)

            metadata = vmi["metadata"]
            self._store.mutate(VMI, metadata["name"], metadata["namespace"], change)
        events.record(
            self._store, migration, COMPONENT, "FailedMigration", why, type_=events.WARNING
        )
        self._to(migration, "Failed")

    def _to(self, migration: Object, phase: str) -> None:
        def change(stored: Object) -> None:
            status = stored.setdefault("status", {})
            status["phase"] = phase
            known = status.setdefault("phaseTransitionTimestamps", [])
            known.append({"phase": phase, "phaseTransitionTimestamp": now()})
            if "deletionTimestamp" in stored["metadata"] and phase == "Failed":
                set_condition(status, "migrationAbortRequested", "True")

        self._change(migration, change)

    def _release(self, migration: Object) -> None:
        def change(stored: Object) -> None:
            finalizers = stored["metadata"].get("finalizers") or []
            stored["metadata"]["finalizers"] = [f for f in finalizers if f != FINALIZER]

        self._change(migration, change)

    def _change(self, migration: Object, change: Callable[[Object], object]) -> None:
        metadata = migration["metadata"]
        self._store.mutate(MIGRATION, metadata["name"], metadata["namespace"], change)

    def _delete_pod(self, vmi: Object, name: str) -> None:
        namespace = vmi["metadata"]["namespace"]
        pod = self._store.find(POD, name, namespace)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return
        grace = GRACE_AFTER_DOMAIN if pod["spec"].get("nodeName") else 0
        self._store.delete(POD, name, namespace, grace_seconds=grace)

    def _target_pod(self, migration: Object) -> Object | None:
        metadata = migration["metadata"]

        def is_one(pod: Object) -> bool:
            return bool(labels_of(pod).get(MIGRATION_JOB) == metadata["uid"])

        found = self._store.list(POD, metadata["namespace"], where=is_one)
        return found[0] if found else None

    def _pods(self, vmi: Object) -> list[Object]:
        metadata = vmi["metadata"]

        def is_one(pod: Object) -> bool:
            return bool(labels_of(pod).get(CREATED_BY) == metadata["uid"])

        return self._store.list(POD, metadata["namespace"], where=is_one)


def _state(vmi: Object, migration: Object) -> Object | None:
    """What a VMI says of this migration; None before it was handed over."""
    state: Object = vmi["status"].get("migrationState") or {}
    return state if state.get("migrationUid") == migration["metadata"]["uid"] else None
