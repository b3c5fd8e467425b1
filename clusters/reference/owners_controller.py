"""virt-controller: makes the VMI of a VirtualMachine, those of a replica set, the machines of a
pool.

kubevirt pkg/virt-controller/watch/{vm,replicaset,pool}. An owner that is deleted goes when what it
has made is gone: upstream leaves that to Kubernetes' garbage collector.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from clusters.reference import events, instancetypes
from clusters.reference.apiserver.backends import InvalidError
from clusters.reference.apiserver.resources import (
    BY_KIND,
    NAMESPACE,
    POOL,
    VIRTUAL_MACHINE,
    VMI,
    ResourceType,
)
from clusters.reference.apiserver.store import Change, Object, Store
from clusters.reference.cluster_config import ClusterConfig
from clusters.reference.conditions import drop_condition, get_condition, set_condition
from clusters.reference.faults import Faults
from clusters.reference.owners_api import FINALIZER, OWNERS
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow
from clusters.reference.virt_controller import HOT_CHANGE
from clusters.reference.vmi import FINAL, cpu_of

COMPONENT = "virtualmachine-controller"
RESTART_REQUIRED = "RestartRequired"

Key = tuple[str, str, str]
Admit = Callable[[ResourceType, Object, Object | None], Object]


class OwnersController:
    """Reconciles every owner with what it makes."""

    def __init__(
        self, store: Store, admit: Admit, config: ClusterConfig, faults: Faults, health: Health
    ) -> None:
        self._store = store
        self._admit = admit
        self._config = config
        self._faults = faults
        self._tasks = Tasks(health)
        self._queue: WorkQueue[Key] = WorkQueue("owners", self._reconcile, health)

    async def start(self) -> None:
        """Begins to watch."""
        self._tasks.start("owners", follow(self._store, [*OWNERS, VMI], self._on_change))

    async def stop(self) -> None:
        """Stops."""
        await self._tasks.stop()
        await self._queue.stop()

    def _on_change(self, change: Change) -> None:
        metadata = change.object["metadata"]
        names = [type_.kind for type_ in OWNERS]
        if change.kind in names:
            self._queue.add((change.kind, metadata["namespace"], metadata["name"]))
        for owner in metadata.get("ownerReferences") or ():
            if owner["kind"] in names:
                self._queue.add((owner["kind"], metadata["namespace"], owner["name"]))

    async def _reconcile(self, key: Key) -> None:
        kind, namespace, name = key
        owner = self._store.find(BY_KIND[kind], name, namespace)
        if owner is None:
            return
        made = self._made_by(owner)
        if "deletionTimestamp" in owner["metadata"]:
            self._take_down(owner, made)
        elif kind == VIRTUAL_MACHINE.kind:
            self._run(owner, made)
        else:
            self._scale(owner, made)

    def _take_down(self, owner: Object, made: list[Object]) -> None:
        for obj in made:
            self._delete(obj)
        if not made:
            self._change(owner, _release)

    def _run(self, machine: Object, made: list[Object]) -> None:
        """A VirtualMachine has one VMI while it is to run."""
        spec = machine["spec"]
        strategy = spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted")
        again = {"Always": FINAL, "RerunOnFailure": ("Failed",)}.get(strategy, ())
        if made:
            (vmi,) = made
            if vmi["status"].get("phase") in again or strategy == "Halted":
                self._delete(vmi)
            elif "deletionTimestamp" not in vmi["metadata"]:
                self._change_sockets(machine, vmi)
        elif strategy in ("Always", "RerunOnFailure", "Once"):
            self._start(machine)

    def _change_sockets(self, machine: Object, vmi: Object) -> None:
        """More sockets are passed on; of what takes a restart a condition tells.

        handleCPUChangeRequest and syncRestartRequired of 1.8. What else a template is changed to,
        and CPUs by resources, are not looked at.
        """
        asked = cpu_of({"spec": machine["spec"]["template"].get("spec") or {}}).get("sockets")
        now, most = (int(cpu_of(vmi).get(name) or 0) for name in ("sockets", "maxSockets"))
        asked, why = int(asked or now), ""
        changing = get_condition(vmi["status"], HOT_CHANGE)
        if asked == now:
            pass
        elif not self._config.updates_live:
            why = "a non-live-updatable field was changed in the template spec"
        elif changing and changing["status"] == "True":
            return  # upstream: an error, "another CPU hotplug is in progress"
        elif asked > most:
            why = "CPU sockets updated in template spec to a value higher than what's available"
        elif asked < now:
            why = "Reduction of CPU socket count requires a restart"
        else:
            self._change(vmi, lambda stored: cpu_of(stored).update(sockets=asked))

        def tell(stored: Object) -> None:
            status = stored.setdefault("status", {})
            if why:
                set_condition(status, RESTART_REQUIRED, "True", message=why)
            elif get_condition(status, RESTART_REQUIRED):
                drop_condition(status, RESTART_REQUIRED)

        self._change(machine, tell)

    def _start(self, machine: Object) -> None:
        template = machine["spec"]["template"]
        try:
            instancetype, preference = instancetypes.find(self._store, machine)
            if instancetype is not None and self._faults.instancetype_ignored:
                cpu = {**instancetype["cpu"], "dedicatedCPUPlacement": False}
                cpu["isolateEmulatorThread"] = False
                instancetype = {**instancetype, "cpu": cpu}
            expanded = instancetypes.expand(template, instancetype, preference)
        except (instancetypes.MissingError, instancetypes.ConflictsError) as error:
            self._complain(machine, str(error))
            return
        metadata = {**expanded["metadata"], "name": machine["metadata"]["name"]}
        metadata.pop("generateName", None)
        self._create(VMI, machine, {"metadata": metadata, "spec": expanded["spec"]})

    def _scale(self, owner: Object, made: list[Object]) -> None:
        spec = owner["spec"]
        wanted = 0 if spec.get("paused") else spec.get("replicas", 1)
        missing = wanted - len(made)
        if owner["kind"] == POOL.kind:
            taken = {obj["metadata"]["name"] for obj in made}
            names = (f"{owner['metadata']['name']}-{number}" for number in range(wanted))
            for name in [name for name in names if name not in taken][: max(missing, 0)]:
                machine = copy.deepcopy(spec["virtualMachineTemplate"])
                metadata = {**(machine.get("metadata") or {}), "name": name}
                self._create(
                    VIRTUAL_MACHINE, owner, {"metadata": metadata, "spec": machine["spec"]}
                )
            return
        for _ in range(missing):
            template = copy.deepcopy(spec["template"])
            metadata = template.get("metadata") or {}
            base = metadata.get("name") or metadata.get("generateName") or owner["metadata"]["name"]
            metadata = {**metadata, "generateName": base}
            metadata.pop("name", None)
            self._create(VMI, owner, {"metadata": metadata, "spec": template["spec"]})

    def _create(self, type_: ResourceType, owner: Object, obj: Object) -> None:
        namespace = owner["metadata"]["namespace"]
        found = self._store.find(NAMESPACE, namespace)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {**obj["metadata"], "namespace": namespace, "ownerReferences": [reference]}
        metadata.pop("creationTimestamp", None)
        obj = {**obj, "metadata": metadata, "apiVersion": type_.api_version, "kind": type_.kind}
        try:
            created = self._store.create(type_, self._admit(type_, obj, None))
        except InvalidError as error:
            self._complain(owner, error.message)
            return
        message = f"Created {type_.singular} {created['metadata']['name']}"
        events.record(self._store, owner, COMPONENT, "SuccessfulCreate", message)

    def _complain(self, owner: Object, why: str) -> None:
        message = f"Error creating virtual machine instance: {why}"

        def fail(stored: Object) -> None:
            status = stored.setdefault("status", {})
            set_condition(status, "Failure", "True", reason="FailedCreate", message=message)

        if self._change(owner, fail) != owner:
            events.record(
                self._store, owner, COMPONENT, "FailedCreate", message, type_=events.WARNING
            )

    def _made_by(self, owner: Object) -> list[Object]:
        type_ = VIRTUAL_MACHINE if owner["kind"] == POOL.kind else VMI
        uid = owner["metadata"]["uid"]

        def is_own(obj: Object) -> bool:
            references = obj["metadata"].get("ownerReferences") or ()
            return any(reference.get("uid") == uid for reference in references)

        return self._store.list(type_, owner["metadata"]["namespace"], where=is_own)

    def _delete(self, obj: Object) -> None:
        metadata = obj["metadata"]
        if "deletionTimestamp" not in metadata:
            self._store.delete(BY_KIND[obj["kind"]], metadata["name"], metadata["namespace"])

    def _change(self, owner: Object, change: Callable[[Object], object]) -> Object:
        metadata = owner["metadata"]
        return self._store.mutate(
            BY_KIND[owner["kind"]], metadata["name"], metadata["namespace"], change
        )


def _release(owner: Object) -> None:
    finalizers = owner["metadata"].get("finalizers") or []
    owner["metadata"]["finalizers"] = [each for each in finalizers if each != FINALIZER]
