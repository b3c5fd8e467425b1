"""The kubelet's cgroup v2 tree: which cgroup is whose.

Source of the names: kubernetes pkg/kubelet/cm/cgroup_manager_linux.go (systemd and cgroupfs
drivers); containerd and CRI-O name a container's scope ``cri-containerd-ID.scope`` and
``crio-ID.scope``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

MOUNT = "/sys/fs/cgroup"
_POD = re.compile(
    r"(?P<pod>/(?:[^/]+/)*(?:(?:kubelet-)?kubepods(?:-burstable|-besteffort)?-)?pod(?P<uid>[0-9A-Za-z_-]+?)"
    r"(?:\.slice)?)(?P<rest>/.*)?"
)
_CONTAINER = re.compile(
    r"(?P<name>/(?:cri-containerd-|crio-|docker-)?(?P<id>[0-9A-Za-z]{12,})(?:\.scope)?)(?P<child>/.*)?"
)


@dataclass
class Tree:
    """The kubelet's cgroups.

    Attributes:
        containers: path below the mount point by container id.
        files: by cgroup path, texts by file name; children of containers included.
        pods: paths below the mount point by pod UID, as the API writes it.
        children: paths of the cgroups below a container's, by the container's id.
    """

    containers: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    pods: dict[str, set[str]] = field(default_factory=dict)
    children: dict[str, set[str]] = field(default_factory=dict)


def tree(files: Mapping[str, str]) -> Tree:
    """Sorts node files into the cgroups that they belong to; others are left out."""
    found = Tree()
    for path, text in files.items():
        if path.startswith(MOUNT):
            directory, _slash, name = path[len(MOUNT) :].rpartition("/")
            if "kubepods" in directory:
                group = found.files.get(directory)
                if group is None:
                    group = found.files[directory] = {}
                    _sort(found, directory)
                group[name] = text
    return found


def _sort(found: Tree, directory: str) -> None:
    place = _place(directory)
    if place is None:
        return
    found.pods.setdefault(place.pod_uid, set()).add(place.pod)
    if place.container_id:
        found.containers[place.container_id] = place.container
        if place.container != directory:
            found.children.setdefault(place.container_id, set()).add(directory)


@dataclass(frozen=True)
class _Place:
    """The pod's and, unless it is the pod's own, the container's cgroup that holds another."""

    pod_uid: str
    pod: str
    container_id: str = ""
    container: str = ""


@lru_cache(maxsize=65536)
def _place(directory: str) -> _Place | None:
    pod = _POD.fullmatch(directory)
    if pod is None:
        return None
    # systemd cannot have dashes in a slice's name: the driver writes underscores.
    uid = pod["uid"].replace("_", "-")
    container = _CONTAINER.fullmatch(pod["rest"] or "")
    if container is None:
        return _Place(uid, pod["pod"])
    return _Place(uid, pod["pod"], container["id"], pod["pod"] + container["name"])


def leftovers(found: Tree, pod_uid: str, container_ids: Iterable[str]) -> tuple[str, ...]:
    """Cgroups that belong to a pod or to one of these containers, as absolute paths."""
    paths = set(found.pods.get(pod_uid, ()))
    paths |= {found.containers[name] for name in container_ids if name in found.containers}
    return tuple(sorted(MOUNT + path for path in paths))
