"""Waiting ends: with the condition, with the deadline, or with what cannot pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clusters.kit.api import TransientError
from conformance.settling import (
    API_TRIES,
    Beat,
    Deadline,
    GaveUpError,
    Hope,
    NotYetError,
    Pace,
    Patience,
    Turnstile,
    persistently,
    until,
)

LONG = 600.0


def probe_of(*answers: object) -> Callable[[], object]:
    """Returns one answer after the other; those that are errors it raises."""
    script = iter(answers)

    def probe() -> object:
        answer = next(script)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return probe


def test_returns_what_the_probe_returns() -> None:
    probe = probe_of(NotYetError("booting"), NotYetError("booting"), "ready")
    assert until("it", probe, Deadline(LONG), pause=0) == "ready"


def test_tells_changes_only() -> None:
    told: list[str] = []
    probe = probe_of(*map(NotYetError, ("a", "a", "b", "b")), None)
    until("it", probe, Deadline(LONG), pause=0, on_change=told.append)
    assert told == ["a", "b"]


def test_deadline_tells_what_was_awaited_and_seen_last() -> None:
    with pytest.raises(GaveUpError, match=r"the guest's report.*its guest boots"):
        until(
            "the guest's report",
            probe_of(NotYetError("its guest boots")),
            Deadline(0),
            pause=0,
        )


def test_condition_that_holds_outranks_a_deadline_that_has_passed() -> None:
    assert until("it", probe_of("ready"), Deadline(0), pause=0) == "ready"


def test_other_errors_end_the_wait_at_once() -> None:
    with pytest.raises(RuntimeError, match="the cluster died"):
        until(
            "it",
            probe_of(NotYetError("a"), RuntimeError("the cluster died"), "never"),
            Deadline(LONG),
            pause=0,
        )


def test_passing_fault_is_asked_again_and_recorded() -> None:
    faults: list[str] = []
    call = probe_of(TransientError("500", 0), TransientError("reset", 0), "answer")
    assert persistently(call, faults.append) == "answer"
    assert faults == ["500", "reset"]


def test_fault_that_stays_is_raised_after_a_bounded_number_of_tries() -> None:
    faults: list[str] = []
    always = probe_of(*(TransientError(f"fault {n}", 0) for n in range(100)))
    with pytest.raises(TransientError, match=f"fault {API_TRIES - 1}"):
        persistently(always, faults.append)
    assert len(faults) == API_TRIES - 1


def test_patience_stretches_every_deadline() -> None:
    assert Patience(3).deadline(10).seconds == 30


def test_deadline_can_begin_anew() -> None:
    deadline = Deadline(LONG)
    assert not deadline.passed
    deadline.restart()
    assert deadline.left > 0
    assert Deadline(0).passed


def test_hope_lasts_as_long_as_something_new_is_seen() -> None:
    hope = Hope(LONG)
    assert hope.saw("a")
    assert hope.saw("b")
    assert not hope.saw("a"), "what goes in circles stands still"
    assert not hope.passed


def test_hope_has_a_budget_however_much_moves() -> None:
    hope = Hope(LONG, budget=0)
    assert hope.saw("a")
    assert hope.passed


def test_a_wait_by_progress_goes_on_while_the_state_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("conformance.settling.time.monotonic", lambda: now)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _seconds: None)
    seen: list[str] = []

    def probe() -> None:
        nonlocal now
        now += 7
        seen.append(str(min(len(seen), 5)))
        raise NotYetError(seen[-1])

    with pytest.raises(GaveUpError, match=r"nothing moved for 10 s; last seen: 5"):
        until("it", probe, Hope(10), pause=0)
    assert len(seen) > 6, "each new state gave it ten seconds more"


def test_rounds_that_end_at_once_are_paused_between(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("conformance.settling.time.sleep", slept.append)
    pace = Pace(least=LONG, longest=4 * LONG)
    for _ in range(5):
        pace.next_round()
    assert slept == [LONG, 2 * LONG, 4 * LONG, 4 * LONG]


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("conformance.settling.time.monotonic", lambda: self.now)
        monkeypatch.setattr("conformance.settling.time.sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_turnstile_lets_so_many_through_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turnstile, passed = Turnstile(4.0), []
    for _ in range(9):
        turnstile.wait()
        passed.append(clock.now)
    assert passed == [each / 4 for each in range(9)]
    clock.now = 100.0
    turnstile.wait()
    assert clock.now == 100.0, "nobody waits for turns that nobody took"


def test_beats_are_as_far_apart_however_long_a_round_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    beat, began = Beat(10.0), []
    for took in (0.0, 3.0, 25.0, 0.0):
        beat.wait()
        began.append(clock.now)
        clock.now += took
    assert began == [0.0, 10.0, 20.0, 45.0]
