"""What of a node's hardware QEMU can make: as its options, or why it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clusters.contract import cpuset
from clusters.contract.hardware import LOCAL, REMOTE, Cpu, Hardware

MOST_CPUS = 255
"""Of a machine without an interrupt remapper, whose APIC ids have eight bits."""


@dataclass(frozen=True)
class Counts:
    """QEMU's ``-smp``: every socket has as many dies, every die as many cores, and so on."""

    sockets: int
    dies: int
    cores: int
    threads: int

    def cpus(self) -> Iterator[tuple[int, int, int]]:
        """Core, package and die of each CPU, in the order of QEMU's ids."""
        a_die = self.cores * self.threads
        for n in range(self.sockets * self.dies * a_die):
            yield n // self.threads, n // a_die // self.dies, n // a_die % self.dies

    def __str__(self) -> str:
        # One die is what QEMU makes anyhow; machines that are saved already are found again.
        dies = f",dies={self.dies}" if self.dies > 1 else ""
        return f"sockets={self.sockets}{dies},cores={self.cores},threads={self.threads}"


def counts(hardware: Hardware) -> Counts:
    """What the numbers of packages, dies, cores and threads would be, were all the same."""
    sockets = len({cpu.package for cpu in hardware.cpus})
    dies = len({(cpu.package, cpu.die) for cpu in hardware.cpus})
    cores = len({cpu.core for cpu in hardware.cpus})
    return Counts(sockets, dies // sockets, cores // dies, len(hardware.cpus) // cores)


def why_not(hardware: Hardware) -> str:
    """Why QEMU cannot make such a node; empty when it can."""
    return next(_obstacles(hardware), "")


def _obstacles(hardware: Hardware) -> Iterator[str]:
    cpus = hardware.cpus
    if len(cpus) > MOST_CPUS:
        yield f"QEMU makes {MOST_CPUS} CPUs at the most, and it has {len(cpus)}"
    if offline := frozenset(cpu.id for cpu in cpus) - hardware.online:
        yield f"QEMU makes no CPU that is offline, such as {cpuset.render(offline)}"
    if (last := cpus[-1].id) != len(cpus) - 1:
        yield f"QEMU gives CPUs the ids 0-{len(cpus) - 1} without a hole, and it has a CPU {last}"
    if min(cpu.package for cpu in cpus) < 0:
        yield "QEMU tells of each CPU in which package it is, and here that is not known (-1)"
    sizes = {len([c for c in cpus if c.core == core]) for core in {cpu.core for cpu in cpus}}
    if len(sizes) > 1:
        yield "QEMU gives each core equally many threads, and it has cores of " + " and of ".join(
            map(str, sorted(sizes))
        )
    if [(cpu.core, cpu.package, cpu.die) for cpu in cpus] != list(counts(hardware).cpus()):
        yield (
            "QEMU makes packages, dies and cores of one size, with ids from 0, and gives the "
            "threads of a core neighbouring ids (cpuNumbering: threads)"
        )
    if _split(cpus):
        yield "QEMU gives each die one L3 cache, and here dies have several"
    if [node.id for node in hardware.numa] != list(range(len(hardware.numa))):
        yield "QEMU gives NUMA nodes the ids 0, 1, 2, ... without a hole"
    if bare := [node.id for node in hardware.numa if not node.memory_mib]:
        yield f"the Linux of virtual nodes needs memory on each NUMA node, and {bare[0]} has none"


def _split(cpus: tuple[Cpu, ...]) -> bool:
    dies = {(cpu.package, cpu.die) for cpu in cpus}
    return len({(cpu.package, cpu.die, cpu.cache) for cpu in cpus}) > len(dies)


def distances(hardware: Hardware) -> list[str]:
    """QEMU's options for distances; none where all are what QEMU takes anyhow."""
    usual = {LOCAL, REMOTE}
    if all(usual.issuperset(node.distances) for node in hardware.numa):
        return []
    options = []
    for node in hardware.numa:
        for other, distance in zip(hardware.numa, node.distances, strict=True):
            options += ["-numa", f"dist,src={node.id},dst={other.id},val={distance}"]
    return options
