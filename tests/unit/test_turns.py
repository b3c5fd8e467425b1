"""Cases side by side, a scenario alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fixtures.turns import Turns


def test_cases_run_beside_each_other(tmp_path: Path) -> None:
    said: list[str] = []
    one, two = (Turns(tmp_path / "turns", said.append) for _ in range(2))
    with one.beside_others(), two.beside_others():
        assert said == []


@pytest.mark.parametrize(("first", "second"), [("beside_others", "alone"), ("alone", "alone")])
def test_a_scenario_waits_until_it_is_alone(tmp_path: Path, first: str, second: str) -> None:
    order: list[str] = []
    waits = threading.Event()

    def say(line: str) -> None:
        order.append(line)
        waits.set()

    def tell() -> None:
        with getattr(Turns(tmp_path / "turns", say), second)():
            order.append("told")

    teller = threading.Thread(target=tell)
    with getattr(Turns(tmp_path / "turns", order.append), first)():
        teller.start()
        assert waits.wait(30)
        order.append("the first ends")
    teller.join(30)
    assert order == ["waits for its turn on the cluster", "the first ends", "told"]
