"""What whoever receives the results of a command is told, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reports.document import Document

Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
        code: its exit code.
        why: what it said of an end without a report; empty where there is one.
        directory: of its reports.
        document: the report; None where it wrote none.
    """

    code: int
    why: str
    directory: Path
    document: Document | None = None


class Receiver(Protocol):
    """One place that results go to."""

    def begin(self) -> None:
        """The command begins. Raises ClusterError when nothing can be received."""

    def end(self, result: Result) -> None:
        """The command has ended. Raises ClusterError or OSError when it was not received."""
