"""The report as Markdown, short enough for the summary page of a CI job, whatever failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reports.causes import Cause, causes
from reports.document import Document, Requirement, Standing, Verdict
from reports.nodes import by_node
from reports.wording import (
    SIGNS,
    SIMULATION,
    STANDINGS,
    coverage,
    duration,
    faults_met,
    headline,
    setting_facts,
    shortened,
    some,
    watched,
    words,
)

LARGEST = 60_000
"""Bytes of the summary."""
_CUT = "\n\n… the rest is in `report.html`.\n"
_FINDINGS = 20
_PROBLEMS = 20
_TEXT = 400
"""Characters of one text."""
_FAULTS = 20
_NAMES = 5
_NODES = 100
_NOTES = 20
_WATCHES = 10
_COMPARED = 8
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&$@!])")
_LINK = re.compile(r"[^\s`|\\<>&]*(?:://|www\.|@)[^\s`|\\<>&]*", re.IGNORECASE)
"""What GitHub makes a link or a mention of by itself: only code is safe from that."""
_MARKER = re.compile(r"^(\d*)([-+=.)])(?=[-+=\s]|$)")
"""What begins a list or underlines a heading at the beginning of a line."""


def render(document: Document) -> str:
    """The document as the text of a ``summary.md``."""
    blocks = [f"# CPU conformance: {headline(document.conclusion).lower()}"]
    if document.cluster.simulation:
        blocks.append(f"> **{_text(SIMULATION)}**")
    blocks.append(_text(document.conclusion.reason))
    blocks.append(_counts(document))
    blocks += _problems(document)
    blocks += _broken(document)
    blocks += _coverage(document.requirements)
    blocks += _watches(document)
    blocks.append(_facts(document))
    blocks += _faults(document)
    blocks += _nodes(document)
    blocks += _notes(document)
    blocks += _requirements(document.requirements)
    return _limited("\n\n".join(blocks) + "\n")


def _limited(text: str) -> str:
    """The text as far as there is room, up to the end of a line."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= LARGEST:
        return text
    kept = data[: LARGEST - len(_CUT.encode())].decode(errors="ignore")
    return kept[: kept.rfind("\n")] + _CUT


def _coverage(requirements: Sequence[Requirement]) -> list[str]:
    rows = [
        (number, STANDINGS[standing] if number else "", which)
        for standing, number, which in coverage(requirements)
    ]
    return ["## Coverage", _table(("number", "requirements", "which"), rows)] if rows else []


def _facts(document: Document) -> str:
    cluster, run = document.cluster, document.run
    facts = {
        "Stack judged": cluster.stack,
        "Cluster": cluster.provider,
        "Nodes": "; ".join(": ".join(filter(None, node)) for node in cluster.nodes.items()),
        "Acceleration": cluster.acceleration,
        "Profile and matrix": f"{document.profile}, {document.matrix}",
        "Cases": str(len(document.cases)),
        "Run": f"{run.id}, {run.started}, {duration(run.seconds)}",
        "Exit code": str(document.conclusion.exit_code),
    }
    rows = [(name, value) for name, value in facts.items() if value]
    return "## The run\n\n" + _table(("", ""), [*rows, *setting_facts(document)])


def _counts(document: Document) -> str:
    return "**Findings:** " + ", ".join(
        _text(f"{SIGNS[verdict]} {count} {words(verdict)}")
        for verdict, count in document.counts.items()
        if count or verdict is Verdict.FAIL
    )


def _problems(document: Document) -> list[str]:
    if not document.problems:
        return []
    rows = [(p.during, p.message, p.case, p.node) for p in document.problems[:_PROBLEMS]]
    left = len(document.problems) - len(rows)
    more = [f"… and {left} more; `report.html` has them all."] if left else []
    return ["## Problems", _table(("during", "what happened", "case", "node"), rows), *more]


def _watches(document: Document) -> list[str]:
    shown = document.watches[:_WATCHES]
    left = len(document.watches) - len(shown)
    more = [f"{left} nodes more"] if left else []
    return [_text(f"{'; '.join([*map(watched, shown), *more])}.")] if shown else []


def _faults(document: Document) -> list[str]:
    if not document.faults:
        return []
    rows = [(str(fault.times), fault.message) for fault in document.faults[:_FAULTS]]
    return [
        "## Faults of the API",
        faults_met(document.faults),
        _table(("times", "what"), rows),
    ]


def _nodes(document: Document) -> list[str]:
    rows = by_node(document)
    if len(rows) < 2 and not document.selection.nodes:
        return []
    shown = [
        (
            row.node,
            str(row.vmis),
            f"{SIGNS[row.verdict]} {words(row.verdict)}" if row.verdict else "",
            row.why,
        )
        for row in rows[:_NODES]
    ]
    more = [f"… and {len(rows) - _NODES} more; `report.html` has them all."]
    table = _table(("node", "cases judged there", "verdict", "what"), shown)
    return ["## Nodes", table, *(more if len(rows) > _NODES else [])]


def _broken(document: Document) -> list[str]:
    groups = causes(document)
    if not groups:
        return []
    blocks = ["## What was not kept or not observed"]
    for group in groups[:_FINDINGS]:
        blocks += _finding(group)
    if len(groups) > _FINDINGS:
        blocks.append(f"… and {len(groups) - _FINDINGS} more; `report.html` has them all.")
    return blocks


def _notes(document: Document) -> list[str]:
    notes = list(dict.fromkeys(note for each in document.findings for note in each.notes))
    if not notes:
        return []
    more = [f"… and {len(notes) - _NOTES} more."] if len(notes) > _NOTES else []
    return ["## Notes", "Remarks that change no verdict.", *map(_text, notes[:_NOTES]), *more]


def _finding(group: Cause) -> list[str]:
    finding = group.finding
    verdict = f"{SIGNS[finding.verdict]} {words(finding.verdict)}"
    head = f"**{_text(verdict)}: {_text(some(group.requirements, _NAMES))}**"
    said = finding.summary or finding.message
    blocks = [f"{head} ({_text(some(group.places, _NAMES, '; '))})", _text(said)]
    if finding.compared:
        rows = [(c.what, c.value, c.source) for c in finding.compared[:_COMPARED]]
        if len(finding.compared) > _COMPARED:
            rows.append((f"… and {len(finding.compared) - _COMPARED} more", "", ""))
        blocks.append(_table(("compared", "value", "source"), rows))
    if finding.look:
        blocks.append(_text(finding.look))
    follow = tuple(dict.fromkeys(name for each in group.consequences for name in each.requirements))
    if follow:
        blocks.append(
            f"Broken in the same cases, usually a consequence: {_text(', '.join(follow))}"
        )
    return blocks


def _requirements(requirements: Sequence[Requirement]) -> list[str]:
    rows = [
        (
            f"{SIGNS[r.verdict]} {words(r.verdict)}"
            if r.standing is not Standing.NOT_ASKED
            else STANDINGS[r.standing],
            r.id,
            r.title,
            r.tier,
            str(r.counts[Verdict.PASS]),
            str(r.counts[Verdict.FAIL]),
            str(sum(r.counts.values()) - r.counts[Verdict.PASS] - r.counts[Verdict.FAIL]),
        )
        for r in requirements
    ]
    head = ("verdict", "id", "requirement", "tier", "pass", "fail", "other")
    return ["## Requirements", _table(head, rows)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _text(text: str) -> str:
    """A text as Markdown that shows it as it is: nothing of it is markup, a link, or HTML."""
    line = shortened(text, _TEXT)
    parts, end = [], 0
    for link in _LINK.finditer(line):
        parts += [_escaped(line[end : link.start()]), f"`{link[0]}`"]
        end = link.end()
    return _MARKER.sub(r"\1\\\2", "".join([*parts, _escaped(line[end:])]), count=1)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text).replace("\\<", "&lt;").replace("\\&", "&amp;")
