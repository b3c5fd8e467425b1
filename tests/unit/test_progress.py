"""What the terminal is told while a run goes on."""

from __future__ import annotations

import pytest

from fixtures.progress import Listener, remaining, tell


@pytest.mark.parametrize(
    ("done", "total", "seconds", "said"),
    [
        (2, 5, 4.0, "2/5"),
        (3, 6, 8.0, "3/6, about 8 s left"),
        (12, 21, 50.0, "12/21, about 40 s left"),
        (3, 100, 15.0, "3/100, about 8 min 05 s left"),
        (21, 21, 129.0, "21/21"),
    ],
)
def test_what_is_left_follows_from_the_pace_so_far(
    done: int, total: int, seconds: float, said: str
) -> None:
    assert remaining(done, total, seconds) == said


def test_lines_of_workers_come_in_order_and_ends_of_cases_are_counted() -> None:
    lines: list[str] = []
    listener = Listener(lines.append)
    listener.expect(2)
    tell(listener.address, "a: Scheduled")
    tell(listener.address, "a: 19 requirements kept", ends_case=True)
    listener.expect(2)
    tell(listener.address, "b: 3 requirements kept", ends_case=True)
    listener.close()
    first, second, third = (line.partition(" s  ")[2] for line in lines)
    assert first == "a: Scheduled"
    assert second == "a: 19 requirements kept (1/2)"
    assert third == "b: 3 requirements kept (2/2)"
