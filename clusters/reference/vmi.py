"""Reading a VirtualMachineInstance: the few questions that several components ask of it."""

from __future__ import annotations

from collections.abc import Sequence

from clusters.reference import quantity
from clusters.reference.apiserver.store import Object

EVEN_PARITY = "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity"
HOOK_SIDECARS = "hooks.kubevirt.io/hookSidecars"
FINAL = ("Succeeded", "Failed")

_IOTHREADS_PER_CPU = 2


def domain_of(vmi: Object) -> Object:
    """``spec.domain``."""
    domain: Object = vmi["spec"].get("domain") or {}
    return domain


def cpu_of(vmi: Object) -> Object:
    """``spec.domain.cpu``, empty when it is missing."""
    cpu: Object = domain_of(vmi).get("cpu") or {}
    return cpu


def resource_of(vmi: Object, kind: str, name: str) -> quantity.Written | None:
    """``spec.domain.resources.KIND.NAME``, None when it is missing."""
    resources = domain_of(vmi).get("resources") or {}
    found: quantity.Written | None = (resources.get(kind) or {}).get(name)
    return found


def is_dedicated(vmi: Object) -> bool:
    """Whether it asks for dedicated CPUs."""
    return bool(cpu_of(vmi).get("dedicatedCpuPlacement"))


def isolates_emulator(vmi: Object) -> bool:
    """Whether its emulator threads get a CPU of their own."""
    return bool(cpu_of(vmi).get("isolateEmulatorThread"))


def completes_to_even(vmi: Object) -> bool:
    """Whether the emulator's CPUs are to make the number of CPUs even."""
    return EVEN_PARITY in (vmi["metadata"].get("annotations") or {})


def maps_numa(vmi: Object) -> bool:
    """Whether its NUMA nodes are to be those of its pCPUs."""
    return (cpu_of(vmi).get("numa") or {}).get("guestMappingPassthrough") is not None


def realtime(vmi: Object) -> bool:
    """Whether some or all of its vCPUs are to be scheduled in real time."""
    return cpu_of(vmi).get("realtime") is not None


def in_real_time(vmi: Object, vcpu: int) -> bool:
    """Whether a vCPU is: by the mask, such as ``0-3,^1``, every one without (ParseCPUMask).

    Raises ValueError for a mask that is none.
    """
    mask = str(cpu_of(vmi)["realtime"].get("mask") or "")
    if not mask:
        return True
    enabled: dict[int, bool] = {}
    for part in (each.strip() for each in mask.split(",")):
        if part.startswith("^"):
            enabled[int(part[1:])] = False
            continue
        first, _, last = part.partition("-")
        for number in range(int(first), int(last or first) + 1):
            enabled.setdefault(number, True)
    return enabled.get(vcpu, False)


def page_size(vmi: Object) -> str | None:
    """Size of the huge pages that its memory is made of, such as ``2Mi``; None for none."""
    hugepages = (domain_of(vmi).get("memory") or {}).get("hugepages")
    return None if hugepages is None else str(hugepages.get("pageSize") or "")


def topology_product(vmi: Object) -> int:
    """Product of the topology fields that are set, 0 when none is.

    kubevirt pkg/util/hardware GetNumberOfVCPUs, which counts in 32 bits.
    """
    given = [n for n in (cpu_of(vmi).get(k) for k in ("sockets", "cores", "threads")) if n]
    product = 1 if given else 0
    for number in given:
        product *= int(number)
    return product % 2**32


def topology(vmi: Object) -> tuple[int, int, int]:
    """Guest (sockets, cores, threads), as the launcher completes them.

    kubevirt pkg/virt-launcher/virtwrap/converter/vcpu GetCPUTopology: without any topology
    the CPU limit, else the request, becomes the number of sockets.
    """
    cpu = cpu_of(vmi)
    sockets, cores, threads = (int(cpu.get(key) or 1) for key in ("sockets", "cores", "threads"))
    if not topology_product(vmi):
        amount = resource_of(vmi, "limits", "cpu") or resource_of(vmi, "requests", "cpu")
        sockets = max(1, quantity.value(amount))
    return sockets, cores, threads


def vcpus(vmi: Object) -> int:
    """Number of vCPUs that are switched on at start."""
    sockets, cores, threads = topology(vmi)
    return sockets * cores * threads


def disks(vmi: Object) -> Sequence[Object]:
    """``spec.domain.devices.disks``."""
    found: Sequence[Object] = (domain_of(vmi).get("devices") or {}).get("disks") or ()
    return found


def supplemental_iothreads(vmi: Object) -> int:
    """IOThreads with CPUs of their own."""
    if domain_of(vmi).get("ioThreadsPolicy") != "supplementalPool":
        return 0
    count = (domain_of(vmi).get("ioThreads") or {}).get("supplementalPoolThreadCount")
    return int(count or 0)


def uses_iothreads(vmi: Object) -> bool:
    """Whether the domain has IOThreads at all."""
    return bool(domain_of(vmi).get("ioThreadsPolicy")) or any(
        disk.get("dedicatedIOThread") for disk in disks(vmi)
    )


def iothread_counts(vmi: Object) -> tuple[int, int]:
    """(all IOThreads, those shared by the disks without one of their own).

    kubevirt pkg/virt-launcher/virtwrap/converter/iothreads.
    """
    if supplemental := supplemental_iothreads(vmi):
        return supplemental, 0
    dedicated = sum(bool(disk.get("dedicatedIOThread")) for disk in disks(vmi))
    shared = len(disks(vmi)) - dedicated
    limit = _pool_limit(vmi)
    if shared + dedicated > limit:
        shared = max(1, limit - dedicated)
    return shared + dedicated, shared


def _pool_limit(vmi: Object) -> int:
    if domain_of(vmi).get("ioThreadsPolicy") != "auto":
        return 1
    if is_dedicated(vmi) and isolates_emulator(vmi):
        return 1
    amount = resource_of(vmi, "requests", "cpu") or resource_of(vmi, "limits", "cpu")
    return (quantity.value(amount) if amount is not None else 1) * _IOTHREADS_PER_CPU
