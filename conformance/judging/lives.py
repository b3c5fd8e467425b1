"""What was watched of a node, brought together with the workloads that ran there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from conformance.collecting.bundle import Bundle
from conformance.collecting.watches import STOPPED
from conformance.judging.lost import Read
from conformance.model.evidence import Snapshot
from conformance.model.watch import Life
from conformance.parsing.moments import moment
from reports import document as report


def lived(found: Read, bundle: Bundle) -> Read:
    """Recordings of a case, each with what was watched of its workload's life."""
    if not bundle.watched:
        return found
    ends = _ends(found, bundle.endings)
    return replace(
        found,
        snapshots=tuple(
            (path, raw, _with_life(facts, bundle, ends)) for path, raw, facts in found.snapshots
        ),
    )


def _ends(found: Read, endings: Mapping[str, float]) -> Mapping[str, float]:
    """Until when the life of each pod counts, by UID.

    A guest goes on until its end is asked for. Of a plain pod, which may end by itself, and of
    what ends in a way that nobody noted, no more counts than the last look at it.
    """
    ends: dict[str, float] = {}
    for _path, _raw, facts in found.snapshots:
        if facts.pod is None or not _runs(facts):
            continue
        uid, last = facts.pod.uid, moment(facts.ended)
        if last is not None:
            ends[uid] = max(ends.get(uid, 0.0), last.timestamp())
        if facts.vmi is not None and uid in endings:
            ends[uid] = max(ends.get(uid, 0.0), endings[uid])
    return {uid: min(end, endings.get(uid, end)) for uid, end in ends.items()}


def _runs(facts: Snapshot) -> bool:
    subject = facts.vmi or facts.pod
    deleting = facts.vmi is not None and facts.vmi.deleting
    return subject is not None and subject.phase == "Running" and not deleting


def _with_life(facts: Snapshot, bundle: Bundle, ends: Mapping[str, float]) -> Snapshot:
    node, pod = facts.node, facts.pod
    watched = bundle.watched.get(node.name) if node else None
    if watched is None or pod is None or pod.uid not in ends or not _runs(facts):
        return facts
    life = Life(watched.watches, ends[pod.uid])
    return replace(facts, life=life).sharing(facts.around)


def told(bundle: Bundle) -> Iterator[report.Watch]:
    """How each node was watched; nothing of evidence of which nothing was to be."""
    if "watch" not in bundle.run:
        return
    for node in sorted({*bundle.run["cluster"].get("nodes", ()), *bundle.watched}):
        watched = bundle.watched.get(node)
        watches = watched.watches if watched else ()
        rates = [each.between(each.began, each.ended) for each in watches]
        endings = [each.ending for each in watches if each.ending not in ("", STOPPED)]
        why = endings[-1:] if watches else ["nothing of it was recorded"]
        yield report.Watch(
            node,
            round(sum(each.seconds for each in rates), 1),
            sum(each.number for each in rates),
            round(max((each.gap for each in rates), default=0.0), 2),
            round(sum(each.cost for each in rates), 2),
            "; ".join(filter(None, (watched.unread if watched else "", *why))),
        )
