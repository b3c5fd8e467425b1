"""Room on the cluster: what needs most of it waits for those before it, and for nobody else."""

from __future__ import annotations

import heapq
import itertools
import json
import threading
from pathlib import Path

import pytest

from conformance.matrix.matrices import DEFAULT_CPUS, matrix
from conformance.settling import Patience
from fixtures.room import Claim, Room, needed, place
from fixtures.scheduling import packed

Sized = tuple[str, int, float]


def claim(case: str, cpus: int, asked: int, began: int | None = None, node: int = 0) -> Claim:
    return Claim(case, cpus, "", asked, began, node)


def may_start(own: Claim, others: list[Claim], *nodes: int) -> bool:
    return place(own, others, nodes) is not None


def test_what_fits_starts() -> None:
    assert may_start(claim("b", 2, 2), [claim("a", 8, 1, 1)], 10)
    assert not may_start(claim("b", 3, 2), [claim("a", 8, 1, 1)], 10)


def test_nobody_takes_the_room_of_whoever_waits_longer() -> None:
    others = [claim("small", 3, 1, 1), claim("large", 8, 2)]
    assert may_start(claim("beside", 2, 3), others, 10)
    assert not may_start(claim("instead", 3, 3), others, 10)
    late = claim("late", 2, 3, 4)
    assert not may_start(claim("beside", 1, 5), [*others, late], 10), "two at once are too much"
    assert may_start(claim("large", 8, 2), [late], 10)


def test_whoever_could_start_and_has_not_looked_keeps_his_place() -> None:
    others = [claim("ran before", 2, 1, 1), claim("first", 4, 2)]
    assert may_start(claim("both fit", 4, 3), others, 10)
    assert not may_start(claim("too much beside", 5, 3), others, 10)


def test_two_that_wait_both_get_their_turn() -> None:
    others = [claim("a", 5, 1, 1), claim("large", 8, 2), claim("larger", 9, 3)]
    assert may_start(claim("one", 1, 4), others, 10)
    assert not may_start(claim("two", 2, 4), others, 10)


def test_room_is_on_one_node() -> None:
    halves = [claim("a", 4, 1, 1, node=0), claim("b", 4, 2, 2, node=1)]
    assert not may_start(claim("large", 8, 3), halves, 10, 10), "12 are free, and 6 of a node"
    assert place(claim("large", 8, 3), halves[:1], [10, 10]) == 1
    assert place(claim("small", 2, 3), halves, [10, 12]) == 1, "the emptiest"


def test_whoever_waits_keeps_one_node() -> None:
    others = [claim("a", 4, 1, 1, node=0), claim("b", 4, 2, 2, node=1), claim("large", 8, 3)]
    assert place(claim("beside", 6, 4), others, [10, 10]) == 0
    taken = [*others, claim("beside", 6, 4, 4, node=0)]
    assert not may_start(claim("instead", 3, 5), taken, 10, 10), "node 1 is for the large one"
    assert place(claim("still", 2, 5), taken, [10, 10]) == 1


def run(order: list[Sized], workers: int, nodes: list[int]) -> tuple[float, dict[str, float]]:
    """When all of them have ended, and how long each waited for room while a worker had it."""
    todo, waiting = list(order), list[tuple[Claim, Sized, float]]()
    running: dict[str, Claim] = {}
    ends: list[tuple[float, str]] = []
    waits: dict[str, float] = {}
    now = 0.0
    clock = itertools.count(1)
    while todo or waiting or ends:
        while todo and len(waiting) + len(ends) < workers:
            case = todo.pop(0)
            waiting.append((claim(case[0], case[1], next(clock)), case, now))
        for own, case, since in list(waiting):
            others = [*running.values(), *(each for each, *_ in waiting if each is not own)]
            node = place(own, others, nodes) if case[1] else 0
            if node is not None:
                waiting.remove((own, case, since))
                waits[case[0]] = now - since
                running[case[0]] = claim(case[0], case[1], own.asked, next(clock), node)
                heapq.heappush(ends, (now + case[2], case[0]))
        if not ends:
            raise AssertionError(f"nothing moves any more: {waiting}")
        if not (todo and len(waiting) + len(ends) < workers):
            now, ended = heapq.heappop(ends)
            del running[ended]
    return now, waits


@pytest.mark.parametrize("name", ["smoke", "standard"])
@pytest.mark.parametrize("workers", [1, 2, 4, 8])
@pytest.mark.parametrize("nodes", [[DEFAULT_CPUS], [DEFAULT_CPUS, DEFAULT_CPUS]], ids=len)
def test_no_large_case_starves_and_the_cluster_is_kept_busy(
    name: str, workers: int, nodes: list[int]
) -> None:
    sized = [
        (each.id, needed(each.expectation), 20.0 if each.expectation.admitted else 1.0)
        for each in matrix(name)
    ]
    by_id = {each[0]: each for each in sized}
    order = [by_id[each] for each in packed(sized, workers, nodes)]
    assert sorted(order) == sorted(sized)
    took, waits = run(order, workers, nodes)
    # Whoever waits does so for what asked before him, which is one case of each worker.
    assert max(waits.values()) <= workers * 20.0
    cpus = sum(each[1] * each[2] for each in sized) / sum(nodes)
    least = max(cpus, sum(each[2] for each in sized) / workers)
    assert took <= 1.4 * least + 20.0
    assert took <= run(sized, workers, nodes)[0]


def test_without_known_room_the_largest_comes_first() -> None:
    cases = [("no", 0, 1.0), ("small", 1, 9.0), ("large", 8, 9.0)]
    assert packed(cases, 2, []) == ["large", "small", "no"]


def test_refusals_fill_the_gaps() -> None:
    cases = [("no-1", 0, 1.0), ("a", 8, 9.0), ("b", 8, 9.0), ("no-2", 0, 1.0), ("beside", 2, 9.0)]
    assert packed(cases, 3, [10])[:4] == ["a", "beside", "no-1", "no-2"]


def test_claims_are_shared_and_given_back(tmp_path: Path) -> None:
    path, said = tmp_path / "room", list[str]()
    waits = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        waits.set()

    def second() -> None:
        with Room(path, [10], Patience(), say).taken("second", 8):
            said.append("second")

    thread = threading.Thread(target=second)
    with Room(path, [10], Patience(), say).taken("first", 8):
        thread.start()
        assert waits.wait(30)
        said.append("first ends")
    thread.join(30)
    assert said == ["waits for 8 of the 10 CPUs of a node", "first ends", "second"]
    assert json.loads(path.read_text()) == []


def test_claims_of_the_dead_count_no_more(tmp_path: Path) -> None:
    path = tmp_path / "room"
    path.write_text(
        json.dumps([{"case": "a", "cpus": 8, "who": "999999:1", "asked": 1, "began": 2}])
    )
    with Room(path, [10], Patience(), pytest.fail).taken("b", 10):
        pass


def test_where_nobody_knows_the_room_nothing_is_noted(tmp_path: Path) -> None:
    with Room(tmp_path / "room", [], Patience(), pytest.fail).taken("a", 4):
        assert not (tmp_path / "room").exists()
