"""A node's files: what is read in bulk, in two round trips.

A round trip to an emulated or a distant node costs more than anything it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product

from clusters.access import NodeShell
from conformance.parsing import proc
from conformance.parsing.cgroups import MOUNT

HARDWARE = (
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/core_id",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list",
    "/sys/devices/system/node/node[0-9]*/cpulist",
)
KUBELET = ("/var/lib/kubelet/cpu_manager_state", "/var/lib/kubelet/config.yaml")
_POD_CGROUPS = (
    "kubepods.slice/kubepods-pod*.slice",
    "kubepods.slice/kubepods-*.slice/kubepods-*-pod*.slice",
    "kubepods/pod*",
    "kubepods/*/pod*",
    # Below a cgroup of the kubelet's own, as in kind (cgroupRoot: /kubelet).
    "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod*.slice",
    "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-*.slice/kubelet-kubepods-*-pod*.slice",
)
_CGROUP_FILES = ("cpuset.cpus", "cpuset.cpus.effective", "cpu.max", "cgroup.threads")


def _cgroup_patterns() -> Iterator[str]:
    """Every container's cgroup and its children's; of a pod's own, enough to see it is there."""
    for pod in _POD_CGROUPS:
        yield f"{MOUNT}/{pod}/cpuset.cpus.effective"
        for depth, name in product(("*", "*/*"), _CGROUP_FILES):
            yield f"{MOUNT}/{pod}/{depth}/{name}"


CGROUPS = tuple(_cgroup_patterns())


class NodeReader:
    """Reads one node for one process; hardware is read once."""

    def __init__(self, shell: NodeShell) -> None:
        self._shell = shell
        self._hardware: Mapping[str, str] | None = None

    def hardware(self) -> Mapping[str, str]:
        """The files of `HARDWARE`, by path. Raises AccessError."""
        if self._hardware is None:
            self._hardware = self._shell.read(HARDWARE).files
        return self._hardware

    def files(self) -> tuple[dict[str, str], dict[str, str]]:
        """Checkpoint, configuration, cgroups, and the status of every thread in them.

        Returns:
            Texts by path, and reasons by path for what could not be read. Of a thread's
            status only the lines that are judged are kept.

        Raises:
            AccessError: the node does not answer.
        """
        first = self._shell.read((*KUBELET, *CGROUPS))
        files, unreadable = dict(first.files), dict(first.unreadable)
        threads = sorted(
            {
                int(line)
                for path, text in files.items()
                if path.endswith("/cgroup.threads")
                for line in text.split()
                if line.isdecimal()
            }
        )
        if threads:
            second = self._shell.read([f"/proc/{tid}/task/{tid}/status" for tid in threads])
            files |= {path: _excerpt(text) for path, text in second.files.items()}
            unreadable |= second.unreadable
        return files, unreadable


@lru_cache(maxsize=4096)
def _excerpt(text: str) -> str:
    return proc.excerpt(text)
