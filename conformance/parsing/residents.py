"""Who runs on a node: containers that the API shows, and whatever else is below kubepods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Container, CpuLimit, Thread, Unlisted
from conformance.model.vocabulary import PIT
from conformance.parsing import cgroups, proc
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError
from conformance.parsing.layers import Layers

_MOST_LISTS = 4096
"""CPU lists of the threads of one node that differ: those of a few hundred VMIs are hundreds, and
each may be of thousands of ids."""
EFFECTIVE = "cpuset.cpus.effective"
MEMBERS = "cgroup.threads"


class Residents:
    """What the node's files say of those who run there."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.tree = cgroups.tree(files)
        self._files = files
        self._lists: set[CpuSet] = set()
        self._status_paths: dict[int, str] = {}
        self._of_process: dict[int, list[int]] = defaultdict(list)
        for path in files:
            parts = path.split("/")
            if (
                parts[1] == "proc"
                and len(parts) == 6
                and parts[5] == "status"
                and parts[4].isdecimal()
            ):
                self._status_paths[int(parts[4])] = path
                if parts[2] != parts[4]:
                    self._of_process[int(parts[2])].append(int(parts[4]))
        self._members = {path: self._listed(path) for path in self.tree.files}
        self._placed = frozenset(tid for tids in self._members.values() for tid in tids)

    @property
    def empty(self) -> bool:
        """Whether nothing at all was read below kubepods."""
        return not (self.tree.pods or self.tree.loose)

    def complete(self, container: Container, layers: Layers) -> Container:
        """The container with what its cgroup and its threads say."""
        outer = self.tree.containers.get(container.id or "")
        home = self.tree.home(outer) if outer is not None else None
        if outer is None or home is None:
            return container
        below = self.tree.below.get(outer, [outer])
        threads = layers.read("threads", lambda: tuple(self._threads(below)))
        return replace(
            container,
            cgroup=home,
            cpuset=self._cpus(home, EFFECTIVE, layers),
            configured=self._cpus(home, "cpuset.cpus", layers),
            children={
                child[len(home) + 1 :]: cpus
                for child in sorted(below)
                if child.startswith(f"{home}/")
                and (cpus := self._cpus(child, EFFECTIVE, layers)) is not None
            },
            limited=tuple(self._limits(home)),
            partitions=dict(self._partitions(home)),
            threads=threads or (),
            huge=layers.read("memory", lambda: self._huge(threads or ())),
            unplaced=layers.read("threads", lambda: tuple(self._unplaced(threads or ()))) or (),
            unseen=tuple(
                sorted(
                    tid
                    for path in below
                    for tid in self._members.get(path, ())
                    if tid not in self._status_paths
                )
            ),
        )

    def unlisted(self, known: Collection[str], layers: Layers) -> tuple[Unlisted, ...]:
        """Whatever runs below kubepods in none of the containers with these ids."""
        mine = {path for name, path in self.tree.containers.items() if name in known}
        groups = [(path, below) for path, below in self.tree.below.items() if path not in mine]
        groups += [(path, [path]) for path in self.tree.loose]
        found = (self._unlisted(path, below, layers) for path, below in groups)
        return tuple(sorted(filter(None, found), key=lambda each: each.cgroup))

    def _unlisted(self, path: str, below: list[str], layers: Layers) -> Unlisted | None:
        threads = layers.read("threads", lambda: tuple(self._threads(below)))
        where = cgroups.place(path)
        if not threads or where is None:
            return None
        home = self.tree.home(path) or path
        cpus = self._cpus(home, EFFECTIVE, layers)
        configured = self._cpus(home, "cpuset.cpus", layers)
        return Unlisted(home, where.pod_uid, where.container_id, cpus, threads, configured)

    def host(self) -> tuple[Thread, ...] | None:
        """Processes outside of pods that were recorded; None where nobody looked.

        Raises ParseError.
        """
        found = self._outside
        return found and tuple(each for each in found if not _is_timer(each))

    def timers(self) -> tuple[Thread, ...] | None:
        """Kernel threads that are timers of guests; None where nobody looked. Raises ParseError."""
        found = self._outside
        return found and tuple(each for each in found if _is_timer(each))

    @cached_property
    def _outside(self) -> tuple[Thread, ...] | None:
        recorded = [
            path for path in self._files if path.startswith("/proc/") and path.count("/") == 3
        ]
        mains = {int(p.split("/")[2]): p for p in recorded if p.endswith("/status")}
        if 1 not in mains:
            return None
        return tuple(
            self._thread(mains[pid], self._files.get(f"/proc/{pid}/cgroup", ""))
            for pid in sorted(mains)
            if pid != 1
        )

    def _thread(self, source: str, membership: str) -> Thread:
        status = proc.status(self._files[source], source)
        return self._bounded(_of(status, cgroups.of_process(membership) or ""))

    def _cpus(self, path: str, name: str, layers: Layers) -> CpuSet | None:
        text = self.tree.files.get(path, {}).get(name)
        if text is None:
            return None
        source = f"{cgroups.MOUNT}{path}/{name}"
        if name == EFFECTIVE and not text.strip():
            # Those who run there run somewhere (cgroup-v2.rst, cpuset.cpus.effective).
            layers.not_observed.setdefault("cgroups", f"{source} was read as empty")
            return None
        return layers.read("cgroups", lambda: cpulist(text, source))

    def _limits(self, path: str) -> Iterator[CpuLimit]:
        for each in cgroups.path_down(path):
            files = self.tree.files.get(each)
            # What is above kubepods was not always read, and is the administrator's.
            if files is None and cgroups.place(each) is None:
                continue
            files = files or {}
            text = files.get("cpu.max")
            yield CpuLimit(each, None if text is None else text.strip(), _throttled(files))

    def _partitions(self, path: str) -> Iterator[tuple[str, str]]:
        for each in cgroups.path_down(path):
            text = self.tree.files.get(each, {}).get("cpuset.cpus.partition", "member").strip()
            if text != "member":
                yield each, text

    def _listed(self, path: str) -> tuple[int, ...]:
        """Threads in a cgroup; a list that is none is told of where it is needed."""
        text = self.tree.files[path].get(MEMBERS, "")
        try:
            return proc.ids(text, f"{cgroups.MOUNT}{path}/{MEMBERS}")
        except ParseError:
            return ()

    def _threads(self, paths: Iterable[str]) -> Iterator[Thread]:
        """The threads in these cgroups whose status was read.

        A thread that ended in between has no status, and is none.
        """
        found: dict[int, str] = {}
        for path in paths:
            text = self.tree.files.get(path, {}).get(MEMBERS, "")
            for tid in proc.ids(text, f"{cgroups.MOUNT}{path}/{MEMBERS}"):
                found[tid] = path
        for tid, path in sorted(found.items()):
            source = self._status_paths.get(tid)
            if source is not None:
                thread = self._bounded(_of(proc.status(self._files[source], source), path))
                yield self._scheduled(thread)

    def _scheduled(self, thread: Thread) -> Thread:
        """The thread with its scheduling, which is read of few."""
        source = f"/proc/{thread.tid}/stat"
        if source not in self._files:
            return thread
        policy, priority = proc.scheduling(self._files[source], source)
        return replace(thread, policy=policy, priority=priority)

    def _huge(self, threads: Iterable[Thread]) -> dict[tuple[int, int], int] | None:
        paths = {f"/proc/{thread.pid}/numa_maps" for thread in threads}
        read = sorted(path for path in paths if self._files.get(path, "").strip())
        total: dict[tuple[int, int], int] = {}
        for path in read:
            for key, amount in proc.huge_pages(self._files[path], path).items():
                total[key] = total.get(key, 0) + amount
        return total if read else None

    def _bounded(self, thread: Thread) -> Thread:
        self._lists.add(thread.affinity)
        if len(self._lists) > _MOST_LISTS:
            what = f"threads of at most {_MOST_LISTS} different CPU lists"
            raise ParseError(what, str(thread.affinity), "/proc/PID/task/TID/status")
        return thread

    def _unplaced(self, threads: Iterable[Thread]) -> Iterator[Thread]:
        """Threads of these processes that no list of threads has."""
        for pid in sorted({thread.pid for thread in threads}):
            for tid in (pid, *self._of_process.get(pid, ())):
                source = self._status_paths.get(tid)
                if source is not None and tid not in self._placed:
                    yield self._bounded(_of(proc.status(self._files[source], source), ""))


def _of(status: proc.Status, cgroup: str) -> Thread:
    return Thread(
        pid=status.pid,
        tid=status.tid,
        name=status.name,
        affinity=status.affinity,
        cgroup=cgroup,
        parent=status.parent,
        inner_pid=status.inner_pid,
    )


def _is_timer(thread: Thread) -> bool:
    """Whether it is the timer of a guest: a thread of the kernel's own, by its parent."""
    return thread.name.startswith(PIT) and thread.parent == proc.KTHREADD


def _throttled(files: Mapping[str, str]) -> int | None:
    for line in files.get("cpu.stat", "").splitlines():
        key, _, number = line.partition(" ")
        if key == "nr_throttled" and number.strip().isdecimal():
            return int(number)
    return None
