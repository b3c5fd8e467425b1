"""What virt-api refuses in a VMI that it understands, by field.

Fields, wording and order of kubevirt 1.8,
pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go. Profile ``v1alpha2`` is
stricter, as the releases of its time were: ``cores`` only, and never beside CPU resources.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from clusters.reference import quantity
from clusters.reference.apiserver.backends import Cause
from clusters.reference.apiserver.store import Object
from clusters.reference.cluster_config import NUMA_GATE, SIDECAR_GATE, V1ALPHA2, ClusterConfig
from clusters.reference.vmi import (
    HOOK_SIDECARS,
    cpu_of,
    disks,
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
UNSUPPORTED = "FieldValueNotSupported"

_DOMAIN = "spec.domain"
_CPU = f"{_DOMAIN}.cpu"
_DEDICATED = f"{_CPU}.dedicatedCpuPlacement"
_NUMA = f"{_CPU}.numa.guestMappingPassthrough"
_INT32 = 2**31 - 1
_MIN_MEMORY = 1_000_000
_IOTHREADS_POLICIES = ("shared", "auto", "supplementalPool")
_FEATURE_POLICIES = ("", "force", "require", "optional", "disable", "forbid")
_DEFAULT_BUS = "sata"
"""Of a disk that names none, on amd64 (pkg/defaults/amd64.go)."""
_TARGETS = ("disk", "lun", "cdrom")


def causes(vmi: Object, config: ClusterConfig, *, sidecar_gate: bool = True) -> Iterator[Cause]:
    """Every objection to a VMI that was defaulted, in KubeVirt's order."""
    yield from _memory_rules(vmi)
    yield from _page_rules(vmi)
    yield from _guest_memory_rules(vmi, config)
    yield from _machine_rules(vmi, config)
    yield from _cpu_amount_rules(vmi)
    if config.profile == V1ALPHA2:
        yield from _width_rules(vmi)
    if is_dedicated(vmi):
        yield from _dedicated_rules(vmi, config)
    yield from _numa_rules(vmi, config)
    yield from _isolation_rules(vmi)
    yield from _feature_rules(vmi)
    yield from _hotplug_rules(vmi)
    yield from _realtime_rules(vmi)
    yield from _iothreads_rules(vmi)
    yield from _disk_rules(vmi)
    yield from _mandatory_rules(vmi)
    if sidecar_gate:
        yield from _sidecar_rules(vmi, config)


def _path(kind: str, name: str) -> str:
    return f"{_DOMAIN}.resources.{kind}.{name}"


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
        yield Cause(INVALID, f"{field} '{size}': {quantity.FORMAT_WRONG}", field)
        return
    request = resource_of(vmi, "requests", "memory") or "0"
    memory = quantity.value(request) or quantity.value(domain_of(vmi)["memory"].get("guest"))
    memory = memory or quantity.value(resource_of(vmi, "limits", "memory"))
    path = _path("requests", "memory")
    if memory and memory < page:
        message = f"{path} '{request}' must be equal to or larger than page size {field} '{size}'"
        yield Cause(INVALID, message, path)
    elif memory % page:
        message = f"{path} '{request}' is not a multiple of the page size {field} '{size}'"
        yield Cause(INVALID, message, path)


def _guest_memory_rules(vmi: Object, config: ClusterConfig) -> Iterator[Cause]:
    """Where the guest cannot grow, it fits the limit."""
    guest, limit = (
        (domain_of(vmi).get("memory") or {}).get("guest"),
        resource_of(vmi, "limits", "memory"),
    )
    if config.hotplug_ratio == 1 and 0 < quantity.value(limit) < quantity.value(guest):
        field = f"{_DOMAIN}.memory.guest"
        message = (
            f"{field} '{guest}' must be equal to or less than the memory limit "
            f"{_path('limits', 'memory')} '{limit}'"
        )
        yield Cause(INVALID, message, field)


def _machine_rules(vmi: Object, config: ClusterConfig) -> Iterator[Cause]:
    machine, supported = domain_of(vmi)["machine"]["type"], config.emulated_machines
    if not any(fnmatchcase(machine, pattern) for pattern in supported):
        field = f"{_DOMAIN}.machine.type"
        message = f"{field} is not supported: {machine} (allowed values: [{' '.join(supported)}])"
        yield Cause(INVALID, message, field)


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


def _width_rules(vmi: Object) -> Iterator[Cause]:
    """Without defaulting, nothing else holds a number of vCPUs against its 32 bits."""
    for kind in ("requests", "limits"):
        if quantity.value(resource_of(vmi, kind, "cpu")) > _INT32:
            path = _path(kind, "cpu")
            yield Cause(INVALID, f"{path} is more than a number of vCPUs can be", path)


def _dedicated_rules(vmi: Object, config: ClusterConfig) -> Iterator[Cause]:
    yield from _memory_provided(vmi)
    for kind in ("requests", "limits"):
        amount = resource_of(vmi, kind, "cpu")
        if quantity.value(amount) > 0 and not quantity.is_integer(amount):
            message = f"provided resources CPU {kind} must be an interger"
            yield Cause(INVALID, message, _path(kind, "cpu"))
    requested, limit = (
        quantity.value(resource_of(vmi, k, "memory")) for k in ("requests", "limits")
    )
    if requested > 0 and limit > 0 and requested != limit:
        message = f"{_path('requests', 'memory')} must be equal to {_path('limits', 'memory')}"
        yield Cause(INVALID, message, _path("requests", "memory"))
    yield from _vcpu_source_rules(vmi, config)
    threads = cpu_of(vmi).get("threads") or 0
    if threads > 1 and vmi["spec"].get("architecture") == "arm64":
        message = (
            f"threads must not be greater than 1 at {_CPU}.threads (got {threads}) "
            "when spec.architecture is arm64"
        )
        yield Cause(INVALID, message, "spec.architecture")
    if threads > 2:
        message = (
            f"Not more than two threads must be provided at {_CPU}.threads (got {threads}) "
            "when DedicatedCPUPlacement is true"
        )
        yield Cause(INVALID, message, _DEDICATED)


def _vcpu_source_rules(vmi: Object, config: ClusterConfig) -> Iterator[Cause]:
    """Where the number of vCPUs comes from, and that all sources agree."""
    request, limit = (quantity.value(resource_of(vmi, k, "cpu")) for k in ("requests", "limits"))
    vcpus = topology_product(vmi)
    paths = f"{_path('requests', 'cpu')} or {_path('limits', 'cpu')}"
    when = "when DedicatedCPUPlacement is true "
    if not request and not limit and not vcpus:
        message = f"either {paths} or {_CPU}.cores must be provided {when}"
        yield Cause(INVALID, message, _DEDICATED)
    if request > 0 and limit > 0 and request != limit:
        yield Cause(INVALID, f"{paths} must be equal {when}", _DEDICATED)
    agree = vcpus in (request, limit) and config.profile != V1ALPHA2
    if (request > 0 or limit > 0) and vcpus > 0 and not agree:
        message = f"{paths} must not be provided at the same time with {_CPU}.cores {when}"
        yield Cause(INVALID, message, _DEDICATED)


def _memory_provided(vmi: Object) -> Iterator[Cause]:
    memory = domain_of(vmi).get("memory") or {}
    amounts = [resource_of(vmi, kind, "memory") for kind in ("limits", "requests")]
    amounts.append(memory.get("guest"))
    if memory.get("hugepages") is None and all(quantity.is_zero(amount) for amount in amounts):
        message = (
            f"{_path('requests', 'memory')}, {_path('limits', 'memory')}, "
            f"{_DOMAIN}.memory.hugepages or {_DOMAIN}.memory.guest should be provided"
        )
        yield Cause(INVALID, message, _path("limits", "memory"))


def _numa_rules(vmi: Object, config: ClusterConfig) -> Iterator[Cause]:
    if not maps_numa(vmi):
        return
    if not config.enabled(NUMA_GATE):
        message = f"NUMA feature gate is not enabled in kubevirt-config, invalid entry {_NUMA}"
        yield Cause(INVALID, message, _NUMA)
    when = f"when NUMA topology strategy is set in {_NUMA}"
    if not is_dedicated(vmi):
        yield Cause(INVALID, f"{_DEDICATED} must be set to true {when}", _NUMA)
    if page_size(vmi) is None:
        message = f"{_DOMAIN}.memory.hugepages must be requested {when}"
        yield Cause(INVALID, message, _NUMA)


def _isolation_rules(vmi: Object) -> Iterator[Cause]:
    if isolates_emulator(vmi) and not is_dedicated(vmi):
        message = (
            "IsolateEmulatorThread should be only set in combination with DedicatedCPUPlacement"
        )
        yield Cause(INVALID, message, f"{_CPU}.isolateEmulatorThread")


def _feature_rules(vmi: Object) -> Iterator[Cause]:
    for index, feature in enumerate(cpu_of(vmi).get("features") or ()):
        policy = feature.get("policy") or ""
        if policy not in _FEATURE_POLICIES:
            message = f"CPU feature {feature['name']} uses policy {policy} that is not supported."
            yield Cause(UNSUPPORTED, message, f"{_CPU}.features[{index}].policy")


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


def _disk_rules(vmi: Object) -> Iterator[Cause]:
    """Every disk names a volume; one with an IOThread of its own is on the bus virtio."""
    volumes = {volume.get("name") for volume in vmi["spec"].get("volumes") or ()}
    for index, disk in enumerate(disks(vmi)):
        field = f"{_DOMAIN}.devices.disks[{index}]"
        if disk.get("name") not in volumes:
            yield Cause(INVALID, f"{field}.Name '{disk.get('name')}' not found.", f"{field}.Name")
        target: Object = next((disk[kind] for kind in _TARGETS if disk.get(kind) is not None), {})
        bus = target.get("bus") or _DEFAULT_BUS
        if disk.get("dedicatedIOThread") and bus != "virtio":
            # pkg/storage/admitters/disks.go appends the whole path to a path that has it already.
            named = f"{_DOMAIN}.devices.disks.domain.devices.disks[{index}]"
            yield Cause(UNSUPPORTED, f"IOThreads are not supported for disks on a {bus} bus", named)


def _mandatory_rules(vmi: Object) -> Iterator[Cause]:
    memory = domain_of(vmi).get("memory") or {}
    given = memory.get("guest") is not None or memory.get("hugepages") is not None
    if not given and not quantity.value(resource_of(vmi, "requests", "memory")):
        message = (
            f"no memory requested, at least one of '{_DOMAIN}.memory.guest', "
            f"'{_DOMAIN}.memory.hugepages.pageSize' or '{_path('requests', 'memory')}' must be set"
        )
        yield Cause(REQUIRED, message, "")


def _sidecar_rules(vmi: Object, config: ClusterConfig) -> Iterator[Cause]:
    annotated = (vmi["metadata"].get("annotations") or {}).get(HOOK_SIDECARS)
    if config.profile != V1ALPHA2 and annotated and not config.enabled(SIDECAR_GATE):
        message = (
            "sidecar feature gate is not enabled in kubevirt-config, invalid entry "
            f"metadata.annotations.{HOOK_SIDECARS}"
        )
        yield Cause(INVALID, message, "metadata.annotations")
