"""The kubelet's cgroup v2 tree: which cgroup is whose, below whatever root and at any depth.

Source of the names: kubernetes pkg/kubelet/cm/cgroup_manager_linux.go (systemd and cgroupfs
drivers, ``--cgroup-root``); containerd and CRI-O name a container's scope
``cri-containerd-ID.scope`` and ``crio-ID.scope``, and other runtimes likewise; systemd escapes
a dash as ``\\x2d``. crun before 1.22 puts the processes into a cgroup below that scope
(``run.oci.systemd.subgroup``, ``container`` unless it is told otherwise).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

MOUNT = "/sys/fs/cgroup"
FILES = (
    "cpuset.cpus",
    "cpuset.cpus.effective",
    "cpuset.cpus.partition",
    "cpu.max",
    "cpu.stat",
    "cgroup.threads",
)
"""What is read of a cgroup."""
HOUSEKEEPING = "housekeeping"
"""What virt-handler makes below a container's cgroup (kubevirt pkg/virt-handler/cgroup)."""

_ROOT = re.compile(r"(?:.*-)?kubepods(?:\.slice)?")
_POD = re.compile(r"(?:.*-)?pod(?P<uid>[0-9A-Za-z_-]+?)(?:\.slice)?")
_CONTAINER = re.compile(r"(?:.*[-:_])?(?P<id>[0-9A-Za-z]{12,})(?:\.scope)?")
_MONITOR = re.compile(r"(?:.*-)?conmon-.*")
# A runtime that takes the systemd driver's names for paths of its own, as containerd does
# without SystemdCgroup: kubepods-podUID.slice:cri-containerd:ID, wherever it sits.
_JOINED = re.compile(
    r"(?:.*-)?kubepods-(?:[a-z]+-)?pod(?P<uid>[0-9A-Za-z_-]+)\.slice:[^:]*:(?P<id>[^:]+)"
)


@dataclass(frozen=True)
class Place:
    """Where below kubepods a cgroup is; paths are below the mount point, empty for none.

    Attributes:
        root: the kubepods cgroup.
        pod: the pod's own cgroup, with its UID as the node writes it.
        container: what is directly below the pod's: a container's, a sandbox's, a monitor's.
        container_id: empty where its name has none, or is that of a runtime's monitor.
    """

    root: str
    pod_uid: str = ""
    pod: str = ""
    container: str = ""
    container_id: str = ""


@lru_cache(maxsize=65536)
def place(path: str) -> Place | None:
    """Where a cgroup is; None outside of kubepods.

    The outermost kubepods counts: what a container has below it belongs to that container,
    even where it is a kubepods of a cluster within.
    """
    names = [name.replace(r"\x2d", "-") for name in path.split("/")]

    def upto(index: int) -> str:
        return "/".join(path.split("/")[: index + 1])

    for index, name in enumerate(names):
        if joined := _JOINED.fullmatch(name):
            here = upto(index)
            return Place(here, _uid(joined["uid"]), here, here, joined["id"])
        if _ROOT.fullmatch(name):
            root = index
            break
    else:
        return None
    # A level for the class of service may be in between.
    for index in range(root + 1, min(root + 3, len(names))):
        if pod := _POD.fullmatch(names[index]):
            break
    else:
        return Place(upto(root))
    found = Place(upto(root), _uid(pod["uid"]), upto(index))
    if index + 1 == len(names):
        return found
    name = names[index + 1]
    container = None if _MONITOR.fullmatch(name) else _CONTAINER.fullmatch(name)
    return Place(
        found.root,
        found.pod_uid,
        found.pod,
        upto(index + 1),
        container["id"] if container else "",
    )


def _uid(text: str) -> str:
    """systemd cannot have dashes in a slice's name: the driver writes underscores."""
    return text.replace("_", "-")


def of_process(text: str) -> str | None:
    """The cgroup v2 path in ``/proc/PID/cgroup``; None on a node without cgroup v2."""
    for line in text.splitlines():
        if line.startswith("0::/"):
            return line[3:].removesuffix(" (deleted)")
    return None


def path_down(path: str) -> Iterator[str]:
    """A cgroup and those above it, the outermost first, without the root of all."""
    names = path.strip("/").split("/")
    return ("/" + "/".join(names[: length + 1]) for length in range(len(names)) if names[0])


def excerpt(name: str, text: str) -> str:
    """What is judged of a cgroup's file: of ``cpu.stat``, which never stands still, one line."""
    if name != "cpu.stat":
        return text
    return "".join(
        f"{line}\n" for line in text.splitlines() if line.split(" ", 1)[0] == "nr_throttled"
    )


@dataclass
class Tree:
    """The kubelet's cgroups.

    Attributes:
        files: by cgroup path, texts by file name.
        containers: path below the mount point by container id.
        pods: paths below the mount point by pod UID, as the node writes it.
        below: every cgroup at or below a container's, by the container's path.
        loose: those below kubepods that are in none of these.
    """

    files: dict[str, dict[str, str]] = field(default_factory=dict)
    containers: dict[str, str] = field(default_factory=dict)
    pods: dict[str, set[str]] = field(default_factory=dict)
    below: dict[str, list[str]] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)

    def inhabited(self, path: str) -> bool:
        """Whether threads sit in this very cgroup."""
        return bool(self.files.get(path, {}).get("cgroup.threads", "").strip())

    def home(self, container: str) -> str | None:
        """The cgroup that holds a container's processes; None where nobody can tell.

        That is the container's own, unless it is empty and one below it holds them all. Its
        child housekeeping is never it: that is a part of what KubeVirt has split.
        """
        here, below = container, self.below.get(container, [])
        if not any(map(self.inhabited, below)):
            split = [path for path in below if path not in (here, f"{here}/{HOUSEKEEPING}")]
            return None if split else here
        while not self.inhabited(here):
            depth = here.count("/") + 1
            inside = {
                "/".join(path.split("/")[: depth + 1])
                for path in below
                if path.startswith(f"{here}/") and self.inhabited(path)
            }
            if len(inside) != 1 or (child := inside.pop()).endswith(f"/{HOUSEKEEPING}"):
                break
            here = child
        return here


def tree(files: Mapping[str, str]) -> Tree:
    """Sorts node files into the cgroups that they belong to.

    Of cgroups outside of kubepods only the files are kept: they may be above one that is not.
    """
    found = Tree()
    for path, text in files.items():
        if path.startswith(MOUNT + "/"):
            directory, _slash, name = path[len(MOUNT) :].rpartition("/")
            group = found.files.get(directory)
            if group is None:
                group = found.files[directory] = {}
                _sort(found, directory)
            group[name] = text
    return found


def _sort(found: Tree, directory: str) -> None:
    where = place(directory)
    if where is None:
        return
    if where.pod:
        found.pods.setdefault(where.pod_uid, set()).add(where.pod)
    if where.container_id:
        found.containers[where.container_id] = where.container
    if where.container:
        found.below.setdefault(where.container, []).append(directory)
    else:
        found.loose.append(directory)


def leftovers(found: Tree, pod_uid: str, container_ids: Iterable[str]) -> tuple[str, ...]:
    """Cgroups that belong to a pod or to one of these containers, as absolute paths."""
    paths = set(found.pods.get(pod_uid, ()))
    paths |= {found.containers[name] for name in container_ids if name in found.containers}
    return tuple(sorted(MOUNT + path for path in paths))
