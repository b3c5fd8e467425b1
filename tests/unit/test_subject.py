"""Waiting for a VMI: as long as it moves, and not a moment longer when it has gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from clusters.kit.api import Api, ApiError, TransientError
from conformance.settling import API_AWAY, LAUNCHER_START, Patience
from fixtures import subject
from fixtures.run import Run
from fixtures.subject import NotStartedError, Subject

Json = dict[str, Any]
MANIFEST = {"kind": "VirtualMachineInstance", "metadata": {"name": "vm"}, "spec": {}}


def vmi(phase: str = "Scheduling", uid: str = "u", **status: Any) -> Json:
    return {
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "vm", "namespace": "ns", "uid": uid},
        "status": {"phase": phase, **status},
    }


def unschedulable(message: str) -> Json:
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    return vmi(conditions=[condition])


class Clock:
    """Time that only passes when somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("conformance.settling.time.monotonic", lambda: self.now)
        monkeypatch.setattr("conformance.settling.time.sleep", self.wait)

    def wait(self, seconds: float) -> None:
        self.now += seconds


class FakeApi:
    """Plays one watch after the other; the last one for ever."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.watches: list[list[Json] | Exception] = []
        self.there: Json | None = vmi()
        self.pods: list[Json] = []
        self.events: list[Json] = []
        self.lengths: list[float] = []

    def watch(self, _path: str, seconds: float, **_query: str) -> Iterator[Json]:
        now = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0]
        self.lengths.append(seconds)
        if isinstance(now, Exception):
            raise now
        self.clock.wait(seconds)
        yield from now

    def find(self, _path: str, **_query: str) -> Json | None:
        return self.there

    def items(self, path: str, **_query: str) -> list[Json]:
        return self.events if path.endswith("/events") else self.pods


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def api(clock: Clock) -> FakeApi:
    return FakeApi(clock)


def made(api: FakeApi, tmp_path: Path, **more: Any) -> Subject:
    run = Run("id", "", "", "ns", str(tmp_path), "v1", "smoke", "never", "")
    return Subject(
        MANIFEST,
        run,
        cast(Api, api),
        say=lambda _line: None,
        died=lambda: None,
        patience=Patience(),
        **more,
    )


def change(obj: Json, kind: str = "MODIFIED") -> Json:
    return {"type": kind, "object": obj}


def test_one_that_runs_is_awaited(api: FakeApi, tmp_path: Path) -> None:
    api.watches = [[change(vmi("Pending"), "ADDED"), change(vmi("Running"))]]
    assert made(api, tmp_path).await_running()


def test_one_that_stands_still_is_given_up(api: FakeApi, clock: Clock, tmp_path: Path) -> None:
    api.watches = [[change(vmi("Scheduled"), "ADDED")]]
    assert not made(api, tmp_path).await_running()
    assert clock.now < 2 * LAUNCHER_START


def moving_phases(api: FakeApi, number: int) -> None:
    api.watches.append([change(vmi(conditions=[{"type": str(number), "status": "True"}]))])


def moving_pods(api: FakeApi, number: int) -> None:
    pod = {"metadata": {"name": "launcher", "uid": "p"}, "status": {"phase": str(number)}}
    api.watches.append([change(vmi())])
    api.pods = [pod]


def moving_events(api: FakeApi, number: int) -> None:
    api.watches.append([change(vmi())])
    api.events = [{"reason": "Pulling", "message": f"part {number}"}]


@pytest.mark.parametrize("moving", [moving_phases, moving_pods, moving_events])
def test_whatever_moves_gives_hope(
    moving: Callable[[FakeApi, int], None],
    api: FakeApi,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = iter(range(1000))
    watch = api.watch

    def watching(path: str, seconds: float, **query: str) -> Iterator[Json]:
        number = next(rounds)
        api.watches.clear()
        moving(api, number)
        if number > 60:
            api.watches[:] = [[change(vmi("Running"))]]
        return watch(path, seconds, **query)

    monkeypatch.setattr(api, "watch", watching)
    assert made(api, tmp_path).await_running()
    assert clock.now > 2 * LAUNCHER_START


def test_cpu_time_gives_hope(api: FakeApi, clock: Clock, tmp_path: Path) -> None:
    api.pods = [{"metadata": {"name": "launcher", "uid": "p"}, "status": {}}]
    api.watches = [*([[change(vmi())]] * 60), [change(vmi("Running"))]]
    assert made(api, tmp_path, work=lambda _pod: clock.now).await_running()


def test_an_event_that_is_repeated_is_no_progress(
    api: FakeApi, clock: Clock, tmp_path: Path
) -> None:
    api.watches = [[change(vmi())]]
    api.events = [{"reason": "FailedMount", "message": "no", "count": 7}]
    assert not made(api, tmp_path).await_running()
    assert clock.now < 2 * LAUNCHER_START


def test_there_is_a_budget(api: FakeApi, clock: Clock, tmp_path: Path) -> None:
    api.pods = [{"metadata": {"name": "launcher", "uid": "p"}, "status": {}}]
    api.watches = [[change(vmi())]]
    assert not made(api, tmp_path, work=lambda _pod: 100 * clock.now).await_running()
    assert clock.now < 20 * LAUNCHER_START


@pytest.mark.parametrize(
    ("watches", "there"),
    [
        ([[change(vmi())], [change(vmi(), "DELETED")]], vmi()),
        ([[change(vmi())], []], None),
        ([[change(vmi())], [change(vmi(uid="another"), "ADDED")]], vmi(uid="another")),
    ],
    ids=["deleted", "gone", "another of its name"],
)
def test_one_that_somebody_deletes_ends_the_wait_at_once(
    watches: list[list[Json]], there: Json | None, api: FakeApi, clock: Clock, tmp_path: Path
) -> None:
    api.watches = list(watches)
    api.there = there
    with pytest.raises(NotStartedError, match="deleted by somebody else"):
        made(api, tmp_path).await_running()
    assert clock.now < 3 * subject.WATCH_SECONDS


def test_watches_that_end_at_once_are_no_busy_loop(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(*_about: object, **_query: str) -> Iterator[Json]:
        api.lengths.append(0.0)
        return iter(())

    monkeypatch.setattr(api, "watch", watch)
    assert not made(api, tmp_path).await_running()
    assert len(api.lengths) < 100


def test_who_may_not_watch_looks(api: FakeApi, tmp_path: Path) -> None:
    api.watches = [ApiError("watch", 403)]
    api.there = vmi("Running")
    assert made(api, tmp_path).await_running()


def test_an_api_that_is_away_for_a_while_costs_nothing(api: FakeApi, tmp_path: Path) -> None:
    away = TransientError("503")
    api.watches = [away, away, [change(vmi("Running"))]]
    assert made(api, tmp_path).await_running()


def test_an_api_that_stays_away_ends_the_wait(api: FakeApi, clock: Clock, tmp_path: Path) -> None:
    api.watches = [TransientError("503")]
    with pytest.raises(TransientError, match="503"):
        made(api, tmp_path).await_running()
    assert clock.now >= API_AWAY


def test_what_the_scheduler_refuses_like_others_is_given_up_soon(
    api: FakeApi, clock: Clock, tmp_path: Path
) -> None:
    why, known = "0/1 nodes are available: 1 node(s) didn't match", set[str]()
    api.watches = [[change(unschedulable(why))]]
    assert not made(api, tmp_path, hopeless=known).await_running(queued=False)
    first = clock.now
    assert known
    assert not made(api, tmp_path, hopeless=known).await_running(queued=False)
    assert clock.now - first < first / 4
