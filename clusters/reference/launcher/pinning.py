"""Which pCPU each vCPU, the emulator and each IOThread of a dedicated VMI get.

Rules of kubevirt pkg/virt-launcher/virtwrap/converter/vcpu/vcpu.go; the recorded answers
of that code are reproduced by a test. IOThread 1 sharing the emulator's pCPU whatever the
policy, and IOThreads without isolation sharing the vCPUs' pCPUs, are upstream's behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Core = list[int]


class PinningError(Exception):
    """The container's CPUs do not suffice for what the VMI asks."""


@dataclass(frozen=True)
class PinningRequest:
    """What is to be pinned.

    Attributes:
        cpus: the pCPUs of the compute container, in the order of its cpuset.
        cores: guest cores, of all sockets together.
        threads: guest threads in each core.
        isolate_emulator: whether the emulator gets a pCPU of its own.
        even_parity: whether it gets a second one when that makes the sum even.
        iothreads: number of IOThreads that the domain has; None when it uses none.
        supplemental_iothreads: number of IOThreads with a pCPU of their own.
        strict_numa: a guest core must not have threads on different NUMA nodes.
    """

    cpus: Sequence[int]
    cores: int
    threads: int
    isolate_emulator: bool = False
    even_parity: bool = False
    iothreads: int | None = None
    supplemental_iothreads: int = 0
    strict_numa: bool = False


@dataclass(frozen=True)
class Pinning:
    """The answer: pCPUs by vCPU and by IOThread id, and those of the emulator."""

    vcpus: Mapping[int, int]
    emulator: Sequence[int] = ()
    iothreads: Mapping[int, Sequence[int]] = field(default_factory=dict)


class _Cell:
    """The container's threads on one NUMA node, as cores that can hold a guest core or not."""

    def __init__(self, cores: Sequence[Core], threads: int) -> None:
        self.threads = threads
        self.whole = [list(core) for core in cores if len(core) >= threads]
        self.fragments = [cpu for core in cores if len(core) < threads for cpu in core]

    def take_from_whole_core(self, number: int) -> list[int]:
        """Threads of one core; what no longer holds a guest core becomes fragments."""
        if not self.whole:
            return []
        core = self.whole.pop(0)
        taken, rest = core[:number], core[number:]
        if len(rest) >= self.threads:
            self.whole.insert(0, rest)
        else:
            self.fragments += rest
        return taken

    def take_fragments(self, number: int) -> list[int]:
        taken, self.fragments = self.fragments[:number], self.fragments[number:]
        return taken


class _Pool:
    """Hands out the container's threads: whole cores first, then fragments."""

    def __init__(self, request: PinningRequest, cells: Sequence[Sequence[Core]]) -> None:
        owned = set(request.cpus)
        self._request = request
        self._cells = [
            _Cell([[cpu for cpu in core if cpu in owned] for core in cell], request.threads)
            for cell in cells
        ]

    def fit_cores(self) -> list[int]:
        """One thread for each vCPU, in order. Raises PinningError."""
        request = self._request
        wanted = request.cores * request.threads
        taken: list[int] = []
        for cell in self._cells:
            while len(taken) < wanted and (core := cell.take_from_whole_core(request.threads)):
                taken += core
        for cell in self._cells:
            while len(taken) < wanted and len(cell.fragments) >= request.threads:
                taken += cell.take_fragments(request.threads)
        if not request.strict_numa:
            for cell in self._cells:
                taken += cell.take_fragments(wanted - len(taken))
        missing = -(-(wanted - len(taken)) // request.threads)
        if missing and request.strict_numa and len(request.cpus) >= wanted:
            raise PinningError(
                f"could not fit {missing} core(s) without crossing numa cell boundaries "
                "for individual cores"
            )
        if missing:
            raise PinningError(
                f"not enough exclusive threads provided, could not fit {missing} core(s)"
            )
        return taken

    def fit_thread(self, purpose: str) -> int:
        """One more thread, fragments first. Raises PinningError."""
        for cell in self._cells:
            if taken := cell.take_fragments(1) or cell.take_from_whole_core(1):
                return taken[0]
        raise PinningError(f"no CPU allocated for the {purpose}: no remaining unassigned threads")


def pin(request: PinningRequest, numa_cells: Sequence[Sequence[Core]]) -> Pinning:
    """Fits the request into the container's CPUs.

    Args:
        request: what is to be pinned.
        numa_cells: threads by core by NUMA node of the whole node.

    Raises:
        PinningError: with upstream's wording.
    """
    pool = _Pool(request, numa_cells)
    vcpus = dict(enumerate(pool.fit_cores()))
    supplemental = request.supplemental_iothreads
    iothreads: dict[int, Sequence[int]] = {
        thread: (pool.fit_thread("iothread"),) for thread in range(1, supplemental + 1)
    }
    emulator: tuple[int, ...] = ()
    if request.isolate_emulator:
        emulator = (pool.fit_thread("emulation thread"),)
        if request.even_parity and (len(vcpus) + supplemental) % 2 == 0:
            emulator += (pool.fit_thread("second emulation thread"),)
    if request.iothreads is not None and not supplemental:
        iothreads = _share(request, len(vcpus), emulator)
    return Pinning(vcpus, emulator, iothreads)


def _share(
    request: PinningRequest, vcpus: int, emulator: Sequence[int]
) -> dict[int, Sequence[int]]:
    """IOThreads that share pCPUs with the emulator or with the vCPUs."""
    count = request.iothreads
    if not count:
        raise PinningError("domain is missing IOThreads")
    if request.isolate_emulator:
        return {1: emulator}
    if count >= vcpus:
        return {thread: (request.cpus[thread % vcpus],) for thread in range(1, count + 1)}
    size, larger = divmod(vcpus, count)
    shares: dict[int, Sequence[int]] = {}
    start = 0
    for thread in range(1, count + 1):
        end = start + size + (1 if thread <= larger else 0)
        shares[thread] = tuple(request.cpus[start:end])
        start = end
    return shares
