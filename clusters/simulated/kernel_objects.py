"""What a simulated kernel keeps: cgroups, processes, threads; and how it refuses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from clusters.contract.cpuset import CpuSet

CONTROLLERS = ("cpuset", "cpu", "memory", "pids")


class KernelError(OSError):
    """A refusal by the kernel: errno and the path that was touched."""

    def __init__(self, number: int, path: str) -> None:
        super().__init__(number, os.strerror(number), path)


@dataclass
class Cgroup:
    """One cgroup.

    Attributes:
        cpus: ``cpuset.cpus``; empty inherits.
        controllers: enabled for the children (``cgroup.subtree_control``).
        settings: text of the other writable files by name.
    """

    path: str
    parent: Cgroup | None
    cpus: CpuSet = frozenset()
    threaded: bool = False
    controllers: set[str] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=dict)
    children: dict[str, Cgroup] = field(default_factory=dict)

    @property
    def effective(self) -> CpuSet:
        """``cpuset.cpus.effective``: own CPUs within the parent's, or all of the parent's."""
        if self.parent is None:
            return self.cpus
        above = self.parent.effective
        return self.cpus & above or above

    def has(self, controller: str) -> bool:
        """Whether the files of the controller are here."""
        return self.parent is None or controller in self.parent.controllers


@dataclass
class Thread:
    """One thread.

    Attributes:
        requested: CPUs that it was bound to by sched_setaffinity, if any.
        fifo: its priority under SCHED_FIFO; None under SCHED_OTHER.
    """

    tid: int
    comm: str
    cgroup: Cgroup
    requested: CpuSet | None = None
    fifo: int | None = None

    @property
    def allowed(self) -> CpuSet:
        """CPUs that it may run on."""
        within = self.cgroup.effective
        return (self.requested or within) & within or within


@dataclass
class Process:
    """One process with its threads; the first is the main thread."""

    pid: int
    parent: int
    arguments: Sequence[str]
    threads: list[Thread]
    numa_maps: str = ""
