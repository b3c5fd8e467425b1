"""Whether the loop that should have settled something was seen to run since it was seen wrong.

No time alone breaks a promise: a cluster may be as slow as it likes. What settles is broken when
the same objection outlives its loop (`conformance.checks.registry.Loop`):

- HEARTBEAT: virt-handler writes its labels and the annotation ``kubevirt.io/heartbeat`` in one
  patch. Its time lies after the kubelet's last start (a policy changes with one), or it changed
  twice while the objection was looked at.
- RECONCILE, REMOVAL: the kubelet of a node that is Ready goes over its containers once in each
  ``cpuManagerReconcilePeriod``. Three of them, and five seconds at the least, have passed between
  the first and the last look at the same objection, or since the last exclusive container was
  started (what has gone: since it was first seen to have gone). Evidence of former versions has
  but one look at what was deleted, which they took after they had waited.
- LABELLER: virt-handler goes over the labels of its node every 3 to 6.6 minutes (kubevirt
  pkg/virt-handler/node-labeller), and leaves no mark of it. The objection was there for seven.
- SWEEP: virt-handler sweeps before it says Running (kubevirt pkg/virt-handler/vm.go,
  vmUpdateHelperDefault), so that it has: the VMI has been Running for ten seconds, or the
  objection was seen twice, two seconds apart.

What a node did is compared with the node's own time, and looks with each other by ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter

from conformance.checks.identification import HEARTBEATS
from conformance.checks.registry import Loop
from conformance.model.evidence import Snapshot, Story
from conformance.model.finding import Finding, Verdict
from conformance.parsing.moments import moment

ROUNDS = 3
"""Periods of the kubelet's reconcile in which it has surely come by: it may just have been there,
and may take its time for a round."""
LEAST = timedelta(seconds=5)
"""However short a period a kubelet is configured to have."""
PERIOD = 10.0
"""Of a kubelet whose configuration was not read, seconds: the default."""
BEATS = 2
"""Heartbeats that must be seen to pass: the first may have been decided on before the look."""
LABELLED = timedelta(minutes=7)
"""Between two rounds of the labeller there are 3 to 6.6 minutes (wait.JitterUntil)."""
SWEPT = timedelta(seconds=10)
TWICE = timedelta(seconds=2)

GATE = "gate "
"""How a story notes that a gate was changed, which takes no start of a kubelet."""


def unseen(loop: Loop, looks: Sequence[Snapshot], findings: Sequence[Finding]) -> str | None:
    """Why an objection of the last look may still settle; None when its loop has run since.

    Args:
        loop: that of the requirement.
        looks: snapshots of one moment, oldest first.
        findings: of that requirement on each of them; the last one objects.
    """
    span = looks[_first(findings) :]
    last = span[-1]
    match loop:
        case Loop.ARRIVAL:
            return None
        case Loop.HEARTBEAT:
            return _heartbeat(span, restarts=True)
        case Loop.LABELLER:
            # virt-handler is seen to live, and long enough for a round of its labeller.
            return _heartbeat(span, restarts=False) or _not_yet(
                loop, span, _began(span[0]), LABELLED, LABELLED, now=_began(last)
            )
        case Loop.SWEEP:
            running = last.vmi.reached.get("Running") if last.vmi else None
            return _not_yet(loop, span, running, SWEPT, TWICE, now=_there(last))
        case Loop.RECONCILE:
            since, now = _newest(last), _there(last)
        case Loop.REMOVAL:
            since, now = _gone(last), _began(last)
    enough = _enough(span)
    return _not_ready(last) or _not_yet(loop, span, since, enough, enough, now=now)


def told_unseen(
    loop: Loop, judge: Callable[[Story], Finding], story: Story, finding: Finding
) -> str | None:
    """As `unseen`, for what a scenario told; `finding` is what `judge` says of the whole story.

    The last moment that an objection takes is the one at which it was seen. Those before it are
    what it rests on, and how long they lasted says nothing of what should have settled since.
    """
    span = _last_span(judge, story, finding)
    return _unseen_at(loop, span) if span else None


def _last_span(
    judge: Callable[[Story], Finding], story: Story, finding: Finding
) -> Sequence[Snapshot]:
    """The looks at the last moment that an objection is about, as far back as it was there.

    Of one moment those at one VMI or node: two VMIs were each looked at once.
    """
    for about_whom in reversed(dict.fromkeys(map(_whom, story.snapshots))):
        taken = [each for each in story.snapshots if _whom(each) == about_whom]
        others = [each for each in story.snapshots if _whom(each) != about_whom]

        def objections(
            number: int, taken: list[Snapshot] = taken, others: list[Snapshot] = others
        ) -> frozenset[str]:
            kept = sorted((*others, *taken[:number]), key=attrgetter("began"))
            return frozenset(judge(replace(story, snapshots=tuple(kept))).objections)

        about = frozenset(finding.objections) - objections(0)
        if not about:
            continue
        first = len(taken)
        while first > 1 and (same := about & objections(first - 1)):
            about, first = same, first - 1
        return taken[first - 1 :]
    return ()


def _whom(snapshot: Snapshot) -> tuple[str, str]:
    node = snapshot.node.name if snapshot.node else ""
    return snapshot.moment, snapshot.subject or node


def _unseen_at(loop: Loop, span: Sequence[Snapshot]) -> str | None:
    last = span[-1]
    if loop is Loop.HEARTBEAT:
        if any(HEARTBEATS in words for words in last.done):
            return None
        nodes = dict.fromkeys(each.node.name for each in span if each.node)
        by_node = [[each for each in span if each.node and each.node.name == n] for n in nodes]
        restarts = not any(GATE in words for words in last.done)
        return next(filter(None, (_heartbeat(own, restarts=restarts) for own in by_node)), None)
    enough = _enough(span)
    began = _began(span[0])
    return _not_ready(last) or _not_yet(loop, span, began, enough, enough, now=_began(last))


def _first(findings: Sequence[Finding]) -> int:
    """Index of the look from which on an objection of the last one was there each time."""
    first, about = len(findings) - 1, set(findings[-1].objections)
    for index in range(first - 1, -1, -1):
        if findings[index].verdict is Verdict.NOT_OBSERVED:
            continue  # a torn look says nothing
        if not (about := about & set(findings[index].objections)):
            break
        first = index
    return first


def _heartbeat(span: Sequence[Snapshot], *, restarts: bool) -> str | None:
    beats = list(dict.fromkeys(each.node.heartbeat for each in span if each.node))
    node = span[-1].node
    if len(beats) > BEATS or node is None:
        return None
    if node.heartbeat is None:
        return f"{Loop.HEARTBEAT.value}, was not seen on {node.name}: it has no such annotation"
    since = node.ready_since
    if restarts and since is not None and node.heartbeat > since:
        return None
    return (
        f"{Loop.HEARTBEAT.value}, was last seen on {node.name} at {node.heartbeat}, and its "
        f"kubelet may have come to this policy later (Ready since {since or 'an unknown time'})"
    )


def _not_ready(last: Snapshot) -> str | None:
    node = last.node
    if node is None or node.ready in (None, "True"):
        return None
    return f"the kubelet of {node.name} is not at work: its condition Ready is {node.ready}"


def _enough(span: Sequence[Snapshot]) -> timedelta:
    kubelets = [each.node.kubelet for each in span if each.node and each.node.kubelet]
    period = kubelets[-1].reconcile_seconds if kubelets else PERIOD
    return max(LEAST, timedelta(seconds=ROUNDS * period))


def _newest(last: Snapshot) -> datetime | None:
    """When a container was last given exclusive CPUs on the node, at the latest.

    The kubelet gives them when it admits the pod, or when a container starts anew; to an owner
    that is not listed, or whose resources are being changed in place, it may have been just now.
    """
    state = last.node.checkpoint if last.node else None
    if state is None:
        return None
    times: list[datetime] = []
    unknown = {uid for uid, _name in state.entries}
    for pod in last.pods:
        owners = [each for each in pod.containers if (pod.uid, each.name) in state.entries]
        if owners:
            known = [moment(pod.admitted), *(moment(each.started) for each in owners)]
            times += [each for each in known if each is not None]
            if not pod.resizing:
                unknown.discard(pod.uid)
    if unknown:
        times.append(_there(last))
    return max(times, default=None)


def _gone(last: Snapshot) -> datetime | None:
    if not last.gone:
        return None
    return moment(last.gone) or _began(last)


def _not_yet(
    loop: Loop,
    span: Sequence[Snapshot],
    since: datetime | None,
    after: timedelta,
    looked: timedelta,
    *,
    now: datetime,
) -> str | None:
    """Why a loop may not have run: not so long after, nor in so long a time of looking.

    None when it has, and where nothing says since when there was something to do; `now` is the
    time of the last look by the clock of `since`.
    """
    looking = _began(span[-1]) - _began(span[0])
    if since is None or now - since >= after or looking >= looked:
        return None
    return (
        f"{loop.value}, has surely come by {after.total_seconds():.0f} s after {since}, and the "
        f"last look was at {now}"
    )


def _there(snapshot: Snapshot) -> datetime:
    """The time of a look by the node's clock; by ours where its own is not known."""
    return moment(snapshot.clock) or _began(snapshot)


def _began(snapshot: Snapshot) -> datetime:
    found = moment(snapshot.began)
    if found is None:
        raise ValueError(f"a snapshot began at {snapshot.began!r}, which is no time")
    return found
