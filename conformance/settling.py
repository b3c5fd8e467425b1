"""Waiting: the only module that does, and the only importer of tenacity.

Waits end by progress: as long as something moves there is hope, within `BUDGET`; what stands
still for a while is given up. That while is named by what is waited for. `Patience` stretches all
of them together. What failed for good ends a wait at once; what may pass is tried again a bounded
number of times. A violation is never waited away, and time that has passed proves none: only
conditions that are allowed to take time are waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from clusters.kit.api import TransientError

T = TypeVar("T")

LAUNCHER_START = 240.0
"""Of a VMI that has a node and does not run yet, seconds without a movement."""
SCHEDULING = 60.0
"""Of a VMI for which the scheduler has found no node, seconds without a movement."""
HEARTBEAT = 300.0
"""Until virt-handler has looked at its node again; upstream one to 2.2 minutes, seconds."""
QUEUE = 1800.0
"""How long a VMI may wait for others of the run to give CPUs back, seconds."""
GUEST_REPORT = 120.0
"""Of a guest that boots, seconds without another word on its console."""
HOUSEKEEPING = 60.0
"""Of what settles once the guest runs, seconds in which nothing of it changed."""
MIGRATION = 240.0
"""Of a VMI that migrates, seconds without a movement; KubeVirt gives up after 150 for each GiB."""
RELEASE = 90.0
"""Of what is being deleted, seconds in which nothing of it went."""
API_AWAY = 180.0
"""How long an API may answer nothing before it is taken for gone, seconds."""
BUDGET = 10.0
"""Everything that moves on and on is waited for so many times as long as what stands still."""
FIRST_PAUSE = 0.05
"""Between the first two looks at a condition, seconds: most come true at once."""
FIRST_RETRY = 0.5
"""Before a request is sent again for the first time, seconds; doubled each time."""
LONGEST_RETRY = 8.0
"""The longest of these pauses, seconds."""
LONGEST_ASKED = 30.0
"""The longest pause that a server's Retry-After is given, seconds."""
API_TRIES = 6
"""How often one request is sent when the API does not answer it."""


class NotYetError(Exception):
    """A condition does not hold yet; the message says what is seen instead."""


class GaveUpError(Exception):
    """A deadline has passed, or what was waited for can no longer come."""


@dataclass(frozen=True)
class Patience:
    """Stretches every deadline; 1 is for a cluster as fast as the embedded one."""

    factor: float = 1.0

    def deadline(self, seconds: float) -> Deadline:
        """A deadline that begins now, and does not care for progress."""
        return Deadline(seconds * self.factor)

    def hope(self, standstill: float) -> Hope:
        """Hope that begins now, and ends when nothing has moved for so many seconds."""
        return Hope(standstill * self.factor)


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


class Pace:
    """The pace of rounds that should each take a while: one that ends at once is paused after."""

    def __init__(self, least: float = FIRST_RETRY, longest: float = LONGEST_RETRY) -> None:
        self._least, self._longest = least, longest
        self._pause = least
        self._last: float | None = None

    def next_round(self) -> None:
        """Returns when the next round may begin; later and later while they end at once."""
        now = time.monotonic()
        if self._last is not None and now - self._last < self._least:
            time.sleep(self._pause)
            self._pause = min(self._longest, 2 * self._pause)
        else:
            self._pause = self._least
        self._last = time.monotonic()


class Beat:
    """Beginnings of rounds that are so many seconds apart, however long each takes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic()

    def wait(self) -> None:
        """Returns when the next round is due: at once the first time, and when it is late."""
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self._seconds


class Turnstile:
    """Lets so many through a second, one after the other, whoever comes from whatever thread."""

    def __init__(self, rate: float) -> None:
        self._apart = 1.0 / rate
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def wait(self) -> None:
        """Returns when it is the caller's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._apart
        if turn > now:
            time.sleep(turn - now)


class Hope(Deadline):
    """What is waited for as long as it moves, within a budget.

    A state that was seen before is no progress: what goes in circles stands still.
    """

    def __init__(self, standstill: float, budget: float | None = None) -> None:
        super().__init__(standstill)
        self._budget = Deadline(BUDGET * standstill if budget is None else budget)
        self._seen: set[str] = set()

    def saw(self, state: str) -> bool:
        """Notes the state as it is; whether it is a new one, with which hope begins anew."""
        if state in self._seen:
            return False
        self._seen.add(state)
        self.restart()
        return True

    @property
    def left(self) -> float:
        """Seconds left when nothing moves any more, never negative."""
        return min(super().left, self._budget.left)


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
        deadline: when to give up; of a `Hope`, what is seen instead is the state that moves.
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
        if isinstance(deadline, Hope):
            deadline.saw(now)
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
        moved = "nothing moved for" if isinstance(deadline, Hope) else "not within"
        raise GaveUpError(f"{what}: {moved} {deadline.seconds:.0f} s; last seen: {last}") from last


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
        return own if asked is None else min(LONGEST_ASKED, max(0.0, asked))

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
