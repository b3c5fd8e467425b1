"""What a watcher saw of a node: values with the time from which on they were seen.

Times are seconds since 1970 by the clock of the harness, as `Snapshot.began` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from conformance.model.cpuset import CpuSet

T = TypeVar("T")


@dataclass(frozen=True)
class Seen(Generic[T]):
    """From a look on this was seen, until the next one that is seen of the same.

    Attributes:
        value: None from the look on at which it had gone.
    """

    at: float
    value: T | None


@dataclass(frozen=True)
class WatchedThread:
    """A thread of a QEMU.

    Attributes:
        cgroup: path below the mount point in which it was last.
        allowed: where it may run.
        ran: the CPU on which a vCPU's ran last.
        waited_ms: by time, how long a vCPU's had waited for a CPU in its life.
    """

    tid: int
    name: str
    cgroup: str
    allowed: tuple[Seen[CpuSet], ...] = ()
    ran: tuple[Seen[int], ...] = ()
    waited_ms: tuple[Seen[int], ...] = ()


@dataclass(frozen=True)
class WatchedCgroup:
    """A cgroup of a container, or below one.

    Attributes:
        path: below the mount point.
        cpus: effective cpuset.
        throttled: how often a quota had throttled it.
    """

    path: str
    cpus: tuple[Seen[CpuSet], ...] = ()
    throttled: tuple[Seen[int], ...] = ()


@dataclass(frozen=True)
class Given:
    """What the kubelet gave to whom; as `conformance.model.evidence.Checkpoint`."""

    default: CpuSet
    entries: Mapping[tuple[str, str], CpuSet]


@dataclass(frozen=True)
class Looks:
    """Looks in a row.

    Attributes:
        until: when the last of them was; number: of them.
        gap: longest time between two, seconds; cost: CPU time that they took, seconds.
    """

    until: float
    number: int
    gap: float
    cost: float


@dataclass(frozen=True)
class Rate:
    """How often was looked.

    Attributes:
        number: of looks; seconds: in which they were.
        gap: the longest time between two, seconds; cost: CPU time of them all, seconds.
    """

    number: int
    seconds: float
    gap: float
    cost: float

    def __str__(self) -> str:
        often = self.number / self.seconds if self.seconds else 0.0
        return f"{often:.1f} looks a second, at most {self.gap:.1f} s apart"


@dataclass(frozen=True)
class Watch:
    """One sampler of a node, from its first look to its last.

    Attributes:
        source: the file of the evidence.
        began, ended: of its looks.
        threads: by id, each time that there was one; cgroups likewise by number.
        checkpoints: the kubelet's; None for one that cannot be parsed.
        ending: why it ended, empty where nobody said.
    """

    source: str
    began: float
    ended: float
    looks: tuple[Looks, ...] = ()
    threads: tuple[WatchedThread, ...] = ()
    cgroups: tuple[WatchedCgroup, ...] = ()
    checkpoints: tuple[Seen[Given], ...] = ()
    ending: str = ""

    def between(self, since: float, until: float) -> Rate:
        """How often was looked in a span of time, as exactly as that was told."""
        before, found, seconds = self.began, [], 0.0
        for each in self.looks:
            if each.until > since and before < until:
                found.append(each)
                seconds += each.until - before
            before = each.until
        return Rate(
            sum(each.number for each in found),
            seconds,
            max((each.gap for each in found), default=0.0),
            sum(each.cost for each in found),
        )


@dataclass(frozen=True)
class Watched:
    """Everything that was watched of one node.

    Attributes:
        unread: why not all of its file can be read, empty where it can.
    """

    node: str
    watches: tuple[Watch, ...] = ()
    unread: str = ""


@dataclass(frozen=True)
class Life:
    """What a watcher saw while a workload ran on a node.

    Attributes:
        watches: of the node.
        until: when its end was asked for, or it was last seen to run: nothing counts from then on.
    """

    watches: tuple[Watch, ...]
    until: float
