"""What a watcher saw of the kubelet's checkpoint while a workload ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from conformance.checks.comparison import Comparison
from conformance.checks.watched import (
    MOST,
    Window,
    clock,
    compute_of,
    excursions,
    of_how_many,
    windows,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot
from conformance.model.watch import Given, Seen


def checkpoint_stayed(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> None:
    """Objects to a checkpoint that gave exclusive CPUs to somebody else for a while, or back."""
    pod, container = snapshot.pod, compute_of(snapshot)
    if pod is None or container is None:
        return
    for window in windows(snapshot):
        _nobody_was_given(pod.uid, own, window, seen)
        _stayed_given((pod.uid, container.name), own, window, seen)


def _nobody_was_given(uid: str, own: CpuSet, window: Window, seen: Comparison) -> None:
    told: set[tuple[str, str]] = set()
    for given in _during(window.watch.checkpoints, window):
        for key, cpus in sorted(given.value.entries.items() if given.value else ()):
            if key[0] != uid and cpus & own and key not in told:
                told.add(key)
                seen.wrong(
                    f"pCPU {cpus & own} of compute was also given to {key[1]} of pod {key[0]} at "
                    f"{clock(max(given.at, window.since))}, by the kubelet's checkpoint "
                    f"({window.watch.source})",
                    final=True,
                )


def _stayed_given(key: tuple[str, str], own: CpuSet, window: Window, seen: Comparison) -> None:
    """Objects to a checkpoint in which compute did not own its CPUs for a while.

    The kubelet could have given them to somebody else. Only what was over while it still ran
    counts: a checkpoint from which its entry has gone may be that of its end.
    """
    states = [(each.at, each.value) for each in window.watch.checkpoints if each.value]
    entries = [Seen(at, given.entries.get(key, CpuSet())) for at, given in states]
    pools = [Seen(at, given.default) for at, given in states]
    for what, track, right in (
        (f"gave compute {{}} instead of {own}", entries, own.issubset),
        (f"had {{}} in the shared pool, with CPUs of compute ({own}),", pools, own.isdisjoint),
    ):
        found = [each for each in excursions(track, right, window) if each.over]
        for each in found[:MOST]:
            seen.wrong(
                f"the kubelet's checkpoint {what.format(each.value or 'no CPU')} at {each} "
                f"({of_how_many(window, found)})",
                final=True,
            )


def pool_before(snapshot: Snapshot, uid: str, container: str) -> tuple[CpuSet, str] | None:
    """What was free when the kubelet gave a container its CPUs, and where that was seen.

    None where nobody saw it being given. The pool is that of the look before; CPUs that were
    not in it any more in the next look, and that the container did not get, may have gone to
    somebody else first.
    """
    for watch in snapshot.life.watches if snapshot.life else ():
        for before, after in pairwise(watch.checkpoints):
            if before.value is None or after.value is None:
                continue
            given = after.value.entries.get((uid, container))
            if given and (uid, container) not in before.value.entries:
                free = before.value.default & (after.value.default | given)
                return free, f"{watch.source} at {clock(before.at)}"
    return None


def _during(track: Sequence[Seen[Given]], window: Window) -> Iterator[Seen[Given]]:
    for index, seen in enumerate(track):
        after = track[index + 1].at if index + 1 < len(track) else window.watch.ended
        if seen.at < window.until and after > window.since:
            yield seen
