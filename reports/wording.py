"""Words, signs and orders that all renderers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.document import WORST_FIRST, Document, Fault, Finding, Outcome, Verdict

SIGNS: Mapping[Verdict, str] = {
    Verdict.FAIL: "✗",
    Verdict.ERROR: "!",
    Verdict.NOT_OBSERVED: "?",
    Verdict.KNOWN_DIVERGENCE: "≈",
    Verdict.PASS: "✓",
    Verdict.NOT_APPLICABLE: "–",
}
"""One character by verdict, so that nothing is told by colour alone."""

HEADLINES: Mapping[Outcome, str] = {
    Outcome.CONFORMANT: "Conformant",
    Outcome.NOT_CONFORMANT: "Not conformant",
    Outcome.INCONCLUSIVE: "Inconclusive",
    Outcome.INTERRUPTED: "Interrupted",
}

SIMULATION = (
    "SIMULATION: nodes, kernels and guests existed in memory only. "
    "This says nothing about any real cluster."
)

BROKEN = (Verdict.FAIL, Verdict.ERROR, Verdict.NOT_OBSERVED)
"""What keeps a run from being conformant, the worst first."""

_CONTROL = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def words(verdict: Verdict) -> str:
    """The verdict in plain words."""
    return verdict.value.replace("-", " ")


def printable(text: str) -> str:
    r"""The text with control characters made visible, such as ``\x1b``.

    What is left may stand in XML 1.0 and does nothing to a terminal.
    """
    if text.isascii() and text.isprintable():  # nearly all are; a report has thousands
        return text
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def one_line(text: str) -> str:
    """The text, printable and without line breaks."""
    return " ".join(printable(text).split())


def faults_met(faults: Iterable[Fault]) -> str:
    """How often the API failed, in one sentence."""
    times = sum(fault.times for fault in faults)
    often = "once" if times == 1 else f"{times} times"
    return f"The API failed {often}; what it had not answered, it was asked again."


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``0.4 s``, ``42 s``, ``3 min 48 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, failures first, otherwise in their order."""
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.verdict))


def broken(document: Document) -> list[Finding]:
    """The findings that keep the run from being conformant, failures first."""
    return worst_first(f for f in document.findings if f.verdict in BROKEN)


@dataclass(frozen=True)
class Alike:
    """Findings that say the same: of several cases, or of all that was lost with a node.

    Attributes:
        finding: the first of them.
        requirements: their ids; only what was not observed or went wrong has several.
        places: see `place`.
    """

    finding: Finding
    requirements: tuple[str, ...]
    places: tuple[str, ...]


def alike(findings: Iterable[Finding]) -> list[Alike]:
    """The findings in their order, those that say the same put together."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        lost = finding.verdict in (Verdict.NOT_OBSERVED, Verdict.ERROR)
        requirement = "" if lost else finding.requirement
        key = (finding.verdict, requirement, finding.message, finding.compared)
        groups.setdefault(key, []).append(finding)
    return [
        Alike(
            group[0],
            tuple(dict.fromkeys(finding.requirement for finding in group)),
            tuple(dict.fromkeys(map(place, group))),
        )
        for group in groups.values()
    ]


def some(names: Sequence[str], limit: int, separator: str = ", ") -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return separator.join(names[:limit]) + more


def place(finding: Finding) -> str:
    """Where the finding belongs: case (or scenario), moment, node."""
    parts = (finding.case or finding.scenario, finding.moment, finding.node)
    return ", ".join(one_line(part) for part in parts if part)
