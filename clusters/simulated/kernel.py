"""A node's kernel that exists in memory: topology, processes, cgroup v2, plain files.

Only what a pinning stack and its judge look at: /sys/devices/system/{cpu,node}, /proc, the
cgroup v2 tree with its cpuset rules, and CPU affinity as Linux has kept it since 6.2: what a
thread asked for is remembered, and what it gets is that within its cpuset.
"""

from __future__ import annotations

import errno
import fnmatch
import itertools
from collections.abc import Iterable, Sequence

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.contract.hardware import Hardware
from clusters.contract.shape import NodeShape
from clusters.simulated.hardware import hardware_files
from clusters.simulated.kernel_files import CGROUP_FILES, PROC_FILES, SETTINGS, has_file
from clusters.simulated.kernel_objects import (
    CONTROLLERS,
    Cgroup,
    KernelError,
    Process,
    Thread,
)

CGROUP_ROOT = "/sys/fs/cgroup"
_THREADED = frozenset({"cpuset", "cpu", "pids"})
_WILDCARDS = frozenset("*?[")
_COMM_LENGTH = 15
KTHREADD = 2
"""The parent of kernel threads."""


class Kernel:
    """The kernel of one simulated node."""

    def __init__(self, shape: NodeShape | Hardware, hostname: str) -> None:
        self.hardware = shape.hardware
        self.online: CpuSet = self.hardware.online
        self.root = Cgroup("/", None, self.online, controllers=set(CONTROLLERS))
        self.processes: dict[int, Process] = {}
        self._threads: dict[int, Thread] = {}
        self._owners: dict[int, Process] = {}
        self._ids = itertools.count(1)
        self._files: dict[str, str] = {}
        self._directories: dict[str, set[str]] = {"/": set()}
        for path, text in hardware_files(self.hardware, hostname):
            self.write_plain(path, text)
        self.spawn("init", self.root)
        self.spawn("kthreadd", self.root, parent=0)
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

    def set_fifo(self, tid: int, priority: int) -> None:
        """sched_setscheduler with SCHED_FIFO. Raises KernelError when the thread has gone."""
        if tid not in self._threads:
            raise KernelError(errno.ESRCH, f"/proc/{tid}")
        self._threads[tid].fifo = priority

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
            return name in group.children or has_file(group, name)
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
            return [*group.children, *(name for name in CGROUP_FILES if has_file(group, name))]
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
            return [*PROC_FILES, "cmdline", "numa_maps", "task"]
        if parts[1] != "task":
            return []
        threads = [str(thread.tid) for thread in process.threads]
        if len(parts) == 2:
            return threads
        return list(PROC_FILES) if len(parts) == 3 and parts[2] in threads else []

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
        if name == "numa_maps":
            return process.numa_maps
        tid = int(parts[2] if len(parts) == 4 else parts[0])
        return PROC_FILES[name](self, process, self._threads[tid])

    def _read_cgroup(self, group: Cgroup, name: str, path: str) -> str:
        if not has_file(group, name):
            raise KernelError(errno.ENOENT, path)
        return CGROUP_FILES[name](self, group)

    def _write_cgroup(self, group: Cgroup, name: str, text: str, path: str) -> None:
        if not has_file(group, name):
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
            case _ if name in SETTINGS:
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


def _domain(group: Cgroup) -> Cgroup:
    while group.threaded and group.parent is not None:
        group = group.parent
    return group


def _host_path(path: str) -> str:
    """The node's own path for one seen through its init's root."""
    return path.removeprefix("/proc/1/root") if path.startswith("/proc/1/root/") else path
