"""The CPU topology of a node or of a guest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from conformance.model.cpuset import CpuSet


@dataclass(frozen=True)
class Cpu:
    """One online logical CPU.

    Attributes:
        core: core id, unique within its socket only.
        siblings: the hardware threads of its core, itself included.
        node: NUMA node.
    """

    id: int
    core: int
    socket: int
    node: int
    siblings: CpuSet


@dataclass(frozen=True)
class Topology:
    """Every online CPU, by id."""

    cpus: tuple[Cpu, ...]

    @cached_property
    def by_id(self) -> dict[int, Cpu]:
        """The CPUs by their id."""
        return {cpu.id: cpu for cpu in self.cpus}

    @cached_property
    def online(self) -> CpuSet:
        """Ids of the online CPUs."""
        return CpuSet(cpu.id for cpu in self.cpus)

    @cached_property
    def cores(self) -> frozenset[CpuSet]:
        """The sibling sets."""
        return frozenset(cpu.siblings for cpu in self.cpus)

    @cached_property
    def sockets(self) -> frozenset[int]:
        """Socket ids."""
        return frozenset(cpu.socket for cpu in self.cpus)

    @cached_property
    def numa_nodes(self) -> dict[int, CpuSet]:
        """CPUs by NUMA node."""
        nodes: dict[int, set[int]] = {}
        for cpu in self.cpus:
            nodes.setdefault(cpu.node, set()).add(cpu.id)
        return {node: CpuSet(ids) for node, ids in nodes.items()}

    @cached_property
    def threads_per_core(self) -> int:
        """The largest number of threads of a core; above 1 is SMT."""
        return max((len(core) for core in self.cores), default=0)

    @cached_property
    def cpus_per_core(self) -> int:
        """CPUs of a core as the kubelet counts them: all by all, in whole numbers.

        On a node where cores have one thread or two that is 1 (kubernetes
        pkg/kubelet/cm/cpumanager/topology, CPUsPerCore).
        """
        return len(self.cpus) // len(self.cores) if self.cores else 0

    @cached_property
    def uniform(self) -> bool:
        """Whether all cores have equally many threads that are online."""
        return all(len(core) == self.threads_per_core for core in self.cores)

    def whole_cores(self, cpus: Iterable[int]) -> frozenset[CpuSet]:
        """The cores of which every thread is among these CPUs."""
        chosen = frozenset(cpus)
        return frozenset(core for core in self.cores if core <= chosen)
