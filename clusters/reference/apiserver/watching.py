"""Watches: changes of the store as a client that selects some objects sees them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from clusters.reference.apiserver.errors import expired
from clusters.reference.apiserver.selectors import Predicate
from clusters.reference.apiserver.store import Change, ExpiredError, Store
from clusters.reference.apiserver.target import Target, in_version

Object = dict[str, Any]

BOOKMARK_SECONDS = 60.0
LONGEST_WATCH_SECONDS = 3600.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class Watch:
    """What a client wants to watch.

    Attributes:
        since: version after which changes are wanted; None starts with what exists.
        timeout_seconds: the watch ends after that.
        bookmarks: tell versions from time to time, and at the end.
        mark_initial: tell when everything that exists has been sent (sendInitialEvents).
    """

    target: Target
    matches: Predicate
    since: int | None
    timeout_seconds: float
    bookmarks: bool
    mark_initial: bool


async def events(store: Store, watch: Watch) -> AsyncIterator[tuple[str, Object]]:
    """Type and object of each event."""
    deadline = time.monotonic() + watch.timeout_seconds
    try:
        with store.subscribe([watch.target.type], watch.since) as subscription:
            initial = watch.mark_initial
            while True:
                left = deadline - time.monotonic()
                patience = 0.0 if initial else min(BOOKMARK_SECONDS, max(left, 0.0))
                try:
                    async with asyncio.timeout(patience):
                        change = await subscription.next()
                except TimeoutError:
                    is_over = deadline <= time.monotonic()
                    if (watch.bookmarks or initial) and subscription.is_drained():
                        yield "BOOKMARK", _bookmark(watch.target, store.version, initial=initial)
                        initial = False
                    if is_over:
                        return
                    continue
                event = _event(change, watch)
                if event is not None:
                    yield event
    except ExpiredError as error:
        yield "ERROR", expired(str(error)).status()


def _event(change: Change, watch: Watch) -> tuple[str, Object] | None:
    """What a change is to a watch with selectors: objects appear, change, disappear."""
    namespace = change.object["metadata"].get("namespace") or ""
    if watch.target.namespace and namespace != watch.target.namespace:
        return None
    matches = change.type != "DELETED" and watch.matches(change.object)
    matched = change.type != "ADDED" and watch.matches(change.previous or change.object)
    if not matches and not matched:
        return None
    type_ = "MODIFIED" if matches and matched else "ADDED" if matches else "DELETED"
    return type_, in_version(change.object, watch.target)


def _bookmark(target: Target, version: int, *, initial: bool) -> Object:
    metadata: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return {"kind": target.type.kind, "apiVersion": target.api_version, "metadata": metadata}
