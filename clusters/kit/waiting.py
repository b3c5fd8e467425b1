"""Waiting for a cluster to become what it shall be, with the reason while it is not."""

from __future__ import annotations

import time
from collections.abc import Callable

from clusters.contract.provider import ClusterError, Progress

LOOK_SECONDS = 1.0


class NotReadyError(ClusterError):
    """It did not come to be in time; the message says what was missing at last."""


def wait(what: str, missing: Callable[[], str | None], seconds: float, progress: Progress) -> None:
    """Looks until nothing is missing.

    Args:
        what: is waited for, such as ``the nodes``.
        missing: looks once: None when it is there, else one line that says what is not.
            Whatever it raises ends the waiting.
        progress: is told each time the answer is another.

    Raises:
        NotReadyError: time is over.
    """
    deadline = time.monotonic() + seconds
    last = None
    while (now := missing()) is not None:
        if time.monotonic() > deadline:
            raise NotReadyError(f"waited {seconds:.0f} s for {what}: {now}")
        if now != last:
            progress(now)
        last = now
        time.sleep(LOOK_SECONDS)
