"""A node's files: what is read in bulk, in two round trips.

A round trip to an emulated or a distant node costs more than anything it reads. The first asks
where every process of the node is (``/proc/PID/cgroup``), which finds whatever runs below
kubepods under any prefix and at any depth; the second reads those cgroups, the ones above and
below them, and every thread in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from clusters.contract.access import NodeFiles
from conformance.model.vocabulary import PIT
from conformance.parsing import cgroups, proc
from conformance.parsing.cgroups import MOUNT
from conformance.parsing.proc import RT_RUNTIME

HARDWARE = (
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/core_id",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list",
    "/sys/devices/system/node/node[0-9]*/cpulist",
)
KUBELET = ("cpu_manager_state", "config.yaml")
"""Files below the kubelet's root."""
CLOCK = ("/proc/stat", "/proc/uptime")
"""What tells the time of the node, which has started whatever runs there."""
PROCESSES = "/proc/[0-9]*/cgroup"
HOST_PROCESSES = 512
"""Processes outside of pods that are looked at, at the most: what they do is only remarked on."""
USUAL_ROOTS = (
    "/kubepods.slice",
    "/kubepods",
    # With a cgroup root of the kubelet's own, as in kind and k3s.
    "/kubelet.slice/kubelet-kubepods.slice",
    "/kubelet/kubepods",
    "/k3s/kubepods",
)
"""Where cgroups of pods may be left although nothing runs in them any more."""
_PODS = ("*pod*", "*/*pod*")
_DEPTHS = tuple("/*" * depth for depth in range(1, 9))
_INIT = "1"
_VCPU = "Name:\tCPU "
_COMM = "/comm"


class NodeReader:
    """Reads one node for one process; hardware is read once.

    Attributes:
        clock: the node's own time when `files` last began, in ISO 8601; empty where it is not
            known.
    """

    def __init__(self, shell: NodeFiles, kubelet_root: str) -> None:
        self._shell = shell
        self._kubelet = tuple(f"{kubelet_root}/{name}" for name in KUBELET)
        self._hardware: Mapping[str, str] | None = None
        self._roots = set(USUAL_ROOTS)
        self._kernel_threads: set[str] = set()
        self.clock = ""

    def hardware(self) -> Mapping[str, str]:
        """The files of `HARDWARE`, by path. Raises AccessError."""
        if self._hardware is None:
            self._hardware = self._shell.read(HARDWARE).files
        return self._hardware

    def work(self, pod_uid: str) -> float:
        """CPU time that a pod has had so far, seconds; 0 where that is not to be seen.

        Raises AccessError.
        """
        names = (pod_uid, pod_uid.replace("-", "_"))
        found = self._shell.read(
            [
                f"{MOUNT}{root}{between}/*pod{name}*/cpu.stat"
                for root in sorted(self._roots)
                for between in ("", "/*")
                for name in names
            ]
        )
        used = (re.search(r"usage_usec (\d+)", text) for text in found.files.values())
        return max((int(match[1]) / 1e6 for match in used if match), default=0.0)

    def files(self) -> tuple[dict[str, str], dict[str, str]]:
        """Checkpoint, configuration, cgroups, and the status of every thread in them.

        Of processes outside of pods those are kept that may run elsewhere than the node's
        first process, and that one, which shows that they were looked at; of kernel threads,
        the timers of guests.

        Returns:
            Texts by path, and reasons by path for what could not be read. Of a thread's
            status and of ``cpu.stat`` only the lines that are judged are kept.

        Raises:
            AccessError: the node does not answer.
        """
        first = self._shell.read((*CLOCK, *self._kubelet, RT_RUNTIME, PROCESSES))
        now = proc.clock(*(first.files.get(path, "") for path in CLOCK))
        self.clock = now.isoformat(timespec="milliseconds") if now else ""
        kept = (*self._kubelet, RT_RUNTIME)
        where = {
            path.split("/")[2]: cgroups.of_process(text)
            for path, text in first.files.items()
            if path.startswith("/proc/") and path not in (*CLOCK, RT_RUNTIME)
        }
        files = {path: text for path, text in first.files.items() if path in kept}
        unreadable = {p: why for p, why in first.unreadable.items() if p not in CLOCK}
        if ":cpuset:" in first.files.get(f"/proc/{_INIT}/cgroup", ""):
            unreadable[MOUNT] = "the node has cgroup v1, and only version 2 is read"
        # A reader in a cgroup namespace of its own sees paths that begin there.
        absolute = {pid: path for pid, path in where.items() if path}
        if any(path.startswith("/..") for path in absolute.values()):
            absolute = {}
        inside = {pid: path for pid, path in absolute.items() if cgroups.place(path)}
        self._roots |= {place.root for path in inside.values() if (place := cgroups.place(path))}
        if absolute:
            threads = [f"/proc/{pid}/task/*/status" for pid in inside]
        else:
            threads = self._found_by_name(files, unreadable)
        second = self._shell.read(
            [
                *_cgroup_files(set(inside.values())),
                *self._left(),
                *threads,
                *self._outside({p: path for p, path in absolute.items() if p not in inside}),
            ]
        )
        read = {**second.files, **self._timers(second.files)}
        unreadable |= second.unreadable
        files |= {p: _kept(p, text) for p, text in read.items() if not p.endswith(_COMM)}
        self._only_pinned(files, first.files)
        return files, unreadable

    def guest(
        self, pod_uid: str, files: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """How the threads of the QEMU of a pod are scheduled, and where its memory is.

        Args:
            pod_uid: of the launcher pod.
            files: what `files` has read of the node.

        Returns:
            ``/proc/TID/stat`` of each thread and ``/proc/PID/numa_maps`` by path, of which no more
            is kept than what says of huge pages; and reasons by path.

        Raises:
            AccessError: the node does not answer.
        """
        uids = (pod_uid, pod_uid.replace("-", "_"))
        members = {
            tid
            for path, text in files.items()
            if path.endswith("/cgroup.threads") and any(uid in path for uid in uids)
            for tid in text.split()
        }
        threads = [
            (path.split("/")[2], path.split("/")[4], text)
            for path, text in files.items()
            if path.startswith("/proc/") and path.count("/") == 5 and path.split("/")[4] in members
        ]
        qemus = {pid for pid, _tid, text in threads if _VCPU in text}
        read = self._shell.read(
            [
                *(f"/proc/{pid}/numa_maps" for pid in sorted(qemus)),
                *(f"/proc/{tid}/stat" for pid, tid, _text in threads if pid in qemus),
            ]
        )
        found = {
            path: proc.huge_lines(text) if path.endswith("/numa_maps") else text
            for path, text in read.files.items()
        }
        return found, dict(read.unreadable)

    def _left(self) -> Iterator[str]:
        for root in sorted(self._roots):
            for pod in _PODS:
                yield f"{MOUNT}{root}/{pod}/cpuset.cpus.effective"

    def _found_by_name(self, files: dict[str, str], unreadable: dict[str, str]) -> list[str]:
        """Reads whatever is below a cgroup that is called kubepods; patterns of its threads."""
        prefixes = ("", *_DEPTHS[:4])
        found = self._shell.list([f"{MOUNT}{prefix}/*kubepods*" for prefix in prefixes])
        paths = [path[len(MOUNT) :] for path in found]
        self._roots |= {
            path for path in paths if (place := cgroups.place(path)) and place.root == path
        }
        reading = self._shell.read(
            [
                f"{MOUNT}{root}{depth}/{name}"
                for root in sorted(self._roots)
                for depth in ("", *_DEPTHS)
                for name in cgroups.FILES
            ]
        )
        files |= {path: _kept(path, text) for path, text in reading.files.items()}
        unreadable |= reading.unreadable
        tids = {
            int(line)
            for path, text in reading.files.items()
            if path.endswith("/cgroup.threads")
            for line in text.split()
            if line.isdecimal()
        }
        return [f"/proc/{tid}/task/{tid}/status" for tid in sorted(tids)]

    def _outside(self, where: Mapping[str, str]) -> Iterator[str]:
        """Main threads of processes that are in no pod, unless there are too many of them.

        Under systemd nothing but kernel threads stays in the root of all cgroups. Of too many of
        those the names are read, once.
        """
        others = [pid for pid in where if pid not in self._kernel_threads]
        if len(others) > HOST_PROCESSES:
            inner = [pid for pid in others if pid == _INIT or where[pid] != "/"]
            yield from (f"/proc/{pid}{_COMM}" for pid in set(others).difference(inner))
            others = inner
        if len(others) <= HOST_PROCESSES:
            yield from (f"/proc/{pid}/status" for pid in others)

    def _timers(self, files: Mapping[str, str]) -> Mapping[str, str]:
        """The status of each timer of a guest among kernel threads whose names were read."""
        names = {path.split("/")[2]: text for path, text in files.items() if path.endswith(_COMM)}
        timers = [pid for pid, name in names.items() if name.startswith(PIT)]
        self._kernel_threads |= names.keys() - set(timers)
        return self._shell.read([f"/proc/{pid}/status" for pid in timers]).files if timers else {}

    def _only_pinned(self, files: dict[str, str], places: Mapping[str, str]) -> None:
        """Drops processes outside of pods that may run where the first one may."""
        usual = proc.affinity(files.get(f"/proc/{_INIT}/status", ""))
        for path in [path for path in files if _is_main_status(path)]:
            pid = path.split("/")[2]
            if proc.is_pit(files[path]):
                files[f"/proc/{pid}/cgroup"] = places.get(f"/proc/{pid}/cgroup", "")
                continue
            if proc.is_kernel_thread(files[path]):
                self._kernel_threads.add(pid)
            elif pid == _INIT or proc.affinity(files[path]) != usual:
                files[f"/proc/{pid}/cgroup"] = places.get(f"/proc/{pid}/cgroup", "")
                continue
            del files[path]


def _cgroup_files(paths: Iterable[str]) -> Iterator[str]:
    """The files of these cgroups, of those above, and of those directly below."""
    above = {each for path in paths for each in cgroups.path_down(path)}
    below = {f"{path}/*" for path in above if (place := cgroups.place(path)) and place.container}
    for path in sorted(above | below):
        for name in cgroups.FILES:
            yield f"{MOUNT}{path}/{name}"


def _is_main_status(path: str) -> bool:
    return path.startswith("/proc/") and path.count("/") == 3 and path.endswith("/status")


def _kept(path: str, text: str) -> str:
    if path.startswith("/proc/"):
        return _excerpt(text)
    return cgroups.excerpt(path.rpartition("/")[2], text) if path.startswith(MOUNT) else text


@lru_cache(maxsize=4096)
def _excerpt(text: str) -> str:
    return proc.excerpt(text)
