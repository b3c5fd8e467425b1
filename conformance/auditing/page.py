"""One VMI on one page: what was promised, what is, by which source, and what to do."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reports.document import Document, Finding, Verdict
from reports.wording import one_line, printable

_ABOUT = {
    "CPU-COUNT": ("exclusive CPUs of compute", "cpuset of compute", "CPU limit of compute"),
    "PIN-THREADS": ("thread ",),
    "EMU-ISOLATED": ("emulator", "vCPUs"),
    "NODE-LABEL": ("label ", "CPU manager policy"),
}
"""Which compared values show what is: by requirement, beginnings of their names."""
_WORDS = {
    Verdict.PASS: "kept",
    Verdict.FAIL: "BROKEN",
    Verdict.NOT_OBSERVED: "not seen",
    Verdict.ERROR: "error",
    Verdict.KNOWN_DIVERGENCE: "known",
}
_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.NOT_OBSERVED, Verdict.KNOWN_DIVERGENCE, Verdict.PASS)


@dataclass(frozen=True)
class Page:
    """What is said of one VMI.

    Attributes:
        vmi: ``NAMESPACE/NAME``.
        outcome: phase and node, or why nothing is judged.
        promised: the expectation, a few words by aspect.
        seen: value and source by what it is.
        findings: (requirement, verdict, message), what is broken first.
        unasked: requirements that only witnesses show that were not asked.
    """

    vmi: str
    outcome: str
    promised: Mapping[str, str]
    seen: tuple[tuple[str, str, str], ...] = ()
    findings: tuple[tuple[str, str, str], ...] = ()
    unasked: tuple[str, ...] = ()
    verdict: str = "not judged"
    exit_code: int = 2

    def as_data(self) -> dict[str, Any]:
        """For JSON and YAML."""
        data = asdict(self)
        data["seen"] = [
            dict(zip(("what", "value", "source"), row, strict=True)) for row in self.seen
        ]
        names = ("requirement", "verdict", "message")
        data["findings"] = [dict(zip(names, row, strict=True)) for row in self.findings]
        data["unasked"] = list(self.unasked)
        return data


def page(document: Document, vmi: str, case: str) -> Page:
    """What the report of an audit of one VMI says of it; its node by itself is said too."""
    (about,) = (each for each in document.cases if each.id == case)
    own = [each for each in document.findings if each.case == case]
    nodes = [each for each in document.findings if each.case != case]
    told = [*own, *(each for each in nodes if each.verdict in _FIRST[:3])]
    told = [each for each in told if each.verdict in _FIRST]
    told.sort(key=lambda each: _FIRST.index(each.verdict))
    return Page(
        vmi=vmi,
        outcome=about.outcome,
        promised=about.expectation,
        seen=tuple(dict.fromkeys(_seen([*own, *nodes]))),
        findings=tuple((each.requirement, str(each.verdict), each.message) for each in told),
        unasked=tuple(
            each.requirement
            for each in own
            if each.verdict is Verdict.NOT_APPLICABLE and " was not asked: " in each.message
        ),
        verdict=str(document.conclusion.outcome),
        exit_code=int(document.conclusion.exit_code),
    )


def _seen(findings: list[Finding]) -> Iterator[tuple[str, str, str]]:
    for finding in findings:
        for value in finding.compared:
            if value.what.startswith(_ABOUT.get(finding.requirement, ("\0",))):
                yield value.what, value.value, value.source


def lines(page: Page) -> Iterator[str]:
    """The page, a line each, for a terminal."""
    width = max(60, min(120, shutil.get_terminal_size((100, 40)).columns))

    def row(head: str, text: str, indent: int = 18) -> Iterator[str]:
        filled = textwrap.wrap(
            printable(text), width - indent, break_long_words=False, break_on_hyphens=False
        ) or [""]
        for number, line in enumerate(filled):
            yield f"{head if not number else '':<{indent}}{line}"

    yield from row("VMI", f"{one_line(page.vmi)}: {one_line(page.outcome)}")
    promised = ", ".join(f"{what} {value}" for what, value in page.promised.items())
    yield from row("promised", promised or "nothing about CPUs")
    for number, (what, value, source) in enumerate(page.seen):
        yield from row("is" if not number else "", f"{what}: {value}   [{source}]")
    for requirement, verdict, message in page.findings:
        if verdict != Verdict.PASS:
            yield ""
            yield from row(_WORDS[Verdict(verdict)], f"{requirement}: {message}")
    kept = [requirement for requirement, verdict, _ in page.findings if verdict == Verdict.PASS]
    yield ""
    if kept:
        yield from row("kept", ", ".join(dict.fromkeys(kept)))
    if page.unasked:
        unasked = ", ".join(dict.fromkeys(page.unasked))
        yield from row("not asked", f"{unasked} (--libvirt asks libvirt; nobody asks the guest)")
    yield from row(
        "verdict", f"{page.verdict.replace('-', ' ').upper()} (exit code {page.exit_code})"
    )
