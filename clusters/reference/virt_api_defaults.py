"""What virt-api fills in: kubevirt pkg/defaults, of 1.7 and later."""

from __future__ import annotations

from clusters.reference import quantity
from clusters.reference.apiserver.store import Object
from clusters.reference.cluster_config import V1ALPHA2, ClusterConfig
from clusters.reference.vmi import (
    EVEN_PARITY,
    cpu_of,
    disks,
    domain_of,
    isolates_emulator,
    resource_of,
    topology_product,
)

_MAX_VCPUS = 512
_UINT32 = 2**32
_COUNTS = ("sockets", "cores", "threads")


def set_defaults(vmi: Object, config: ClusterConfig) -> None:
    """Fills in spec and status of a VMI that was decoded (SetDefaultVirtualMachineInstance)."""
    spec = vmi["spec"]
    domain = spec["domain"]
    spec.setdefault("architecture", "amd64")
    machine = domain.get("machine") or {}
    domain["machine"] = {**machine, "type": machine.get("type") or config.machine_type}
    spec.setdefault("terminationGracePeriodSeconds", 30)
    _resources(vmi)
    _guest_memory(vmi)
    if config.profile == V1ALPHA2:
        for field in ("sockets", "threads", "isolateEmulatorThread", "maxSockets"):
            (domain.get("cpu") or {}).pop(field, None)
    else:
        _topology(vmi)
        cpu = domain["cpu"]
        cpu["model"] = cpu.get("model") or "host-model"
        _hotplug(cpu, config.hotplug_ratio)
    if isolates_emulator(vmi) and config.completes_to_even:
        # ApplyNewVMIMutations, in vmi-mutator.go.
        vmi["metadata"].setdefault("annotations", {})[EVEN_PARITY] = ""
    _disks(vmi)
    # Go leaves out what is zero (omitempty).
    for name in (*_COUNTS, "maxSockets"):
        if cpu_of(vmi).get(name) == 0:
            del domain["cpu"][name]
    vmi["status"] = {"phase": "Pending", **_status(vmi)}


def _resources(vmi: Object) -> None:
    """A CPU limit alone is copied to the request."""
    limit, request = (resource_of(vmi, kind, "cpu") for kind in ("limits", "requests"))
    if not quantity.is_zero(limit) and quantity.is_zero(request):
        domain_of(vmi)["resources"].setdefault("requests", {})["cpu"] = limit


def _guest_memory(vmi: Object) -> None:
    memory = domain_of(vmi).setdefault("memory", {})
    if memory.get("guest") is not None:
        return
    for kind in ("requests", "limits"):
        amount = resource_of(vmi, kind, "memory")
        if not quantity.is_zero(amount):
            memory["guest"] = amount
            return
    size = (memory.get("hugepages") or {}).get("pageSize")
    if size:
        try:
            memory["guest"] = quantity.canonical(size)
        except quantity.MalformedError:
            return


def _topology(vmi: Object) -> None:
    """Without any topology the CPU limit, else the request, becomes the sockets, else one."""
    cpu = domain_of(vmi).setdefault("cpu", {})
    if any(cpu.get(field) for field in _COUNTS):
        return
    sockets = 1
    for kind in ("limits", "requests"):
        amount = resource_of(vmi, kind, "cpu")
        if amount is not None:
            sockets = quantity.value(amount) % _UINT32
            break
    cpu.update(sockets=sockets, cores=1, threads=1)


def _hotplug(cpu: Object, ratio: int) -> None:
    """Sockets to grow to, in the arithmetic of uint32."""
    if ratio == 1 or cpu.get("maxSockets"):
        return
    sockets, cores, threads = (int(cpu.get(name) or 0) for name in _COUNTS)
    most = sockets * ratio % _UINT32
    if most * cores * threads % _UINT32 > _MAX_VCPUS:
        most = max(_MAX_VCPUS // (cores * threads % _UINT32), sockets)
    cpu["maxSockets"] = most


def _disks(vmi: Object) -> None:
    """A volume that no disk names gets one."""
    found = domain_of(vmi)["devices"].setdefault("disks", [])
    named = {disk.get("name") for disk in found}
    for volume in vmi["spec"].get("volumes") or ():
        if volume.get("name") not in named:
            found.append({"name": volume["name"], "disk": {"bus": "virtio"}})
    if not disks(vmi):
        del domain_of(vmi)["devices"]["disks"]


def _status(vmi: Object) -> Object:
    status: Object = {}
    cpu = cpu_of(vmi)
    if topology_product(vmi):
        status["currentCPUTopology"] = {name: cpu[name] for name in _COUNTS if cpu.get(name)}
    guest = (domain_of(vmi).get("memory") or {}).get("guest")
    if guest is not None:
        status["memory"] = dict.fromkeys(("guestAtBoot", "guestCurrent", "guestRequested"), guest)
    return status
