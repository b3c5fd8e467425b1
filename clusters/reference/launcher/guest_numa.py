"""The guest's NUMA nodes: those of the host on which its pCPUs are.

kubevirt pkg/virt-launcher/virtwrap/converter/vcpu numaMapping: a cell for each host node
that a vCPU is pinned to, in the host's order, the memory shared evenly in whole pages. The
distances between them are left to QEMU, which says 10 and 20 as the virtual nodes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clusters.contract.cpuset import CpuSet
from clusters.reference.faults import Faults
from clusters.reference.launcher.pinning import Pinning, PinningError


@dataclass(frozen=True)
class Cell:
    """One NUMA node of the guest; its id is its place among them.

    Attributes:
        host: the node of the host that its memory comes from.
        vcpus: ids of its vCPUs.
        memory: bytes.
    """

    host: int
    vcpus: Sequence[int]
    memory: int


def cells(
    pinning: Pinning, nodes: Mapping[int, CpuSet], memory: int, page: int, faults: Faults
) -> tuple[Cell, ...]:
    """The cells of a guest.

    Args:
        pinning: where its vCPUs are.
        nodes: pCPUs by NUMA node of the host.
        memory: bytes of the guest.
        page: bytes of one of its pages.
        faults: what is done wrong on purpose.

    Raises:
        PinningError: the memory cannot be divided, with upstream's wording.
    """
    vcpus = {
        node: [vcpu for vcpu, cpu in pinning.vcpus.items() if cpu in cpus]
        for node, cpus in nodes.items()
    }
    involved = {node: own for node, own in vcpus.items() if own}
    if faults.numa_flat and involved:
        involved = {min(involved): sorted(pinning.vcpus)}
    if memory < len(involved) * page:
        raise PinningError(
            "not enough memory requested to allocate at least one hugepage per numa node: "
            f"{memory} < {len(involved) * page}"
        )
    if memory % page:
        raise PinningError(
            "requested memory can't be divided through the numa page size: "
            f"{memory} mod {page} != 0"
        )
    share, larger = divmod(memory // page, max(len(involved), 1))
    return tuple(
        Cell(node, own, (share + (place < larger)) * page)
        for place, (node, own) in enumerate(involved.items())
    )
