"""virt-controller: makes the launcher pod of each VMI and follows it.

kubevirt pkg/virt-controller/watch/vmi. It owns the phases Pending, Scheduling and Scheduled;
from there on virt-handler reports. A VMI goes in order: its domain, its pod, itself. Unlike
upstream, the pod of a guest that has ended by itself is deleted rather than left completed; one
that failed stays until its VMI goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from clusters.reference import events, pod_resources, vmi
from clusters.reference.apiserver.resources import POD, VMI
from clusters.reference.apiserver.store import Change, Object, Store
from clusters.reference.cluster_config import ClusterConfig
from clusters.reference.conditions import drop_condition, get_condition, set_condition
from clusters.reference.faults import Faults
from clusters.reference.launcher_pod import (
    APP,
    APP_LABEL,
    CREATED_BY,
    MIGRATION_JOB,
    TemplateError,
    render,
)
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow
from clusters.reference.virt_api import FINALIZER
from clusters.reference.vmi import FINAL
from clusters.reference.vmi_status import set_phase

COMPONENT = "virtualmachine-controller"
HOT_CHANGE = "HotVCPUChange"
"""Condition of a VMI that is to have another number of vCPUs than its guest has."""
NODE_NAME_LABEL = "kubevirt.io/nodeName"
GRACE_AFTER_DOMAIN = 1
"""Seconds for the containers of a launcher pod whose domain has ended: nothing to save."""

Key = tuple[str, str]


class VirtController:
    """Reconciles every VMI with its launcher pod."""

    def __init__(self, store: Store, config: ClusterConfig, faults: Faults, health: Health) -> None:
        self._store = store
        self._config = config
        self._faults = faults
        self._tasks = Tasks(health)
        self._queue: WorkQueue[Key] = WorkQueue("virt-controller", self._reconcile, health)

    async def start(self) -> None:
        """Begins to watch."""
        self._tasks.start("virt-controller", follow(self._store, [VMI, POD], self._on_change))

    async def stop(self) -> None:
        """Stops."""
        await self._tasks.stop()
        await self._queue.stop()

    def _on_change(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if change.kind == VMI.kind:
            self._queue.add((metadata["namespace"], metadata["name"]))
        for owner in metadata.get("ownerReferences") or ():
            if owner["kind"] == VMI.kind:
                self._queue.add((metadata["namespace"], owner["name"]))

    async def _reconcile(self, key: Key) -> None:
        namespace, name = key
        instance = self._store.find(VMI, name, namespace)
        launchers = self._launchers(namespace, name)
        for stray in launchers:
            if _created_by(stray) != _uid(instance):
                self._delete_pod(stray)
        if instance is None:
            return
        pods = [p for p in launchers if _created_by(p) == _uid(instance)]
        pod = current(instance, pods)
        if "deletionTimestamp" in instance["metadata"]:
            self._take_down(instance, pod, [each for each in pods if each != pod])
        elif instance["status"].get("phase") in FINAL:
            if pod is not None and pod["status"].get("phase") not in FINAL:
                self._delete_pod(pod)
        elif pod is None and instance["status"].get("phase", "") in ("", "Pending"):
            self._create_pod(instance)
        else:
            self._follow(instance, pod, pods)

    def _create_pod(self, instance: Object) -> None:
        try:
            pod = pod_resources.with_defaults(render(instance, self._config, self._faults))
        except TemplateError as error:
            message = f"failed to render launch manifest: {error}"

            def refuse(stored: Object) -> None:
                set_phase(stored, "Pending")
                set_condition(
                    stored["status"],
                    "Synchronized",
                    "False",
                    reason="FailedCreate",
                    message=message,
                )

            if self._change(instance, refuse) != instance:
                events.record(
                    self._store, instance, COMPONENT, "FailedCreate", message, type_=events.WARNING
                )
            return
        self._change(instance, lambda stored: set_phase(stored, "Pending"))
        created = self._store.create(POD, pod)
        message = f"Created virtual machine pod {created['metadata']['name']}"
        events.record(self._store, instance, COMPONENT, "SuccessfulCreate", message)

    def _follow(self, instance: Object, pod: Object | None, pods: Sequence[Object]) -> None:
        """Brings the VMI's status up to what its pod shows."""

        def change(stored: Object) -> None:
            status = stored["status"]
            _copy_ready(status, pod)
            if pod is None or pod["status"].get("phase") in FINAL:
                set_phase(stored, "Failed")
                return
            wrong = self._faults.class_not_copied
            status["qosClass"] = "Burstable" if wrong else pod["status"]["qosClass"]
            scheduled = get_condition(pod["status"], "PodScheduled")
            if scheduled and scheduled["status"] == "False":
                reason, message = scheduled.get("reason", ""), scheduled.get("message", "")
                set_condition(status, "PodScheduled", "False", reason=reason, message=message)
            else:
                drop_condition(status, "PodScheduled")
            node = pod["spec"].get("nodeName")
            if node:
                status["activePods"] = {
                    each["metadata"]["uid"]: each["spec"]["nodeName"]
                    for each in pods
                    if each["spec"].get("nodeName") and each["status"].get("phase") not in FINAL
                }
            if status["phase"] == "Pending":
                set_phase(stored, "Scheduling")
            if status["phase"] == "Scheduling" and node and _is_ready(pod):
                status["nodeName"] = node
                stored["metadata"].setdefault("labels", {})[NODE_NAME_LABEL] = node
                set_phase(stored, "Scheduled")
            if status["phase"] == "Running":
                _sync_cpus(stored, in_name_only=self._faults.plugged_in_name_only)

        before = instance["status"].get("phase")
        after = self._change(instance, change)["status"].get("phase")
        if before != after == "Scheduled" and pod is not None:
            message = f"Pod ownership transferred to the node {pod['spec']['nodeName']}"
            events.record(self._store, instance, COMPONENT, "SuccessfulHandOver", message)

    def _take_down(self, instance: Object, pod: Object | None, others: Sequence[Object]) -> None:
        """Domain first, then the pod, then the VMI; the others are of a migration."""
        for each in others:
            self._delete_pod(each)
        running = instance["status"].get("phase") == "Running"
        lives = pod is not None and pod["status"].get("phase") not in FINAL
        if pod is not None and not (running and lives):
            self._delete_pod(pod)
        if pod is None and not others:

            def release(stored: Object) -> None:
                if stored["status"].get("phase") not in FINAL:
                    set_phase(stored, "Succeeded")
                finalizers = stored["metadata"].get("finalizers") or []
                stored["metadata"]["finalizers"] = [f for f in finalizers if f != FINALIZER]

            self._change(instance, release)

    def _delete_pod(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            return
        grace = GRACE_AFTER_DOMAIN if pod["spec"].get("nodeName") else 0
        self._store.delete(POD, metadata["name"], metadata["namespace"], grace_seconds=grace)
        owner = self._store.find(VMI, _owner_name(pod), metadata["namespace"])
        if owner is not None:
            message = f"Deleted virtual machine pod {metadata['name']}"
            events.record(self._store, owner, COMPONENT, "SuccessfulDelete", message)

    def _launchers(self, namespace: str, vmi: str) -> list[Object]:
        """The launcher pods of a VMI of that name, of earlier ones too."""

        def is_one(pod: Object) -> bool:
            labels = pod["metadata"].get("labels") or {}
            return labels.get(APP_LABEL) == APP and _owner_name(pod) == vmi

        return self._store.list(POD, namespace, where=is_one)

    def _change(self, instance: Object, change: Callable[[Object], object]) -> Object:
        metadata = instance["metadata"]
        return self._store.mutate(VMI, metadata["name"], metadata["namespace"], change)


def current(instance: Object, pods: Sequence[Object]) -> Object | None:
    """The pod of a VMI's guest among its launchers; the others are of a migration.

    kubevirt pkg/controller, CurrentVMIPod: on the node that the VMI names, the newest.
    """
    node = instance["status"].get("nodeName")
    found = [
        pod
        for pod in pods
        if (pod["spec"].get("nodeName") == node if node else MIGRATION_JOB not in labels_of(pod))
    ]

    def newest(pod: Object) -> tuple[bool, str]:
        metadata = pod["metadata"]
        return "deletionTimestamp" not in metadata, metadata["creationTimestamp"]

    return max(found, key=newest, default=None)


def labels_of(pod: Object) -> Object:
    """The labels of a pod; none of one without any."""
    return pod["metadata"].get("labels") or {}


def _sync_cpus(instance: Object, *, in_name_only: bool) -> None:
    """vCPUs that are asked for and are not there yet are told (requireCPUHotplug).

    Upstream, a VirtualMachineInstanceMigration brings them, where the KubeVirt CR has it made for
    that (workloadUpdateMethods). Nothing migrates here: the condition stays.
    """
    current = instance["status"].get("currentCPUTopology") or {}
    counts = [int(current.get(name) or 1) for name in ("sockets", "cores", "threads")]
    if current and vmi.cpu_of(instance).get("maxSockets") and prod(counts) != vmi.vcpus(instance):
        if in_name_only:
            current["sockets"] = vmi.cpu_of(instance)["sockets"]
        else:
            set_condition(instance["status"], HOT_CHANGE, "True")


def _copy_ready(status: Object, pod: Object | None) -> None:
    """The VMI is ready when its pod is and the guest runs."""
    if pod is None:
        message = "virt-launcher pod has not yet been scheduled"
        set_condition(status, "Ready", "False", reason="PodNotExists", message=message)
        return
    ready = get_condition(pod["status"], "Ready")
    if ready is None:
        message = "virt-launcher pod is missing the Ready condition"
        set_condition(status, "Ready", "False", reason="PodConditionMissing", message=message)
    elif ready["status"] != "True":
        reason, message = ready.get("reason", ""), ready.get("message", "")
        set_condition(status, "Ready", ready["status"], reason=reason, message=message)
    elif status.get("phase") != "Running":
        message = "Guest VM is not reported as running"
        set_condition(status, "Ready", "False", reason="GuestNotRunning", message=message)
    else:
        set_condition(status, "Ready", "True")


def _is_ready(pod: Object) -> bool:
    ready = get_condition(pod["status"], "Ready")
    return ready is not None and ready["status"] == "True"


def _uid(instance: Object | None) -> str:
    return instance["metadata"]["uid"] if instance is not None else ""


def _created_by(pod: Object) -> str:
    label: str = (pod["metadata"].get("labels") or {}).get(CREATED_BY, "")
    return label


def _owner_name(pod: Object) -> str:
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner["kind"] == VMI.kind:
            name: str = owner["name"]
            return name
    return ""
