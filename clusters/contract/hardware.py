"""The hardware of a node, CPU by CPU: what counts of sockets, cores and threads cannot say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet

LOCAL, REMOTE = 10, 20
"""NUMA distances of ACPI: to itself, and to another node unless something else is said."""


@dataclass(frozen=True)
class Cpu:
    """One logical CPU and where it sits.

    Attributes:
        core: unique on the node, in the order of cores.
        package: ``physical_package_id``; -1 where the firmware does not tell.
        die: ``die_id``, unique in its package.
        cache: id of its L3 cache, unique on the node.
        numa: id of its NUMA node.
        online: whether the kernel uses it.
    """

    id: int
    core: int
    package: int
    die: int
    cache: int
    numa: int
    online: bool = True


@dataclass(frozen=True)
class NumaNode:
    """One NUMA node.

    Attributes:
        memory_mib: its memory in MiB; 0 is a node of CPUs alone.
        distances: to every NUMA node of the machine, in the order of their ids.
    """

    id: int
    memory_mib: int
    distances: tuple[int, ...]


@dataclass(frozen=True)
class Hardware:
    """Every CPU and NUMA node of one machine, both by ascending id.

    Example:
        Hardware((Cpu(0, 0, 0, 0, 0, 0), Cpu(1, 0, 0, 0, 0, 0)), (NumaNode(0, 3072, (10,)),))
    """

    cpus: tuple[Cpu, ...]
    numa: tuple[NumaNode, ...]

    @property
    def hardware(self) -> Hardware:
        """Itself, as `NodeShape.hardware`."""
        return self

    @property
    def memory_mib(self) -> int:
        """Memory of the whole node in MiB."""
        return sum(node.memory_mib for node in self.numa)

    def roomier(self, memory_mib: int) -> Hardware:
        """The same with so much memory at the least; what is added goes to the largest node."""
        largest = max(self.numa, key=lambda node: node.memory_mib)
        more = max(0, memory_mib - self.memory_mib)
        grown = replace(largest, memory_mib=largest.memory_mib + more)
        return replace(self, numa=tuple(grown if n is largest else n for n in self.numa))

    @cached_property
    def online(self) -> CpuSet:
        """Ids of the CPUs that the kernel uses."""
        return frozenset(cpu.id for cpu in self.cpus if cpu.online)

    def grouped(self, key: Callable[[Cpu], int]) -> Mapping[int, CpuSet]:
        """Ids of the online CPUs by a property, ascending."""
        groups: dict[int, set[int]] = {}
        for cpu in self.cpus:
            if cpu.online:
                groups.setdefault(key(cpu), set()).add(cpu.id)
        return {name: frozenset(groups[name]) for name in sorted(groups)}

    def __str__(self) -> str:
        sizes = {len(cpus) for cpus in self.grouped(lambda cpu: cpu.core).values()}
        parts = (
            _count(len(self.online), "CPU"),
            _count(len({cpu.package for cpu in self.cpus}), "package"),
            f"{'/'.join(map(str, sorted(sizes)))} threads a core",
            _count(len(self.numa), "NUMA node"),
        )
        offline = frozenset(cpu.id for cpu in self.cpus) - self.online
        return ", ".join(parts) + (f", {cpuset.render(offline)} offline" if offline else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
