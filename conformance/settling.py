"""Waiting: the only module that does, and the only importer of tenacity.

Deadlines are named by what is waited for. `Patience` stretches all of them together, for
slow clusters. What failed for good ends a wait at once; what may pass is tried again a
bounded number of times. A violation is never waited away: only conditions that are allowed
to take time are waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

T = TypeVar("T")

LAUNCHER_START = 240.0
"""From a VMI that can be scheduled to Running, seconds."""
SCHEDULING = 60.0
"""From the creation of a VMI until the scheduler has found a node for it, or none, seconds."""
HEARTBEAT = 300.0
"""Until virt-handler has looked at its node again; upstream one to 2.2 minutes, seconds."""
QUEUE = 1800.0
"""How long a VMI may wait for others of the run to give CPUs back, seconds."""
GUEST_REPORT = 120.0
"""From Running to the guest's report on its console, seconds."""
HOUSEKEEPING = 60.0
"""Until threads and labels are where they belong, once the guest runs, seconds."""
RELEASE = 90.0
"""From the deletion of a VMI to the last trace of it, seconds."""
FIRST_PAUSE = 0.05
"""Between the first two looks at a condition, seconds: most come true at once."""
FIRST_RETRY = 0.5
"""Before a request is sent again for the first time, seconds; doubled each time."""
LONGEST_RETRY = 8.0
"""The longest of these pauses, seconds."""
API_TRIES = 6
"""How often one request is sent when the API does not answer it."""


class NotYetError(Exception):
    """A condition does not hold yet; the message says what is seen instead."""


class GaveUpError(Exception):
    """A deadline has passed, or what was waited for can no longer come."""


class TransientError(Exception):
    """The API did not answer as it will when it is asked again.

    Attributes:
        after: seconds that the server asks to wait, None when it does not say.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class Patience:
    """Stretches every deadline; 1 is for a cluster as fast as the embedded one."""

    factor: float = 1.0

    def deadline(self, seconds: float) -> Deadline:
        """A deadline that begins now."""
        return Deadline(seconds * self.factor)


class Deadline:
    """A moment by which something must have happened."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left == 0.0

    def restart(self) -> None:
        """Begins anew: what was waited for could not have come so far."""
        self._end = time.monotonic() + self.seconds


def until(
    what: str,
    probe: Callable[[], T],
    deadline: Deadline,
    *,
    pause: float = 0.5,
    on_change: Callable[[str], None] | None = None,
) -> T:
    """Calls `probe` until it returns instead of raising NotYetError.

    Args:
        what: what is waited for, for the error.
        probe: returns the result, or raises NotYetError with what it sees instead.
        pause: longest time between two calls, seconds; the first ones come faster.
        on_change: is told what is seen whenever that changes.

    Raises:
        GaveUpError: the deadline passed; the message has what was seen last.
    """
    seen = ""

    def note(state: tenacity.RetryCallState) -> None:
        nonlocal seen
        assert state.outcome is not None
        now = str(state.outcome.exception())
        if now != seen and on_change is not None:
            on_change(now)
        seen = now

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(NotYetError),
        wait=tenacity.wait_exponential(multiplier=FIRST_PAUSE, max=pause),
        stop=lambda _state: deadline.passed,
        before_sleep=note,
    )
    try:
        return retrying(probe)
    except tenacity.RetryError as error:
        last = error.last_attempt.exception()
        raise GaveUpError(
            f"{what}: not within {deadline.seconds:.0f} s; last seen: {last}"
        ) from last


def persistently(call: Callable[[], T], on_retry: Callable[[str], None] | None = None) -> T:
    """Calls again what raises TransientError, a bounded number of times.

    Raises:
        TransientError: the last one.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        error = state.outcome.exception()
        asked = error.after if isinstance(error, TransientError) else None
        own = min(LONGEST_RETRY, FIRST_RETRY * 2 ** (state.attempt_number - 1))
        return own if asked is None else asked

    def note(state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        if on_retry is not None:
            on_retry(str(state.outcome.exception()))

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        wait=wait,
        stop=tenacity.stop_after_attempt(API_TRIES),
        before_sleep=note,
        reraise=True,
    )(call)
