"""What was looked at before a run, and what it means for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a point means for a run."""

    OK = "ok"
    LIMITED = "limited"
    """The run can be made; something will not be observed, or does not apply."""
    GAP = "gap"
    """The run cannot be made."""


@dataclass(frozen=True)
class Point:
    """One thing that was looked at.

    Attributes:
        subject: such as ``rights``; there may be several points about one.
        found: what was seen, as one sentence or part of one.
        mend: what to do; empty when nothing is to be done.
    """

    subject: str
    state: State
    found: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f": {self.mend}" if self.mend else ""
        return f"{self.state:<7}  {self.subject}: {self.found}{mend}"


def some(names: Sequence[str], most: int = 8) -> str:
    """The first of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
