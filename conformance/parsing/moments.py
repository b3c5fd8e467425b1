"""When things happened, as API objects say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from conformance.model.evidence import RawSnapshot


@lru_cache(maxsize=4096)
def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moment(text: object) -> datetime | None:
    """A time as the API writes it (RFC 3339); None for what is none: nothing is judged by it."""
    return _moment(text) if isinstance(text, str) else None


def last_movement(raw: RawSnapshot) -> str:
    """What moved last of a workload, and when: a phase, a condition, a container, an event.

    Empty where no object tells a time.
    """
    known = [(when, what) for when, what in _movements(raw) if moment(when) is not None]
    if not known:
        return ""
    when, what = max(known, key=lambda each: moment(each[0]) or datetime.min.replace(tzinfo=UTC))
    return f"{what} at {when}"


def _movements(raw: RawSnapshot) -> Iterator[tuple[str, str]]:
    for kind, obj in (("VMI", raw.vmi), ("pod", raw.pod)):
        status = _mapping(obj).get("status")
        for each in _items(_mapping(status).get("phaseTransitionTimestamps")):
            yield str(each.get("phaseTransitionTimestamp")), f"{kind} phase {each.get('phase')}"
        for each in _items(_mapping(status).get("conditions")):
            what = f"{kind} condition {each.get('type')}={each.get('status')}"
            yield str(each.get("lastTransitionTime")), what
        for key in ("initContainerStatuses", "containerStatuses"):
            for each in _items(_mapping(status).get(key)):
                for state, facts in _mapping(each.get("state")).items():
                    for name in ("startedAt", "finishedAt"):
                        what = f"container {each.get('name')} {state}"
                        yield str(_mapping(facts).get(name)), what
    for event in raw.events:
        if isinstance(event, dict):
            when = event.get("lastTimestamp") or event.get("eventTime")
            yield str(when), f"event {event.get('reason')}: {event.get('message')}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> Iterator[Mapping[str, Any]]:
    return (
        (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())
    )
