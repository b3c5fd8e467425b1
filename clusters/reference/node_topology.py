"""The CPU topology of a node, as the kubelet and the launcher see it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.reference.machine import Machine, NodeError

ONLINE = "/sys/devices/system/cpu/online"
_CPU = "/sys/devices/system/cpu/cpu{}/"
_PATTERNS = (
    ONLINE,
    "/sys/devices/system/cpu/cpu*/topology/physical_package_id",
    "/sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
    "/sys/devices/system/cpu/cpu*/cache/index3/id",
    "/sys/devices/system/node/node*/cpulist",
    "/sys/devices/system/node/node*/meminfo",
)
_NODE = re.compile(r"/sys/devices/system/node/node(\d+)/(cpulist|meminfo)")
_TOTAL = re.compile(r"MemTotal:\s+(\d+) kB")


@dataclass(frozen=True)
class Cpu:
    """One pCPU and where it sits.

    Attributes:
        core: lowest id among its hardware threads, which makes it unique on the node as
            the kubelet's own core ids are.
        cache: id of its uncore cache; that of the socket where the kernel shows none.
    """

    id: int
    core: int
    socket: int
    numa: int
    cache: int = 0


@dataclass(frozen=True)
class NodeTopology:
    """Every online pCPU of the node, by id.

    Attributes:
        memory: bytes by NUMA node, also of those without CPUs.
    """

    cpus: Mapping[int, Cpu]
    memory: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def all(self) -> CpuSet:
        """Every pCPU."""
        return frozenset(self.cpus)

    @cached_property
    def threads_per_core(self) -> int:
        """pCPUs divided by cores, as the kubelet computes it."""
        return len(self.cpus) // len(self.cores)

    @cached_property
    def cores(self) -> Mapping[int, CpuSet]:
        """pCPUs by core."""
        return self.grouped(self.all, lambda cpu: cpu.core)

    @cached_property
    def sockets(self) -> Mapping[int, CpuSet]:
        """pCPUs by socket."""
        return self.grouped(self.all, lambda cpu: cpu.socket)

    @cached_property
    def caches(self) -> Mapping[int, CpuSet]:
        """pCPUs by uncore cache."""
        return self.grouped(self.all, lambda cpu: cpu.cache)

    @cached_property
    def numa_nodes(self) -> Mapping[int, CpuSet]:
        """pCPUs by NUMA node."""
        return self.grouped(self.all, lambda cpu: cpu.numa)

    def grouped(self, cpus: Iterable[int], key: Callable[[Cpu], int]) -> dict[int, CpuSet]:
        """Divides some of the pCPUs by a property, in the order of that property."""
        groups: dict[int, set[int]] = {}
        for cpu in cpus:
            groups.setdefault(key(self.cpus[cpu]), set()).add(cpu)
        return {name: frozenset(groups[name]) for name in sorted(groups)}

    def siblings(self, cpus: Iterable[int]) -> CpuSet:
        """The pCPUs and every thread that shares a core with one of them."""
        return frozenset().union(*(self.cores[self.cpus[cpu].core] for cpu in cpus))

    @property
    def numa_cells(self) -> list[list[list[int]]]:
        """Threads by core by NUMA node, all ascending."""
        return [
            [sorted(core) for core in self.grouped(cpus, lambda cpu: cpu.core).values()]
            for cpus in self.numa_nodes.values()
        ]


async def discover(machine: Machine) -> NodeTopology:
    """Reads the topology from the node's /sys. Raises NodeError when it is not there."""
    files = (await machine.read(_PATTERNS)).files
    if ONLINE not in files:
        raise NodeError(f"the node has no readable {ONLINE}; is /sys mounted?")
    numa_of: dict[int, int] = {}
    memory: dict[int, int] = {}
    for path, text in files.items():
        match = _NODE.fullmatch(path)
        if match and match[2] == "cpulist":
            numa_of |= dict.fromkeys(cpuset.parse(text), int(match[1]))
        elif match and (total := _TOTAL.search(text)):
            memory[int(match[1])] = int(total[1]) * 1024
    cpus = {}
    for cpu in sorted(cpuset.parse(files[ONLINE])):
        directory = _CPU.format(cpu)
        siblings = cpuset.parse(files[directory + "topology/thread_siblings_list"])
        socket = int(files[directory + "topology/physical_package_id"])
        cache = int(files.get(directory + "cache/index3/id", socket))
        cpus[cpu] = Cpu(cpu, min(siblings), socket, numa_of.get(cpu, 0), cache)
    return NodeTopology(cpus, memory)
