"""virt-api: fills in what a VMI leaves open and refuses what is inconsistent.

Fields and wording of kubevirt pkg/defaults and
pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go. Profile
``v1alpha2`` is stricter, as the releases of its time were: ``cores`` only, never beside
CPU resources, and no defaulting of the topology.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from clusters.embedded import quantity
from clusters.embedded.apiserver.backends import Cause, InvalidError
from clusters.embedded.apiserver.store import Object
from clusters.embedded.cluster_config import NUMA_GATE, SIDECAR_GATE, V1ALPHA2, ClusterConfig
from clusters.embedded.faults import Faults
from clusters.embedded.vmi import (
    HOOK_SIDECARS,
    cpu_of,
    domain_of,
    is_dedicated,
    isolates_emulator,
    maps_numa,
    page_size,
    resource_of,
    topology_product,
)

INVALID = "FieldValueInvalid"
REQUIRED = "FieldValueRequired"
WEBHOOK = "virtualmachineinstances-create-validator.kubevirt.io"

FINALIZER = "kubevirt.io/foregroundDeleteVirtualMachine"
"""Keeps a VMI until its launcher pod has gone."""

_DOMAIN = "spec.domain"
_CPU = f"{_DOMAIN}.cpu"
_DEDICATED = f"{_CPU}.dedicatedCpuPlacement"
_NUMA = f"{_CPU}.numa.guestMappingPassthrough"
_MAX_VCPUS = 512
_UINT32 = 0xFFFFFFFF
_MIN_MEMORY = 1_000_000
_IOTHREADS_POLICIES = ("shared", "auto", "supplementalPool")


class VmiAdmission:
    """Defaulting and validation of VirtualMachineInstances.

    Types and quantities have been checked before, by the API server's schemas.
    """

    def __init__(self, config: ClusterConfig, faults: Faults) -> None:
        self._config = config
        self._faults = faults

    def admit(self, obj: Object, old: Object | None) -> Object:
        """The VMI to be stored. Raises InvalidError with every cause at once."""
        if old is not None:
            return self._admit_update(obj, old)
        vmi = copy.deepcopy(obj)
        self._refuse(list(self._decoding_rules(vmi)))
        self._default(vmi)
        finalizers = vmi["metadata"].setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)
        causes = [cause for rule in self._rules for cause in rule(vmi)]
        self._refuse(causes)
        vmi["status"] = {"phase": "Pending", **_initial_status(vmi)}
        return vmi

    def _admit_update(self, obj: Object, old: Object) -> Object:
        if obj.get("spec") != old.get("spec"):
            message = "update of VMI object is restricted"
            raise InvalidError(_denied(message, "update"), [Cause(INVALID, message, "spec")])
        return obj

    def _refuse(self, causes: list[Cause]) -> None:
        if self._faults.refuse_everything:
            causes = [Cause(INVALID, "everything is refused", "spec")]
        causes = [cause for cause in causes if cause.field != self._faults.admit_field]
        if causes:
            told = ", ".join(cause.message for cause in causes)
            raise InvalidError(_denied(told, "create"), causes)

    def _default(self, vmi: Object) -> None:
        spec = vmi["spec"]
        domain = spec.setdefault("domain", {})
        spec.setdefault("architecture", "amd64")
        machine = domain.get("machine") or {}
        domain["machine"] = {**machine, "type": machine.get("type") or "q35"}
        domain.setdefault("devices", {})
        spec.setdefault("terminationGracePeriodSeconds", 30)
        _default_resources(vmi)
        _default_guest_memory(vmi)
        if self._config.profile == V1ALPHA2:
            for field in ("sockets", "threads", "isolateEmulatorThread", "maxSockets"):
                (domain.get("cpu") or {}).pop(field, None)
        else:
            _default_topology(vmi)
            cpu = domain["cpu"]
            cpu["model"] = cpu.get("model") or "host-model"
            self._default_hotplug(cpu)
        _default_disks(vmi)

    def _default_hotplug(self, cpu: Object) -> None:
        ratio = self._config.hotplug_ratio
        if ratio == 1 or cpu.get("maxSockets"):
            return
        sockets = int(cpu.get("sockets") or 0)
        width = int(cpu.get("cores") or 0) * int(cpu.get("threads") or 0)
        most = sockets * ratio
        if most * width > _MAX_VCPUS:
            most = max(_MAX_VCPUS // width, sockets)
        if most:
            cpu["maxSockets"] = most

    @property
    def _rules(self) -> tuple[Callable[[Object], Iterator[Cause]], ...]:
        return (
            _memory_rules,
            _page_rules,
            _cpu_amount_rules,
            self._dedicated_rules,
            self._numa_rules,
            _isolation_rules,
            _hotplug_rules,
            _realtime_rules,
            _iothreads_rules,
            _volume_rules,
            self._sidecar_rules,
        )

    def _decoding_rules(self, vmi: Object) -> Iterator[Cause]:
        """Numbers of CPUs are uint32; what does not fit cannot be decoded."""
        for name in ("sockets", "cores", "threads", "maxSockets"):
            number = cpu_of(vmi).get(name) or 0
            if number > _UINT32:
                field = f"{_CPU}.{name}"
                message = f"cannot unmarshal number {number} into field {field} of type uint32"
                yield Cause(INVALID, message, field)
        if self._config.profile != V1ALPHA2:
            return
        for kind in ("requests", "limits"):
            if quantity.value(resource_of(vmi, kind, "cpu")) > _UINT32:
                message = f"{_path(kind, 'cpu')} is more than a number of vCPUs can be"
                yield Cause(INVALID, message, _path(kind, "cpu"))

    def _sidecar_rules(self, vmi: Object) -> Iterator[Cause]:
        annotated = (vmi["metadata"].get("annotations") or {}).get(HOOK_SIDECARS)
        if (
            self._config.profile != V1ALPHA2
            and annotated
            and not self._config.enabled(SIDECAR_GATE)
            and not self._faults.sidecar_gate_ignored
        ):
            message = (
                "sidecar feature gate is not enabled in kubevirt-config, invalid entry "
                f"metadata.annotations.{HOOK_SIDECARS}"
            )
            yield Cause(INVALID, message, "metadata.annotations")

    def _dedicated_rules(self, vmi: Object) -> Iterator[Cause]:
        if not is_dedicated(vmi):
            return
        yield from _memory_provided(vmi)
        for kind in ("requests", "limits"):
            amount = resource_of(vmi, kind, "cpu")
            if quantity.value(amount) > 0 and quantity.value(amount) * 1000 != quantity.milli(
                amount
            ):
                message = f"provided resources CPU {kind} must be an interger"
                yield Cause(INVALID, message, _path(kind, "cpu"))
        requested, limit = (
            quantity.value(resource_of(vmi, k, "memory")) for k in ("requests", "limits")
        )
        if requested > 0 and limit > 0 and requested != limit:
            message = f"{_path('requests', 'memory')} must be equal to {_path('limits', 'memory')}"
            yield Cause(INVALID, message, _path("requests", "memory"))
        yield from self._vcpu_source_rules(vmi)
        threads = cpu_of(vmi).get("threads") or 0
        if threads > 2:
            message = (
                f"Not more than two threads must be provided at {_CPU}.threads (got {threads}) "
                "when DedicatedCPUPlacement is true"
            )
            yield Cause(INVALID, message, _DEDICATED)

    def _vcpu_source_rules(self, vmi: Object) -> Iterator[Cause]:
        """Where the number of vCPUs comes from, and that all sources agree."""
        request, limit = (
            quantity.value(resource_of(vmi, k, "cpu")) for k in ("requests", "limits")
        )
        vcpus = topology_product(vmi)
        paths = f"{_path('requests', 'cpu')} or {_path('limits', 'cpu')}"
        when = "when DedicatedCPUPlacement is true "
        if not request and not limit and not vcpus:
            message = f"either {paths} or {_CPU}.cores must be provided {when}"
            yield Cause(INVALID, message, _DEDICATED)
        if request > 0 and limit > 0 and request != limit:
            yield Cause(INVALID, f"{paths} must be equal {when}", _DEDICATED)
        agree = vcpus in (request, limit) and self._config.profile != V1ALPHA2
        if (request > 0 or limit > 0) and vcpus > 0 and not agree:
            message = f"{paths} must not be provided at the same time with {_CPU}.cores {when}"
            yield Cause(INVALID, message, _DEDICATED)

    def _numa_rules(self, vmi: Object) -> Iterator[Cause]:
        if not maps_numa(vmi):
            return
        if not self._config.enabled(NUMA_GATE):
            message = f"NUMA feature gate is not enabled in kubevirt-config, invalid entry {_NUMA}"
            yield Cause(INVALID, message, _NUMA)
        when = f"when NUMA topology strategy is set in {_NUMA}"
        if not is_dedicated(vmi):
            yield Cause(INVALID, f"{_DEDICATED} must be set to true {when}", _NUMA)
        if page_size(vmi) is None:
            message = f"{_DOMAIN}.memory.hugepages must be requested {when}"
            yield Cause(INVALID, message, _NUMA)


def _denied(told: str, verb: str) -> str:
    webhook = WEBHOOK.replace("create", verb)
    return f'admission webhook "{webhook}" denied the request: {told}'


def _path(kind: str, name: str) -> str:
    return f"{_DOMAIN}.resources.{kind}.{name}"


def _default_resources(vmi: Object) -> None:
    """A CPU limit alone is copied to the request."""
    limit, request = (resource_of(vmi, kind, "cpu") for kind in ("limits", "requests"))
    if limit is not None and quantity.parse(limit) and not (request and quantity.parse(request)):
        domain_of(vmi)["resources"].setdefault("requests", {})["cpu"] = limit


def _default_guest_memory(vmi: Object) -> None:
    memory = domain_of(vmi).setdefault("memory", {})
    if memory.get("guest") is not None:
        return
    for kind in ("requests", "limits"):
        amount = resource_of(vmi, kind, "memory")
        if amount is not None and quantity.parse(amount):
            memory["guest"] = amount
            return
    if (memory.get("hugepages") or {}).get("pageSize"):
        memory["guest"] = memory["hugepages"]["pageSize"]


def _default_topology(vmi: Object) -> None:
    """Without any topology the CPU limit, else the request, becomes the sockets, else one."""
    cpu = domain_of(vmi).setdefault("cpu", {})
    if any(cpu.get(field) for field in ("sockets", "cores", "threads")):
        return
    sockets = 1
    for kind in ("limits", "requests"):
        amount = resource_of(vmi, kind, "cpu")
        if amount is not None:
            sockets = quantity.value(amount) & _UINT32
            break
    cpu.update(sockets=sockets, cores=1, threads=1)


def _default_disks(vmi: Object) -> None:
    """A volume that no disk names gets one."""
    disks = domain_of(vmi)["devices"].setdefault("disks", [])
    named = {disk.get("name") for disk in disks}
    for volume in vmi["spec"].get("volumes") or ():
        if volume.get("name") not in named:
            disks.append({"name": volume["name"], "disk": {"bus": "virtio"}})
    if not disks:
        del domain_of(vmi)["devices"]["disks"]


def _initial_status(vmi: Object) -> Object:
    status: Object = {}
    cpu = cpu_of(vmi)
    if topology_product(vmi):
        names = ("sockets", "cores", "threads")
        status["currentCPUTopology"] = {name: cpu[name] for name in names if cpu.get(name)}
    guest = (domain_of(vmi).get("memory") or {}).get("guest")
    if guest is not None:
        status["memory"] = dict.fromkeys(("guestAtBoot", "guestCurrent", "guestRequested"), guest)
    return status


def _memory_rules(vmi: Object) -> Iterator[Cause]:
    request, limit = (resource_of(vmi, kind, "memory") for kind in ("requests", "limits"))
    field = _path("requests", "memory")
    if quantity.value(request) < 0:
        message = f"{field} '{request}': must be greater than or equal to 0."
        yield Cause(INVALID, message, field)
    elif 0 < quantity.value(request) < _MIN_MEMORY:
        yield Cause(INVALID, f"{field} '{request}': must be greater than or equal to 1M.", field)
    if quantity.value(limit) < 0:
        path = _path("limits", "memory")
        yield Cause(INVALID, f"{path} '{limit}': must be greater than or equal to 0.", path)
    if 0 < quantity.value(limit) < quantity.value(request):
        message = f"{field} '{request}' is greater than {_path('limits', 'memory')} '{limit}'"
        yield Cause(INVALID, message, field)


def _page_rules(vmi: Object) -> Iterator[Cause]:
    size, field = page_size(vmi), f"{_DOMAIN}.memory.hugepages.pageSize"
    if size is None:
        return
    try:
        page = quantity.value(size)
    except ValueError:
        page = 0
    if page <= 0:
        yield Cause(INVALID, f"{field} '{size}': quantities must match a regular expression", field)
        return
    request = resource_of(vmi, "requests", "memory")
    memory = quantity.value(request) or quantity.value(domain_of(vmi)["memory"].get("guest"))
    path = _path("requests", "memory")
    if 0 < memory < page:
        message = f"{path} '{request}' must be equal to or larger than page size {field} '{size}'"
        yield Cause(INVALID, message, path)
    elif memory % page:
        message = f"{path} '{request}' is not a multiple of the page size {field} '{size}'"
        yield Cause(INVALID, message, path)


def _cpu_amount_rules(vmi: Object) -> Iterator[Cause]:
    request, limit = (resource_of(vmi, kind, "cpu") for kind in ("requests", "limits"))
    for kind, amount in (("requests", request), ("limits", limit)):
        if quantity.milli(amount) < 0:
            path = _path(kind, "cpu")
            yield Cause(INVALID, f"{path} '{amount}': must be greater than or equal to 0.", path)
    if 0 < quantity.milli(limit) < quantity.milli(request):
        path = _path("requests", "cpu")
        message = f"{path} '{request}' is greater than {_path('limits', 'cpu')} '{limit}'"
        yield Cause(INVALID, message, path)


def _memory_provided(vmi: Object) -> Iterator[Cause]:
    memory = domain_of(vmi).get("memory") or {}
    amounts = [resource_of(vmi, kind, "memory") for kind in ("limits", "requests")]
    amounts.append(memory.get("guest"))
    if memory.get("hugepages") is None and not any(quantity.value(amount) for amount in amounts):
        message = (
            f"{_path('requests', 'memory')}, {_path('limits', 'memory')}, "
            f"{_DOMAIN}.memory.hugepages or {_DOMAIN}.memory.guest should be provided"
        )
        yield Cause(INVALID, message, _path("limits", "memory"))


def _isolation_rules(vmi: Object) -> Iterator[Cause]:
    if isolates_emulator(vmi) and not is_dedicated(vmi):
        message = (
            "IsolateEmulatorThread should be only set in combination with DedicatedCPUPlacement"
        )
        yield Cause(INVALID, message, f"{_CPU}.isolateEmulatorThread")


def _hotplug_rules(vmi: Object) -> Iterator[Cause]:
    cpu = cpu_of(vmi)
    if 0 < int(cpu.get("maxSockets") or 0) < int(cpu.get("sockets") or 0):
        message = "Number of sockets in CPU topology is greater than the maximum sockets allowed"
        yield Cause(INVALID, message, f"{_CPU}.sockets")


def _realtime_rules(vmi: Object) -> Iterator[Cause]:
    if cpu_of(vmi).get("realtime") is None:
        return
    if not is_dedicated(vmi):
        message = f"{_DEDICATED} must be set to true when {_CPU}.realtime is used"
        yield Cause(REQUIRED, message, _DEDICATED)
    if not maps_numa(vmi):
        message = f"{_NUMA} must be defined when {_CPU}.realtime is used"
        yield Cause(REQUIRED, message, _NUMA)


def _iothreads_rules(vmi: Object) -> Iterator[Cause]:
    domain = domain_of(vmi)
    policy = domain.get("ioThreadsPolicy")
    if policy is None:
        return
    if policy not in _IOTHREADS_POLICIES:
        yield Cause(INVALID, f"Invalid IOThreadsPolicy ({policy})", f"{_DOMAIN}.ioThreadsPolicy")
    count = (domain.get("ioThreads") or {}).get("supplementalPoolThreadCount") or 0
    if policy == "supplementalPool" and count < 1:
        message = "the number of iothreads needs to be set and positive for the dedicated policy"
        yield Cause(INVALID, message, f"{_DOMAIN}.ioThreads.count")


def _volume_rules(vmi: Object) -> Iterator[Cause]:
    """Every disk names a volume."""
    volumes = {volume.get("name") for volume in vmi["spec"].get("volumes") or ()}
    for index, disk in enumerate(domain_of(vmi)["devices"].get("disks") or ()):
        if disk.get("name") not in volumes:
            field = f"{_DOMAIN}.devices.disks[{index}].Name"
            message = f"{field} '{disk.get('name')}' not found."
            yield Cause(INVALID, message, field)
