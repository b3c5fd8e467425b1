"""What CI systems look for: JUnit files by name, a summary of the step, annotations.

Sources: Prow (docs/life-of-a-prow-job, ``ARTIFACTS``; TestGrid reads ``junit_*.xml``); GitHub
Actions ("Workflow commands", ``GITHUB_STEP_SUMMARY``).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from conformance.delivering.receiving import Result
from reports.causes import causes
from reports.document import Document, Verdict
from reports.wording import one_line, place

ARTIFACTS = "ARTIFACTS"
JUNIT = "junit_cpu-conformance.xml"
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
_ANNOTATIONS = 10
"""GitHub shows no more of a step."""


class Artifacts:
    """Receives JUnit where a CI system collects it: ``$ARTIFACTS/junit_*.xml``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self) -> None:
        """Nothing."""

    def end(self, result: Result) -> None:
        """Copies ``junit.xml`` of the report. Raises OSError."""
        if result.document is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(result.directory / "junit.xml", self._directory / JUNIT)


class GitHub:
    """Receives results as a step of GitHub Actions shows them."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._summary = environment.get(STEP_SUMMARY, "")

    def begin(self) -> None:
        """Nothing."""

    def end(self, result: Result) -> None:
        """Appends the summary and prints annotations. Raises OSError."""
        if result.document is None:
            if result.code:
                print(
                    _annotation("error", "", result.why or f"exit code {result.code}"),
                    file=sys.stderr,
                )
            return
        if self._summary:
            with Path(self._summary).open("a") as file:
                file.write((result.directory / "summary.md").read_text() + "\n")
        for line in annotated(result.document):
            print(line, file=sys.stderr)


def annotated(document: Document) -> Iterator[str]:
    """One line a cause of what was broken or not observed, and one for each problem."""
    lines = [
        _annotation(
            "error" if group.finding.verdict is Verdict.FAIL else "warning",
            ", ".join(group.requirements),
            f"{group.finding.summary or group.finding.message} ({place(group.finding)})",
        )
        for group in causes(document)
    ]
    lines += [_annotation("error", each.during, each.message) for each in document.problems]
    yield from lines[:_ANNOTATIONS]


def _annotation(level: str, title: str, message: str) -> str:
    """As GitHub's runner reads it; a text of a cluster's is no command of its own."""
    named = f" title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}" if title else ""
    return f"::{level}{named}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
