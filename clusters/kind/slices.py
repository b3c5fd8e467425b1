"""Which CPUs of the host each node owns.

All nodes of kind see every CPU of the host, so that two kubelets with the static policy would
give the same pCPU to two VMIs. Here each worker owns whole cores of its own, and its kubelet
holds everything else back by ``reservedSystemCPUs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clusters.contract.cpuset import CpuSet
from clusters.contract.provider import ClusterError
from clusters.host.started import conform
from clusters.kind.host import Core

WORKER_CPUS = 12
"""At the most for one worker, so that a large host has room for another cluster: the virtual
node of the default shape has as many, and every case of the matrix fits on it."""
CONTROL_PLANE_CORES = 2
"""At the most, where workers leave any."""


@dataclass(frozen=True)
class Slice:
    """The CPUs of one worker.

    Attributes:
        cpus: all that its container may use.
        reserved: ``reservedSystemCPUs``: the rest of the host, and the first core of the
            slice. Without that core nothing would remain for system pods once everything is
            given away, and a cgroup whose CPUs are all outside of its parent's gets its
            parent's: the exclusive ones (the kernel's cgroup-v2.rst, cpuset.cpus).
    """

    cpus: CpuSet
    reserved: CpuSet


@dataclass(frozen=True)
class Slices:
    """Disjoint CPUs for the nodes of one cluster."""

    control_plane: CpuSet
    workers: tuple[Slice, ...]

    @property
    def all(self) -> CpuSet:
        """What the cluster takes of the host."""
        return self.control_plane.union(*(worker.cpus for worker in self.workers))


def divide(cores: Sequence[Core], workers: int, taken: CpuSet = frozenset()) -> Slices:
    """Divides whole cores among nodes; each gets neighbours along the hardware.

    Args:
        cores: of the host, in the order of `Core.place`.
        workers: at least 1.
        taken: CPUs that other clusters own.

    Raises:
        ClusterError: there are too few cores.
    """
    online = _threads(cores)
    free = [core for core in cores if not core.threads & taken]
    needed = 2 * workers + 1
    if len(free) < needed:
        fewer = "ask for fewer --workers, or " if workers > 1 else ""
        held = ""
        if taken:
            held = f", as other kind clusters own {len(cores) - len(free)} of {len(cores)}"
            fewer = f"end others (`{conform()} status` lists them), {fewer}"
        raise ClusterError(
            f"kind with {workers} worker{'s' * (workers > 1)} takes at least {needed} cores of "
            f"this host, one for the control plane and two for each worker, of which one can be "
            f"given away; there are {len(free)}{held}: {fewer}use --cluster embedded, which "
            "needs no CPUs of its own"
        )
    shares = [
        free[number * len(free) // workers : (number + 1) * len(free) // workers]
        for number in range(workers)
    ]
    most = max(2, WORKER_CPUS // max(len(core.threads) for core in cores))
    largest = max(shares, key=len)
    control_plane = largest[: max(1, min(CONTROL_PLANE_CORES, len(largest) - most))]
    del largest[: len(control_plane)]
    return Slices(_threads(control_plane), tuple(_slice(online, share[:most]) for share in shares))


def _slice(online: CpuSet, cores: Sequence[Core]) -> Slice:
    cpus = _threads(cores)
    return Slice(cpus, (online - cpus) | cores[0].threads)


def _threads(cores: Sequence[Core]) -> CpuSet:
    return frozenset[int]().union(*(core.threads for core in cores))
