"""What happened to the workloads of a case, and when: for people; no verdict rests on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from conformance.model.evidence import RawSnapshot, Snapshot
from conformance.model.vocabulary import DELETED, EVERY_NODE
from conformance.parsing.moments import moment
from reports import document as report

MOST_EVENTS = 100
"""Of a timeline: the first and the last of more."""
_QUOTED = 400
"""Characters of what somebody said last."""
_QUOTES = 8
_PHASES_OF_OBJECTS = {"vmi": "VMI", "pod": "pod"}
_LAST = re.compile(
    r"\b(?:panic|fatal|error|fail(?:ed|ure)?|cannot|denied|refused)\b", re.IGNORECASE
)

_TOLD = ("Ready", "PodScheduled", "DisruptionTarget")
"""Conditions that are worth a word when they are true."""

Look = tuple[str, RawSnapshot, Snapshot]


def phases(looks: Sequence[Look]) -> dict[str, float]:
    """Seconds by phase: ``starting``, ``evidence``, ``deleting``, as far as anybody tells.

    Starting is told by the cluster's clock alone, the others by the harness's alone: the two
    need not agree.
    """
    found: dict[str, float] = {}
    starting = 0.0
    for vmi in _latest(looks):
        made = moment(_at(vmi, "metadata", "creationTimestamp"))
        ran = [
            moment(each.get("phaseTransitionTimestamp"))
            for each in _list(_at(vmi, "status", "phaseTransitionTimestamps"))
            if each.get("phase") == "Running"
        ]
        if made and ran and ran[0]:
            starting += max((ran[0] - made).total_seconds(), 0.0)
    if starting:
        found["starting"] = round(starting, 1)
    # Nodes by themselves are looked at before the first case and after the last.
    apart = (DELETED, EVERY_NODE)
    alive = [facts for _path, _raw, facts in looks if facts.moment not in apart]
    gone = [facts for _path, _raw, facts in looks if facts.moment == DELETED]
    if alive:
        found["evidence"] = _between(alive[0].began, alive[-1].ended)
    if alive and gone:
        found["deleting"] = _between(alive[-1].ended, gone[-1].ended)
    return found


def _latest(looks: Sequence[Look]) -> Iterable[Mapping[str, Any]]:
    """The last that is known of each VMI."""
    found: dict[str, Mapping[str, Any]] = {}
    for _path, raw, facts in looks:
        if isinstance(raw.vmi, Mapping):
            found[str(_at(raw.vmi, "metadata", "uid") or facts.subject)] = raw.vmi
    return found.values()


def _between(began: str, ended: str) -> float:
    start, end = moment(began), moment(ended)
    return round(max((end - start).total_seconds(), 0.0), 1) if start and end else 0.0


def targets(looks: Sequence[Look]) -> tuple[report.Target, ...]:
    """The workloads that were looked at, by name."""
    found: dict[tuple[str, str], report.Target] = {}
    for _path, _raw, facts in looks:
        vmi, pod = facts.vmi, facts.pod
        seen = vmi or pod
        if seen is None:
            continue
        node = (vmi.node if vmi else None) or (pod.node if pod else None) or ""
        name = vmi.name if vmi else ""
        former = found.get((seen.namespace, seen.name))
        found[seen.namespace, seen.name] = report.Target(
            seen.namespace,
            name,
            pod.name if pod else former.pod if former else "",
            node or (former.node if former else ""),
        )
    return tuple(found.values())


def timeline(looks: Sequence[Look]) -> tuple[report.Event, ...]:
    """What happened, oldest first, each once; of very much the beginning and the end."""
    found = {
        (when.astimezone(UTC), each.source, each.what): each
        for each in _happenings(looks)
        if (when := moment(each.at)) is not None
    }
    # Objects tell seconds: what came in one of them stays in the order in which they tell it.
    ordered = [found[key] for key in sorted(found, key=lambda key: key[0])]
    if len(ordered) <= MOST_EVENTS:
        return tuple(ordered)
    half = MOST_EVENTS // 2
    left = len(ordered) - 2 * half
    gap = report.Event(ordered[half].at, "report", f"{left} more are in the evidence")
    return (*ordered[:half], gap, *ordered[-half:])


def _happenings(looks: Sequence[Look]) -> Iterator[report.Event]:
    for path, raw, facts in looks:
        for key, kind in _PHASES_OF_OBJECTS.items():
            yield from _of_object(kind, getattr(raw, key))
        for each in raw.events:
            if isinstance(each, Mapping):
                when = each.get("lastTimestamp") or each.get("eventTime")
                about = _at(each, "involvedObject", "kind") or "object"
                yield report.Event(
                    _text(when), f"event of {about}", f"{each.get('reason')}: {each.get('message')}"
                )
        for done in facts.done:
            yield report.Event(facts.began, "scenario", done)
        who = f" of {facts.subject}" if facts.scenario and facts.subject else ""
        torn = f"; it changed meanwhile: {facts.torn}" if facts.torn else ""
        console = "" if raw.console is None else f"; the console had {_lines(raw.console)} lines"
        what = f"evidence{who} collected when {facts.moment}{console}{torn}"
        yield report.Event(facts.ended, "evidence", f"{what} ({path})" if path else what)


def _of_object(kind: str, obj: object) -> Iterator[report.Event]:
    name = _at(obj, "metadata", "name")
    yield report.Event(_text(_at(obj, "metadata", "creationTimestamp")), kind, f"{name} created")
    deleted = _text(_at(obj, "metadata", "deletionTimestamp"))
    yield report.Event(deleted, kind, f"{name} is being deleted")
    for each in _list(_at(obj, "status", "phaseTransitionTimestamps")):
        when = _text(each.get("phaseTransitionTimestamp"))
        yield report.Event(when, kind, f"{name}: phase {each.get('phase')}")
    for each in _list(_at(obj, "status", "conditions")):
        if each.get("status") == "True" and each.get("type") not in _TOLD:
            continue
        reason = f", {each['reason']}" if each.get("reason") else ""
        what = f"{name}: condition {each.get('type')} {each.get('status')}{reason}"
        yield report.Event(_text(each.get("lastTransitionTime")), kind, what)
    for container, state, facts in _states(obj):
        started, finished = _text(facts.get("startedAt")), _text(facts.get("finishedAt"))
        yield report.Event(started, kind, f"container {container} started")
        if state == "terminated":
            yield report.Event(finished, kind, f"container {container} {_ended(facts)}")


def last_words(looks: Sequence[Look], logs: Mapping[str, str]) -> tuple[report.Quote, ...]:
    """What pods and containers that failed said last: API first, then their logs.

    Args:
        looks: the snapshots of the case.
        logs: text by container, of those that were kept because the workload did not run.
    """
    found: dict[tuple[str, str], None] = {}
    for _path, raw, _facts in looks:
        pod = raw.pod
        name = _text(_at(pod, "metadata", "name"))
        if _at(pod, "status", "phase") == "Failed":
            said = (_text(_at(pod, "status", key)) for key in ("reason", "message"))
            found[f"pod {name} .status", _quoted(": ".join(filter(None, said)))] = None
        for container, state, facts in _states(pod):
            if state == "terminated" and facts.get("exitCode"):
                message = _end_of(_text(facts.get("message")))
                said_last = _quoted(f"{_ended(facts)}{f': {message}' if message else ''}")
                found[f"container {container} of pod {name}", said_last] = None
    for name, log in logs.items():
        if words := _end_of(log):
            found[f"log of container {name}", words] = None
    return tuple(report.Quote(source, text) for source, text in found if text)[:_QUOTES]


def _end_of(log: str) -> str:
    """The line that says what went wrong, from a panic on; otherwise the last one."""
    lines = [line.strip() for line in log[-20_000:].splitlines() if line.strip()]
    for wanted in (re.compile(r"\bpanic: "), _LAST):
        for line in reversed(lines):
            if wanted.search(line):
                return _quoted(line)
    return _quoted(lines[-1]) if lines else ""


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]} …"


def _ended(facts: Mapping[str, Any]) -> str:
    reason = facts.get("reason") or "ended"
    return f"{reason}, exit code {facts.get('exitCode')}"


def _states(obj: object) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(container, state, facts) of everything that a pod says of its containers."""
    for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for each in _list(_at(obj, "status", key)):
            for place in ("lastState", "state"):
                states = each.get(place)
                for state, facts in (states if isinstance(states, Mapping) else {}).items():
                    if isinstance(facts, Mapping):
                        yield _text(each.get("name")), state, facts


def _lines(text: str) -> int:
    return len(text.splitlines())


def _at(obj: object, *keys: str) -> Any:
    for key in keys:
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def _list(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
