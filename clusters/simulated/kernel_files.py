"""Files of a simulated kernel whose text is made when it is read: of cgroups, and of /proc."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clusters.contract import cpuset
from clusters.simulated.kernel_objects import CONTROLLERS, Cgroup, Process, Thread

if TYPE_CHECKING:
    from clusters.simulated.kernel import Kernel

SETTINGS = {
    "cpuset.cpus.partition": "member",
    "cpuset.mems": "",
    "cpu.max": "max 100000",
    "cpu.weight": "100",
    "memory.max": "max",
    "memory.min": "0",
    "pids.max": "max",
}
"""Writable files and what they say at first."""


_NOT_AT_ROOT = frozenset({"cgroup.type", "cgroup.events", "cpuset.cpus", *SETTINGS})


def has_file(group: Cgroup, name: str) -> bool:
    """Whether there is such a file in the directory of the cgroup."""
    if name not in CGROUP_FILES or (group.parent is None and name in _NOT_AT_ROOT):
        return False
    controller = name.partition(".")[0]
    return controller == "cgroup" or group.has(controller)


def _controllers(_: Kernel, group: Cgroup) -> str:
    return " ".join(name for name in CONTROLLERS if group.has(name))


def _subtree_control(_: Kernel, group: Cgroup) -> str:
    return " ".join(name for name in CONTROLLERS if name in group.controllers)


def _procs(kernel: Kernel, group: Cgroup) -> str:
    return "".join(f"{process.pid}\n" for process in kernel.processes_of(group))


def _threads(kernel: Kernel, group: Cgroup) -> str:
    return "".join(f"{thread.tid}\n" for thread in kernel.threads_of(group))


def _type(_: Kernel, group: Cgroup) -> str:
    below = any(child.threaded for child in group.children.values())
    return "threaded\n" if group.threaded else "domain threaded\n" if below else "domain\n"


def _events(kernel: Kernel, group: Cgroup) -> str:
    return f"populated {int(bool(kernel.processes_of(group)))}\nfrozen 0\n"


def _cpus(_: Kernel, group: Cgroup) -> str:
    return cpuset.render(group.cpus) + "\n"


def _effective(_: Kernel, group: Cgroup) -> str:
    return cpuset.render(group.effective) + "\n"


def _setting(name: str) -> Callable[[Kernel, Cgroup], str]:
    return lambda _, group: group.settings.get(name, SETTINGS[name]) + "\n"


CGROUP_FILES: dict[str, Callable[[Kernel, Cgroup], str]] = {
    "cgroup.controllers": _controllers,
    "cgroup.subtree_control": _subtree_control,
    "cgroup.procs": _procs,
    "cgroup.threads": _threads,
    "cgroup.type": _type,
    "cgroup.events": _events,
    "cpuset.cpus": _cpus,
    "cpuset.cpus.effective": _effective,
    "cpu.stat": lambda _, __: "usage_usec 0\nnr_periods 0\nnr_throttled 0\n",
    **{name: _setting(name) for name in SETTINGS},
}


def _status(_: Kernel, process: Process, thread: Thread) -> str:
    allowed = thread.allowed
    mask = sum(1 << cpu for cpu in allowed)
    words = max(1, -(-(max(allowed, default=0) + 1) // 32))
    groups = [f"{mask >> 32 * n & 0xFFFFFFFF:08x}" for n in reversed(range(words))]
    return (
        f"Name:\t{thread.comm}\nState:\tS (sleeping)\nTgid:\t{process.pid}\n"
        f"Pid:\t{thread.tid}\nPPid:\t{process.parent}\nThreads:\t{len(process.threads)}\n"
        f"Cpus_allowed:\t{','.join(groups)}\nCpus_allowed_list:\t{cpuset.render(allowed)}\n"
    )


def _stat(_: Kernel, process: Process, thread: Thread) -> str:
    before = ["0"] * 34
    return (
        f"{thread.tid} ({thread.comm}) S {process.parent} {' '.join(before)} "
        f"{min(thread.allowed, default=0)} {thread.fifo or 0} {int(thread.fifo is not None)} "
        f"{' '.join(['0'] * 11)}\n"
    )


def _comm(_: Kernel, __: Process, thread: Thread) -> str:
    return thread.comm + "\n"


def _cgroup(_: Kernel, __: Process, thread: Thread) -> str:
    return f"0::{thread.cgroup.path}\n"


PROC_FILES: dict[str, Callable[[Kernel, Process, Thread], str]] = {
    "status": _status,
    "stat": _stat,
    "comm": _comm,
    "cgroup": _cgroup,
}
