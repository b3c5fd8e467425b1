"""The CPU topology of this host, from its /sys.

Source of the files: the kernel's Documentation/admin-guide/cputopology.rst and
Documentation/ABI/stable/sysfs-devices-node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.contract.provider import ClusterError


@dataclass(frozen=True)
class Core:
    """One core with those of its hardware threads that are online.

    Attributes:
        socket: its package.
        numa: its NUMA node; 0 where the host tells none.
    """

    threads: CpuSet
    socket: int
    numa: int

    @property
    def place(self) -> tuple[int, int, int]:
        """Sorts cores along the hardware: by socket, by NUMA node in it, by lowest thread."""
        return self.socket, self.numa, min(self.threads)


def cores(sys: Path = Path("/sys")) -> tuple[Core, ...]:
    """Every core with an online thread, in the order of `Core.place`.

    Raises:
        ClusterError: a file is missing or is not what the kernel writes.
    """
    online = _cpus(sys / "devices/system/cpu/online")
    numa_of = {
        cpu: int(listed.parent.name.removeprefix("node"))
        for listed in (sys / "devices/system/node").glob("node[0-9]*/cpulist")
        for cpu in _cpus(listed)
    }
    found = set()
    for cpu in online:
        topology = sys / f"devices/system/cpu/cpu{cpu}/topology"
        threads = _cpus(topology / "thread_siblings_list") & online
        if cpu not in threads:
            raise ClusterError(f"{topology}/thread_siblings_list does not name CPU {cpu} itself")
        found.add(Core(threads, _number(topology / "physical_package_id"), numa_of.get(cpu, 0)))
    if sum(len(core.threads) for core in found) != len(online):
        raise ClusterError(f"{sys}/devices/system/cpu: threads of one core name different siblings")
    return tuple(sorted(found, key=lambda core: core.place))


def _cpus(path: Path) -> CpuSet:
    text = _text(path)
    try:
        return cpuset.parse(text)
    except ValueError as error:
        raise ClusterError(f"{path} holds no list of CPUs: {text!r}") from error


def _number(path: Path) -> int:
    text = _text(path)
    try:
        return int(text)
    except ValueError as error:
        raise ClusterError(f"{path} holds no number: {text!r}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ClusterError(
            f"the CPU topology of this host cannot be read: {path}: {error.strerror}"
        ) from error
