"""A node's kernel that exists in memory: topology, processes, cgroup v2, plain files.

Only what a pinning stack and its judge look at: /sys/devices/system/{cpu,node}, /proc, the
cgroup v2 tree with its cpuset rules, and CPU affinity as Linux has kept it since 6.2: what a
thread asked for is remembered, and what it gets is that within its cpuset.
"""

from __future__ import annotations

import errno
import fnmatch
import itertools
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.contract.shape import NodeShape
from clusters.reference.node_layout import HUGEPAGES_PER_NODE

CGROUP_ROOT = "/sys/fs/cgroup"
CONTROLLERS = ("cpuset", "cpu", "memory", "pids")
_THREADED = frozenset({"cpuset", "cpu", "pids"})
_WILDCARDS = frozenset("*?[")
_COMM_LENGTH = 15


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
    """

    tid: int
    comm: str
    cgroup: Cgroup
    requested: CpuSet | None = None

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


class Kernel:
    """The kernel of one simulated node."""

    def __init__(self, shape: NodeShape, hostname: str) -> None:
        self.shape = shape
        self.online: CpuSet = frozenset(range(shape.cpus))
        self.root = Cgroup("/", None, self.online, controllers=set(CONTROLLERS))
        self.processes: dict[int, Process] = {}
        self._threads: dict[int, Thread] = {}
        self._owners: dict[int, Process] = {}
        self._ids = itertools.count(1)
        self._files: dict[str, str] = {}
        self._directories: dict[str, set[str]] = {"/": set()}
        for path, text in _hardware_files(shape, hostname):
            self.write_plain(path, text)
        self.spawn("init", self.root)
        for directory in ("/proc", CGROUP_ROOT):
            self.make_directory(directory)

    # processes

    def spawn(
        self, comm: str, cgroup: Cgroup, *, parent: int = 1, arguments: Sequence[str] = ()
    ) -> Process:
        """Starts a process of one thread."""
        pid = next(self._ids)
        process = Process(pid, parent if pid > 1 else 0, arguments or (comm,), [])
        self.processes[pid] = process
        self._add_thread(process, pid, comm, cgroup)
        return process

    def add_thread(self, process: Process, comm: str) -> Thread:
        """Starts a thread beside the main thread, in its cgroup."""
        return self._add_thread(process, next(self._ids), comm, process.threads[0].cgroup)

    def exit(self, pid: int) -> None:
        """Ends a process; one that has gone is no error."""
        process = self.processes.pop(pid, None)
        for thread in process.threads if process else ():
            del self._threads[thread.tid], self._owners[thread.tid]

    def set_affinity(self, thread: Thread, cpus: CpuSet) -> None:
        """sched_setaffinity. Raises KernelError when none of the CPUs is allowed."""
        if not cpus & thread.cgroup.effective:
            raise KernelError(errno.EINVAL, f"/proc/{thread.tid}")
        thread.requested = cpus

    def _add_thread(self, process: Process, tid: int, comm: str, cgroup: Cgroup) -> Thread:
        thread = Thread(tid, comm[:_COMM_LENGTH], cgroup)
        process.threads.append(thread)
        self._threads[tid] = thread
        self._owners[tid] = process
        return thread

    # cgroups

    def cgroup(self, path: str) -> Cgroup:
        """The cgroup at a path below the mount point. Raises KernelError."""
        found = self.root
        for name in filter(None, path.split("/")):
            if name not in found.children:
                raise KernelError(errno.ENOENT, CGROUP_ROOT + path)
            found = found.children[name]
        return found

    def make_cgroup(self, path: str) -> Cgroup:
        """mkdir -p. Controllers are enabled above it wherever no process is in the way."""
        found = self.root
        for name in filter(None, path.split("/")):
            if name not in found.children:
                if not self.threads_of(found) or found is self.root:
                    found.controllers.update(CONTROLLERS)
                child = Cgroup(f"{found.path.rstrip('/')}/{name}", found)
                found.children[name] = child
            found = found.children[name]
        return found

    def remove_cgroup(self, path: str) -> None:
        """rmdir, children first. Raises KernelError while a process is inside."""
        try:
            group = self.cgroup(path)
        except KernelError:
            return
        for child in list(group.children.values()):
            self.remove_cgroup(child.path)
        if self.threads_of(group):
            raise KernelError(errno.EBUSY, CGROUP_ROOT + path)
        if group.parent is not None:
            del group.parent.children[path.rsplit("/", 1)[1]]

    def threads_of(self, group: Cgroup) -> list[Thread]:
        """The threads that sit in this very cgroup."""
        return [thread for thread in self._threads.values() if thread.cgroup is group]

    def processes_of(self, group: Cgroup) -> list[Process]:
        """The processes whose main thread sits in this cgroup or a threaded one below it."""
        inside = {id(group)} | {id(child) for child in group.children.values() if child.threaded}
        return [p for p in self.processes.values() if id(p.threads[0].cgroup) in inside]

    # files

    def read(self, path: str) -> str:
        """The text of a file. Raises KernelError."""
        path = _host_path(path)
        if path.startswith("/proc/") and (text := self._read_proc(path)) is not None:
            return text
        if path.startswith(CGROUP_ROOT + "/"):
            directory, _, name = path[len(CGROUP_ROOT) :].rpartition("/")
            return self._read_cgroup(self.cgroup(directory), name, path)
        if path in self._files:
            return self._files[path]
        raise KernelError(errno.EISDIR if path in self._directories else errno.ENOENT, path)

    def glob(self, pattern: str) -> list[str]:
        """Existing paths, files and directories, that match a shell glob."""
        prefix = "/proc/1/root" if pattern.startswith("/proc/1/root/") else ""
        found = [""]
        for segment in filter(None, _host_path(pattern).split("/")):
            if _WILDCARDS.isdisjoint(segment):
                found = [f"{path}/{segment}" for path in found]
            else:
                found = [
                    f"{path}/{name}"
                    for path in found
                    for name in fnmatch.filter(self._names_in(path or "/"), segment)
                ]
        return [prefix + path for path in found if self._exists(path)]

    def write(self, path: str, text: str) -> None:
        """Writes a file; the kernel's own files act. Raises KernelError."""
        path = _host_path(path)
        if path.startswith(CGROUP_ROOT + "/"):
            directory, _, name = path[len(CGROUP_ROOT) :].rpartition("/")
            self._write_cgroup(self.cgroup(directory), name, text.strip(), path)
        elif path.startswith(("/proc/", "/sys/")):
            raise KernelError(errno.EACCES, path)
        else:
            self.write_plain(path, text)

    def write_plain(self, path: str, text: str) -> None:
        """Writes a plain file, creating its directories."""
        directory, _, name = path.rpartition("/")
        self.make_directory(directory or "/")
        self._directories[directory or "/"].add(name)
        self._files[path] = text

    def make_directory(self, path: str) -> None:
        """mkdir -p."""
        if path.startswith(CGROUP_ROOT + "/"):
            self.make_cgroup(path[len(CGROUP_ROOT) :])
        elif path not in self._directories:
            parent, _, name = path.rpartition("/")
            self.make_directory(parent or "/")
            self._directories[parent or "/"].add(name)
            self._directories[path] = set()

    def remove(self, path: str) -> None:
        """rm -r; missing is no error."""
        if path.startswith(CGROUP_ROOT + "/"):
            self.remove_cgroup(path[len(CGROUP_ROOT) :])
            return
        for name in list(self._directories.get(path, ())):
            self.remove(f"{path}/{name}")
        self._directories.pop(path, None)
        self._files.pop(path, None)
        parent, _, name = path.rpartition("/")
        self._directories.get(parent or "/", set()).discard(name)

    def _exists(self, path: str) -> bool:
        if path in self._files or path in self._directories:
            return True
        parent, _, name = path.rpartition("/")
        if (group := self._cgroup_at(parent)) is not None:
            return name in group.children or _has_file(group, name)
        return name in self._names_in(parent or "/")

    def _cgroup_at(self, path: str) -> Cgroup | None:
        """The cgroup whose directory this is, if there is one."""
        if path != CGROUP_ROOT and not path.startswith(CGROUP_ROOT + "/"):
            return None
        try:
            return self.cgroup(path[len(CGROUP_ROOT) :])
        except KernelError:
            return None

    def _names_in(self, path: str) -> Iterable[str]:
        if (group := self._cgroup_at(path)) is not None:
            return [*group.children, *(name for name in _CGROUP_FILES if _has_file(group, name))]
        names = list(self._directories.get(path, ()))
        parts = path.split("/")[1:]
        if parts[0] != "proc":
            return names
        if len(parts) == 1:
            return names + [str(pid) for pid in self.processes]
        return names + self._names_in_proc(parts[1:])

    def _names_in_proc(self, parts: list[str]) -> list[str]:
        process = self._owners.get(int(parts[0])) if parts[0].isdigit() else None
        if process is None:
            return []
        if len(parts) == 1:
            return [*_PROC_FILES, "cmdline", "task"]
        if parts[1] != "task":
            return []
        threads = [str(thread.tid) for thread in process.threads]
        if len(parts) == 2:
            return threads
        return list(_PROC_FILES) if len(parts) == 3 and parts[2] in threads else []

    def _read_proc(self, path: str) -> str | None:
        parts = path.split("/")[2:]
        if not parts[0].isdigit():
            return None
        name = parts[-1]
        if name not in self._names_in_proc(parts[:-1]) or name.isdigit() or name == "task":
            raise KernelError(errno.ENOENT, path)
        process = self._owners[int(parts[0])]
        if name == "cmdline":
            return "\0".join(process.arguments) + "\0"
        tid = int(parts[2] if len(parts) == 4 else parts[0])
        return _PROC_FILES[name](self, process, self._threads[tid])

    def _read_cgroup(self, group: Cgroup, name: str, path: str) -> str:
        if not _has_file(group, name):
            raise KernelError(errno.ENOENT, path)
        return _CGROUP_FILES[name](self, group)

    def _write_cgroup(self, group: Cgroup, name: str, text: str, path: str) -> None:
        if not _has_file(group, name):
            raise KernelError(errno.ENOENT, path)
        match name:
            case "cpuset.cpus":
                cpus = cpuset.parse(text)
                if not cpus <= self.online:
                    raise KernelError(errno.EINVAL, path)
                group.cpus = cpus
            case "cgroup.procs" | "cgroup.threads":
                self._move(int(text), group, whole=name == "cgroup.procs", path=path)
            case "cgroup.subtree_control":
                self._control_children(group, text, path)
            case "cgroup.type":
                if text != "threaded" or self.threads_of(group):
                    raise KernelError(errno.EINVAL, path)
                group.threaded = True
            case _ if name in _SETTINGS:
                group.settings[name] = text
            case _:
                raise KernelError(errno.EACCES, path)

    def _move(self, id: int, group: Cgroup, *, whole: bool, path: str) -> None:
        """Moves a thread, or the whole process whose main thread it is."""
        if id not in (self.processes if whole else self._threads):
            raise KernelError(errno.ESRCH, path)
        threads = self.processes[id].threads if whole else [self._threads[id]]
        if not whole and _domain(threads[0].cgroup) is not _domain(group):
            raise KernelError(errno.EOPNOTSUPP, path)
        for thread in threads:
            thread.cgroup = group

    def _control_children(self, group: Cgroup, text: str, path: str) -> None:
        for word in text.split():
            controller = word[1:]
            if word[0] == "-":
                group.controllers.discard(controller)
            elif not group.has(controller):
                raise KernelError(errno.ENOENT, path)
            elif controller not in _THREADED and self.threads_of(group) and group.parent:
                raise KernelError(errno.EBUSY, path)
            else:
                group.controllers.add(controller)


_SETTINGS = {
    "cpuset.cpus.partition": "member",
    "cpu.max": "max 100000",
    "cpu.weight": "100",
    "memory.max": "max",
    "memory.min": "0",
    "pids.max": "max",
}
"""Writable files and what they say at first."""


_NOT_AT_ROOT = frozenset({"cgroup.type", "cgroup.events", "cpuset.cpus", *_SETTINGS})


def _has_file(group: Cgroup, name: str) -> bool:
    if name not in _CGROUP_FILES or (group.parent is None and name in _NOT_AT_ROOT):
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
    return lambda _, group: group.settings.get(name, _SETTINGS[name]) + "\n"


_CGROUP_FILES: dict[str, Callable[[Kernel, Cgroup], str]] = {
    "cgroup.controllers": _controllers,
    "cgroup.subtree_control": _subtree_control,
    "cgroup.procs": _procs,
    "cgroup.threads": _threads,
    "cgroup.type": _type,
    "cgroup.events": _events,
    "cpuset.cpus": _cpus,
    "cpuset.cpus.effective": _effective,
    "cpu.stat": lambda _, __: "usage_usec 0\nnr_periods 0\nnr_throttled 0\n",
    **{name: _setting(name) for name in _SETTINGS},
}


def _domain(group: Cgroup) -> Cgroup:
    while group.threaded and group.parent is not None:
        group = group.parent
    return group


def _host_path(path: str) -> str:
    """The node's own path for one seen through its init's root."""
    return path.removeprefix("/proc/1/root") if path.startswith("/proc/1/root/") else path


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
        f"{min(thread.allowed, default=0)} {' '.join(['0'] * 13)}\n"
    )


def _comm(_: Kernel, __: Process, thread: Thread) -> str:
    return thread.comm + "\n"


def _cgroup(_: Kernel, __: Process, thread: Thread) -> str:
    return f"0::{thread.cgroup.path}\n"


_PROC_FILES: dict[str, Callable[[Kernel, Process, Thread], str]] = {
    "status": _status,
    "stat": _stat,
    "comm": _comm,
    "cgroup": _cgroup,
}


def _hardware_files(shape: NodeShape, hostname: str) -> Iterable[tuple[str, str]]:
    """What never changes: the topology under /sys, and a few files of /proc and /etc."""
    cores = shape.sockets * shape.cores
    everything = f"0-{shape.cpus - 1}" if shape.cpus > 1 else "0"
    cpu_root, node_root = "/sys/devices/system/cpu", "/sys/devices/system/node"
    for name in ("online", "possible", "present"):
        yield f"{cpu_root}/{name}", everything + "\n"
    for cpu in range(shape.cpus):
        core, socket = cpu // shape.threads, cpu // (shape.cores * shape.threads)
        siblings = cpuset.render(range(core * shape.threads, (core + 1) * shape.threads))
        size = shape.cores * shape.threads
        package = cpuset.render(range(socket * size, (socket + 1) * size))
        directory = f"{cpu_root}/cpu{cpu}/topology"
        yield f"{directory}/core_id", f"{core % shape.cores}\n"
        yield f"{directory}/die_id", "0\n"
        yield f"{directory}/physical_package_id", f"{socket}\n"
        yield f"{directory}/thread_siblings_list", siblings + "\n"
        yield f"{directory}/core_cpus_list", siblings + "\n"
        yield f"{directory}/core_siblings_list", package + "\n"
        yield f"{directory}/package_cpus_list", package + "\n"
    width = cores // shape.numa_nodes * shape.threads
    names = cpuset.render(range(shape.numa_nodes))
    yield f"{node_root}/online", names + "\n"
    for node in range(shape.numa_nodes):
        cpus = cpuset.render(range(node * width, (node + 1) * width))
        distances = ["10" if other == node else "20" for other in range(shape.numa_nodes)]
        yield f"{node_root}/node{node}/cpulist", cpus + "\n"
        yield f"{node_root}/node{node}/distance", " ".join(distances) + "\n"
    pages = HUGEPAGES_PER_NODE * shape.numa_nodes
    yield "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", f"{pages}\n"
    total = shape.memory_mib * 1024
    yield "/proc/meminfo", f"MemTotal:       {total} kB\nMemFree:        {total} kB\n"
    yield "/proc/version", "Linux version 6.12.0-simulated\n"
    yield "/proc/sys/kernel/osrelease", "6.12.0-simulated\n"
    yield "/proc/sys/kernel/hostname", hostname + "\n"
    yield "/etc/os-release", 'PRETTY_NAME="Simulated node"\n'
    yield "/etc/machine-id", uuid.uuid5(uuid.NAMESPACE_DNS, hostname).hex + "\n"
