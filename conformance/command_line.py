"""Parsing of command lines that helps with what was mistyped."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from conformance.exits import Exit

_CHOICE = re.compile(r"invalid choice: '?([^\s']+)'? \(.*?choose from (.*)\)")
_UNKNOWN = "unrecognized arguments: "


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """``; did you mean X?``, or nothing when there is no such X."""
    found = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


class Parser(argparse.ArgumentParser):
    """A parser of one command. What it cannot read ends the process with `Exit.USAGE`.

    Options are written in full: an abbreviation that is clear today may not be tomorrow.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Refuses what is unknown here, where it is known what else there is."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(_UNKNOWN + " ".join(unknown))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, and what may have been meant."""
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}{self._meant(message)}\n")

    def _meant(self, message: str) -> str:
        if choice := _CHOICE.search(message):
            return did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2]))
        if message.startswith(_UNKNOWN):
            given = message.removeprefix(_UNKNOWN).split()[0].partition("=")[0]
            return did_you_mean(given, re.findall(r"--[\w-]+", self.format_help()))
        return ""
