"""Every command line of README and docs is one that this version takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_COMMAND = re.compile(r"(?:^|[\s(`$;&|])(?:\./)?conform (?=[a-z-])")


def command_lines() -> Iterator[tuple[str, str]]:
    """(document, words after ``conform``) of everything in a block of code."""
    for document in DOCUMENTS:
        blocks = re.findall(r"^```\w*\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            if not re.match(r"(?:\$ )?(?:\./)?conform\b", line):
                continue
            for part in re.split(r"&&|\|", line):
                if found := re.match(r"\s*(?:\$ )?(?:\./)?conform\s+(.*)", part):
                    yield document.name, found[1]


LINES = list(dict.fromkeys(command_lines()))


def test_there_are_commands_to_try() -> None:
    assert len(LINES) > 20


@pytest.mark.parametrize(("document", "line"), LINES, ids=lambda text: text[:60])
def test_a_documented_command_is_understood(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    words = [word for word in words if word not in {"...", ">", "2>&1"}]
    try:
        parsed = cli._parser().parse_args(words)
    except SystemExit as end:
        pytest.fail(f"{document}: conform {line}: exit code {end.code}")
    assert parsed.command is not None
