"""Which pCPUs the static CPU manager hands out: topology-aware, deterministic.

Rules of kubernetes pkg/kubelet/cm/cpumanager/cpu_assignment.go (1.36); the recorded answers of
that release are reproduced by a test. One thing is not as upstream: what is not free is never
taken. Where cores have one thread or two, upstream takes a core of two of which one is free for a
whole one, and hands both out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import combinations

from clusters.contract.cpuset import CpuSet
from clusters.reference.node_topology import Cpu, NodeTopology

FULL_PCPUS_ONLY = "full-pcpus-only"
DISTRIBUTE_ACROSS_NUMA = "distribute-cpus-across-numa"
DISTRIBUTE_ACROSS_CORES = "distribute-cpus-across-cores"
PREFER_UNCORE_CACHE = "prefer-align-cpus-by-uncorecache"


class AllocationError(Exception):
    """The request cannot be met from what is available."""


def take(
    topology: NodeTopology, available: CpuSet, number: int, options: Collection[str] = ()
) -> CpuSet:
    """Chooses `number` pCPUs out of `available` under the policy options.

    Raises AllocationError with the kubelet's wording.
    """
    spread = DISTRIBUTE_ACROSS_CORES in options
    if DISTRIBUTE_ACROSS_NUMA in options:
        group = topology.threads_per_core if FULL_PCPUS_ONLY in options else 1
        return _distributed(topology, available, number, group, spread=spread)
    aligned = PREFER_UNCORE_CACHE in options
    return _packed(topology, available, number, spread=spread, aligned=aligned)


class _Taking:
    """One allocation in progress: what is still free, what was taken, what is missing."""

    def __init__(self, topology: NodeTopology, available: CpuSet, number: int) -> None:
        if number > len(available):
            raise AllocationError(
                "not enough cpus available to satisfy request: "
                f"requested={number}, available={len(available)}"
            )
        self.topology = topology
        self.free = available & topology.all
        self.missing = number
        self.taken: CpuSet = frozenset()
        numa_first = len(topology.sockets) >= len(topology.numa_nodes)
        self.levels = (_numa, _socket) if numa_first else (_socket, _numa)

    def take(self, cpus: CpuSet) -> None:
        self.taken |= cpus
        self.free -= cpus
        self.missing -= len(cpus)

    def ordered(self, level: int, within: CpuSet | None = None) -> list[int]:
        """Ids of the groups of a level with free pCPUs, the fullest first.

        The second level is ordered inside each group of the first, so that pCPUs near each
        other are taken together.
        """
        if level == 0:
            groups = self.topology.grouped(self.free if within is None else within, self.levels[0])
            return _fullest_first(groups)
        result: list[int] = []
        outer = self.topology.grouped(self.free, self.levels[0])
        for name in self.ordered(0):
            result += _fullest_first(self.topology.grouped(outer[name], self.levels[1]))
        return result

    def ordered_cores(self) -> list[CpuSet]:
        """Free pCPUs of each core, near ones together, the fullest core first."""
        inner = self.topology.grouped(self.free, self.levels[1])
        result: list[CpuSet] = []
        for name in self.ordered(1):
            cores = self.topology.grouped(inner[name], _core)
            result += [cores[core] for core in _fullest_first(cores)]
        return result

    def take_whole_groups(self, level: int) -> None:
        whole = self.topology.grouped(self.topology.all, self.levels[level])
        for name in self.ordered(level):
            if whole[name] <= self.free and self.missing >= len(whole[name]):
                self.take(whole[name])

    def take_uncore_caches(self) -> None:
        """Whole caches while they are wanted, then what fits into one of them."""
        average = len(self.topology.cpus) // len(self.topology.caches)
        for cache in self.ordered_caches():
            if self.missing >= average:
                for name in self.ordered_caches():
                    whole = self.topology.caches[name]
                    if whole <= self.free and self.missing >= len(whole):
                        self.take(whole)
            if self.missing:
                self.take_from_cache(cache)

    def ordered_caches(self) -> list[int]:
        """Caches with free pCPUs: those of one NUMA node together, the fullest first."""
        result: list[int] = []
        for node in self.ordered(self.levels.index(_numa)):
            inside = self.topology.grouped(self.free & self.topology.numa_nodes[node], _cache)
            free = {name: self.free & self.topology.caches[name] for name in inside}
            result += _fullest_first(free)
        return result

    def take_from_cache(self, cache: int) -> None:
        """The first cores of a cache with something free, if they are exactly enough."""
        threads = self.topology.threads_per_core
        cores = self.topology.grouped(self.free & self.topology.caches[cache], _core)
        first = list(cores.values())[: -(-self.missing // threads)]
        chosen = sorted(frozenset().union(*first))
        if self.missing % 2 and threads > 1 and len(chosen) > self.missing:
            chosen.pop()
        if len(chosen) == self.missing:
            self.take(frozenset(chosen))

    def take_whole_cores(self) -> None:
        for cpus in self.ordered_cores():
            if len(cpus) == self.topology.threads_per_core and self.missing >= len(cpus):
                self.take(cpus)

    def take_single_cpus(self, *, spread: bool) -> None:
        if spread:
            sockets = self.topology.grouped(self.free, _socket)
            names = self.ordered(self.levels.index(_socket))
            order = [cpu for name in names for cpu in sorted(sockets[name])]
        else:
            order = [cpu for core in self.ordered_cores() for cpu in sorted(core)]
        self.take(frozenset(order[: self.missing]))


def _numa(cpu: Cpu) -> int:
    return cpu.numa


def _socket(cpu: Cpu) -> int:
    return cpu.socket


def _core(cpu: Cpu) -> int:
    return cpu.core


def _cache(cpu: Cpu) -> int:
    return cpu.cache


def _fullest_first(groups: dict[int, CpuSet]) -> list[int]:
    return sorted(groups, key=lambda name: (len(groups[name]), name))


def _packed(
    topology: NodeTopology, available: CpuSet, number: int, *, spread: bool, aligned: bool = False
) -> CpuSet:
    """Whole sockets or NUMA nodes, then uncore caches if asked, whole cores, single threads."""
    taking = _Taking(topology, available, number)
    taking.take_whole_groups(0)
    taking.take_whole_groups(1)
    if aligned:
        taking.take_uncore_caches()
    if not spread:
        taking.take_whole_cores()
    taking.take_single_cpus(spread=spread)
    return taking.taken


def _distributed(
    topology: NodeTopology, available: CpuSet, number: int, group: int, *, spread: bool
) -> CpuSet:
    """Evenly over the fewest NUMA nodes that allow it, in groups of `group` pCPUs.

    The remainder goes where it leaves the nodes most evenly filled; without a fitting
    combination of nodes the packed allocation is used.
    """
    if number % group:
        return _packed(topology, available, number, spread=spread)
    taking = _Taking(topology, available, number)
    if not number:
        return frozenset()
    nodes = taking.ordered(taking.levels.index(_numa))
    for size in _node_counts(taking, group):
        plan = _best_plan(taking, nodes, size, number, group)
        if plan is None:
            continue
        combination, share, receivers = plan
        for node in combination:
            taking.take(_packed(topology, _free_on(taking, node), share, spread=spread))
        while taking.missing > 0:
            for node in receivers:
                if taking.missing and len(_free_on(taking, node)) >= group:
                    taking.take(_packed(topology, _free_on(taking, node), group, spread=spread))
        return taking.taken
    return _packed(topology, available, number, spread=spread)


def _free_on(taking: _Taking, node: int) -> CpuSet:
    return taking.free & taking.topology.numa_nodes[node]


def _node_counts(taking: _Taking, group: int) -> range:
    """How many NUMA nodes can be enough at best, and are worth trying at most."""
    topology = taking.topology
    groups = math.ceil(len(topology.cpus) / group)
    per_node = math.ceil(groups / len(topology.numa_nodes))
    needed = math.ceil(taking.missing / group)
    with_free = len(topology.grouped(taking.free, _numa))
    return range(math.ceil(needed / per_node), min(needed, with_free) + 1)


def _best_plan(
    taking: _Taking, nodes: Sequence[int], size: int, number: int, group: int
) -> tuple[Sequence[int], int, Sequence[int]] | None:
    """The best combination of `size` nodes: (nodes, even share, receivers of the rest)."""
    free = {node: len(_free_on(taking, node)) for node in nodes}
    share = number // size // group * group
    best: tuple[Sequence[int], int, Sequence[int]] | None = None
    best_score = math.inf
    for combination in combinations(nodes, size):
        if best_score == 0:
            break
        if sum(free[node] // group for node in combination) * group < number:
            continue
        if any(free[node] < share for node in combination):
            continue
        left = {node: free[node] - share * (node in combination) for node in nodes}
        score, receivers = _place_rest(left, combination, number - share * size, group)
        if score < best_score:
            best, best_score = (combination, share, receivers), score
    return best


def _place_rest(
    left: dict[int, int], combination: Sequence[int], rest: int, group: int
) -> tuple[float, Sequence[int]]:
    """The most even way to take the rest: (deviation of what is left, receiving nodes)."""
    if not rest:
        return _deviation(list(left.values())), ()
    candidates = [node for node in combination if left[node] >= group]
    best: tuple[float, Sequence[int]] = (math.inf, ())
    for size in range(len(candidates), 0, -1):
        for receivers in combinations(candidates, size):
            if sum(left[node] for node in receivers) < rest:
                continue
            after, open_rest = dict(left), rest
            while open_rest > 0:
                for node in receivers:
                    if open_rest and after[node] >= group:
                        after[node] -= group
                        open_rest -= group
            score = _deviation(list(after.values()))
            if score < best[0]:
                best = (score, receivers)
    return best


def _deviation(numbers: Sequence[int]) -> float:
    """Standard deviation, mean and result rounded to thousandths as the kubelet does."""
    mean = _thousandths(sum(numbers) / len(numbers))
    return _thousandths(math.sqrt(sum((n - mean) ** 2 for n in numbers) / len(numbers)))


def _thousandths(number: float) -> float:
    return math.floor(number * 1000 + 0.5) / 1000
