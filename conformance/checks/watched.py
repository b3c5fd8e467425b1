"""What a watcher saw of a workload's life: whether what was right stayed so.

Only what was seen breaks a promise, and only after it was seen right: nobody promises when a
start has come so far. From then on, until its end is asked for, anything else is an excursion,
however short. What was not looked at between two looks is not known, so that each finding says
how often was looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from conformance.checks.comparison import Comparison
from conformance.checks.threads import sorted_threads
from conformance.checks.witnesses import CGROUPS, below_kubepods, title
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Container, Snapshot, Thread
from conformance.model.watch import Seen, Watch, WatchedThread

LATE_SECONDS = 15.0
"""In which a kubelet may still write what was the shared pool before: it reads the pool, and
writes it container by container (pkg/kubelet/cm/cpumanager/cpu_manager.go, reconcileState)."""
_IOTHREAD = "IO iothread"
MOST = 3
"""Excursions of one thing that a finding names."""


@dataclass(frozen=True)
class Excursion:
    """Something that was right and was seen to be something else.

    Attributes:
        at, until: of the first look that saw it, and of the first one that did not any more.
        over: whether there was such a look; otherwise `until` is that of the last one.
    """

    at: float
    until: float
    value: CpuSet
    over: bool

    def __str__(self) -> str:
        lasted = f"for {self.until - self.at:.1f} s" if self.over else "from then on"
        return f"{clock(self.at)} {lasted}"


@dataclass(frozen=True)
class Window:
    """The part of a workload's life that counts, as one sampler saw it."""

    watch: Watch
    since: float
    until: float

    @property
    def looks(self) -> str:
        """How often was looked meanwhile, in words."""
        return str(self.watch.between(self.since, self.until))


def windows(snapshot: Snapshot) -> Iterator[Window]:
    """The parts of a workload's life in which what is right now had once come true.

    Of a guest they begin when each of its vCPUs first had the affinity that it has now, and end
    with the first of these threads. Of a plain pod they begin when its cgroup first had the
    cpuset that it has now, and end with the last look at it.
    """
    life, container = snapshot.life, compute_of(snapshot)
    if life is None or container is None or container.cgroup is None:
        return
    vcpus = snapshot.inside.once(sorted_threads).vcpus
    for watch in life.watches:
        own = followed(watch, container, vcpus.values())
        if vcpus and len(own) == len(vcpus):
            begins = [_first(own[t.tid].allowed, t.affinity) for t in vcpus.values()]
            ends = [_end(each.allowed) for each in own.values()]
        elif vcpus or container.cpuset is None or snapshot.vmi is not None:
            continue
        else:
            tracks = [each.cpus for each in watch.cgroups if each.path == container.cgroup]
            begins = [_first(each, container.cpuset) for each in tracks[-1:]] or [None]
            ends = [_end(each) for each in tracks[-1:]]
        known = [each for each in begins if each is not None]
        if len(known) == len(begins):
            until = min(life.until, watch.ended, *(each for each in ends if each is not None))
            if until > max(known):
                yield Window(watch, max(known), until)


def compute_of(snapshot: Snapshot) -> Container | None:
    """The container whose life counts; None while its resources are being changed."""
    pod = snapshot.pod
    return None if pod is None or pod.resizing else pod.compute


def followed(
    watch: Watch, container: Container, threads: Iterable[Thread]
) -> Mapping[int, WatchedThread]:
    """The tracks of these threads of a container, by their ids; the newest of each id."""
    names = {thread.tid: thread.name for thread in threads}
    return {
        each.tid: each
        for each in watch.threads
        if names.get(each.tid) == each.name and _inside(each.cgroup, container)
    }


def _inside(cgroup: str, container: Container) -> bool:
    return cgroup == container.cgroup or cgroup.startswith(f"{container.cgroup}/")


def _first(track: Sequence[Seen[CpuSet]], value: CpuSet) -> float | None:
    return next((each.at for each in track if each.value == value), None)


def _end(track: Sequence[Seen[CpuSet]]) -> float | None:
    return track[-1].at if track and track[-1].value is None else None


def excursions(
    track: Sequence[Seen[CpuSet]], right: Callable[[CpuSet], bool], window: Window
) -> list[Excursion]:
    """When something that had been right within a window was seen to be wrong in it."""
    found: list[Excursion] = []
    was_right = False
    for index, seen in enumerate(track):
        after = track[index + 1].at if index + 1 < len(track) else None
        over = after is not None and after <= window.until
        until = after if after is not None and over else window.until
        if seen.value is None or until < window.since or seen.at >= window.until:
            continue
        if right(seen.value):
            was_right = True
        elif was_right:
            found.append(Excursion(seen.at, until, seen.value, over))
    return found


def saw_life(snapshot: Snapshot, seen: Comparison) -> list[Window]:
    """Notes how long and how often was looked, and returns the windows that count."""
    found = list(windows(snapshot))
    for window in found:
        span = f"{window.until - window.since:.1f} s from {clock(window.since)}"
        seen.saw("watched", f"{span}, {window.looks}", window.watch.source)
    return found


def threads_stayed(
    snapshot: Snapshot,
    vcpus: Mapping[int, Thread],
    seen: Comparison,
) -> None:
    """Objects to vCPU threads that could run elsewhere once they had been pinned."""
    container = compute_of(snapshot)
    if container is None:
        return
    for window in saw_life(snapshot, seen):
        tracks = followed(window.watch, container, vcpus.values())
        _saw_waiting(tracks, vcpus, window, seen)
        for vcpu, thread in sorted(vcpus.items()):
            own, track = thread.affinity, tracks[thread.tid]
            found = excursions(track.allowed, own.__eq__, window)
            # Where it ran tells of moments between two looks: it goes on saying so until the
            # thread runs again, and no kernel lets one run outside of its affinity.
            ran = excursions(_as_sets(track.ran), own.issuperset, window)
            for each in found[:MOST]:
                seen.wrong(
                    f"vCPU {vcpu} may run on {own} alone, and its thread {thread.name!r} "
                    f"({thread.tid}) was seen allowed on {each.value} at {each} "
                    f"({of_how_many(window, found)})",
                    final=True,
                )
            for each in ran[: 0 if found else MOST]:
                seen.wrong(
                    f"vCPU {vcpu} may run on {own} alone, and its thread {thread.name!r} "
                    f"({thread.tid}) was seen to have run on {each.value}, told at "
                    f"{clock(each.at)} ({of_how_many(window, ran)})",
                    final=True,
                )


def _as_sets(track: Sequence[Seen[int]]) -> list[Seen[CpuSet]]:
    return [Seen(s.at, None if s.value is None else CpuSet({s.value})) for s in track]


def _saw_waiting(
    tracks: Mapping[int, WatchedThread],
    vcpus: Mapping[int, Thread],
    window: Window,
    seen: Comparison,
) -> None:
    """Notes how long vCPUs waited for pCPUs of their own; nobody promises them none of it."""
    waited = []
    for vcpu, thread in sorted(vcpus.items()):
        rise = _rise(tracks[thread.tid].waited_ms, window)
        if rise is not None:
            waited.append(f"{rise / 1000:.1f} s by vCPU {vcpu}")
    if waited:
        told = f"{', '.join(waited)} in {window.until - window.since:.1f} s"
        seen.saw("time that a pCPU was waited for", told, window.watch.source)


def _rise(track: Sequence[Seen[int]], window: Window) -> int | None:
    """By how much a counter is known to have grown within a window; None where it was not read."""
    values = [
        each.value
        for each in track
        if each.value is not None and window.since <= each.at <= window.until
    ]
    return values[-1] - values[0] if values else None


def throttled_meanwhile(snapshot: Snapshot, seen: Comparison) -> None:
    """Objects to a cgroup of vCPUs, or above, that a quota held back, whatever its quota is now."""
    container = compute_of(snapshot)
    if container is None:
        return
    for window in windows(snapshot):
        for group in window.watch.cgroups:
            above = below_kubepods(group.path) and f"{container.cgroup}/".startswith(
                f"{group.path}/"
            )
            meant = above or _inside(group.path, container)
            rise = _rise(group.throttled, window) if meant else 0
            if rise:
                first = next(e.at for e in group.throttled if e.at >= window.since)
                seen.wrong(
                    f"a quota has held back {CGROUPS}{group.path} {rise} times after "
                    f"{clock(first)} ({window.looks}, {window.watch.source})",
                    final=True,
                    known=True,
                )


def emulator_stayed_away(snapshot: Snapshot, pcpus: CpuSet, seen: Comparison) -> None:
    """Objects to threads of the emulator that came to where vCPUs run, from elsewhere."""
    _stayed_away(snapshot, pcpus, seen, lambda name: not name.startswith(("CPU ", _IOTHREAD)))


def iothreads_stayed_away(snapshot: Snapshot, pcpus: CpuSet, seen: Comparison) -> None:
    """Objects to IOThreads that came to where vCPUs run, from elsewhere."""
    _stayed_away(snapshot, pcpus, seen, lambda name: name.startswith(_IOTHREAD))


def _stayed_away(
    snapshot: Snapshot, pcpus: CpuSet, seen: Comparison, meant: Callable[[str], bool]
) -> None:
    container = compute_of(snapshot)
    if container is None:
        return
    for window in saw_life(snapshot, seen):
        for track in window.watch.threads:
            if not meant(track.name) or not _inside(track.cgroup, container):
                continue
            found = excursions(track.allowed, pcpus.isdisjoint, window)
            for each in found[:MOST]:
                seen.wrong(
                    f"thread {track.name!r} ({track.tid}) of QEMU was seen allowed on "
                    f"{each.value}, with pCPU {each.value & pcpus} of vCPUs, at {each} "
                    f"({of_how_many(window, found)})",
                    final=True,
                )


def saw_first_cpuset(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> None:
    """Notes what compute's cpuset was when its cgroup was first seen.

    A program that reads it when it starts takes that for its CPUs (kubernetes#138731).
    """
    container = compute_of(snapshot)
    if container is None or snapshot.life is None or not snapshot.life.watches:
        return
    what = "cpuset of compute in the first look that saw it"
    for watch in snapshot.life.watches:
        tracks = [
            each.cpus for each in watch.cgroups if each.path == container.cgroup and each.cpus
        ]
        for first, *later in tracks[:1]:
            if first.at <= watch.began or first.value is None:
                break
            seen.saw(what, f"{first.value} at {clock(first.at)}", watch.source)
            if first.value != own:
                after = _first(later, own)
                lasted = "" if after is None else f" for {after - first.at:.1f} s"
                seen.note(
                    f"the cpuset of compute was {first.value}{lasted} before it was {own}: what "
                    "reads its CPUs when it starts has seen others"
                )
            return
    seen.saw(what, "not watched from its beginning", snapshot.life.watches[0].source)


def nobody_came(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> None:
    """Objects to a cpuset that took exclusive CPUs for a while."""
    pod, container = snapshot.pod, compute_of(snapshot)
    if pod is None or container is None or container.cgroup is None:
        return
    for window in saw_life(snapshot, seen):
        for group in window.watch.cgroups:
            mine = group.path == container.cgroup
            if _inside(group.path, container) and not mine:
                continue
            found = excursions(group.cpus, own.__eq__ if mine else own.isdisjoint, window)
            for each in found[:MOST]:
                whose = "" if mine else _whose(snapshot, group.path)
                what = f"the cpuset of {whose}" if whose else f"compute has {own}, and its cpuset"
                seen.wrong(
                    f"{what} was seen to be {each.value}"
                    + (f", with pCPU {each.value & own} of compute," if each.value & own else "")
                    + f" at {each} ({CGROUPS}{group.path}; {of_how_many(window, found)})",
                    final=True,
                    doubt=None if mine else _late(window, each),
                )


def _whose(snapshot: Snapshot, cgroup: str) -> str:
    return next(
        (
            title(pod, each)
            for pod in snapshot.pods
            for each in pod.containers
            if each.cgroup == cgroup
        ),
        "a cgroup of a pod",
    )


def _late(window: Window, excursion: Excursion) -> str | None:
    """Why it may be a kubelet that comes late: it writes what was the shared pool just before."""
    states = window.watch.checkpoints
    if not states:
        if excursion.at - window.since >= LATE_SECONDS:
            return None
        return "the checkpoint was not watched, and the kubelet may have come late"
    for state, following in pairwise(states):
        former = state.value is not None and state.value.default == excursion.value
        if former and 0 <= excursion.at - following.at < LATE_SECONDS:
            return (
                f"that was the shared pool until {clock(following.at)}, and the kubelet may have "
                "come late with it"
            )
    return None


def of_how_many(window: Window, found: Sequence[Excursion]) -> str:
    """The number of excursions, how often was looked, and where that is recorded."""
    more = f"the first of {len(found)}; " if len(found) > 1 else ""
    return f"{more}{window.looks}, {window.watch.source}"


def clock(at: float) -> str:
    """A time as findings show it."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 10_000:02d}"
