"""What a run says of each node: nodes of one cluster differ."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from reports.document import Document, Finding, Verdict, worst
from reports.wording import shortened, worst_first

_REASON = 300
_BY_THEMSELVES = "_nodes"
"""How ids of cases begin that are about nodes, whoever runs there."""


@dataclass(frozen=True)
class NodeRow:
    """One node.

    Attributes:
        vmis: cases and scenarios of which something was judged there.
        verdict: the worst of what was judged there; NOT_OBSERVED where nothing was, though a VMI
            was to run there; None where none was.
        why: of a node on which no VMI was judged; else the requirements that were not kept there.
    """

    node: str
    vmis: int
    verdict: Verdict | None
    why: str


def by_node(document: Document) -> tuple[NodeRow, ...]:
    """A row for each node that is known, by name."""
    there: dict[str, list[Finding]] = defaultdict(list)
    of_case: dict[str, list[Finding]] = defaultdict(list)
    for finding in document.findings:
        if finding.node:
            there[finding.node].append(finding)
        of_case[finding.case].append(finding)
    placed = document.selection.nodes
    names = sorted({*document.cluster.nodes, *placed, *there})
    return tuple(_row(name, there[name], placed.get(name, ""), of_case) for name in names)


def _row(
    node: str, findings: list[Finding], case: str, of_case: dict[str, list[Finding]]
) -> NodeRow:
    running = {
        each.case or each.scenario
        for each in findings
        if each.case in of_case and not each.case.startswith(_BY_THEMSELVES)
    }
    if not running:
        return NodeRow(node, 0, Verdict.NOT_OBSERVED if case else None, _silent(case, of_case))
    bad = [each for each in worst_first(findings) if each.verdict in _BAD]
    why = ", ".join(dict.fromkeys(each.requirement for each in bad))
    return NodeRow(node, len(running), worst(findings), why)


_BAD = (Verdict.FAIL, Verdict.ERROR, Verdict.NOT_OBSERVED, Verdict.WAIVED)


def _silent(case: str, of_case: dict[str, list[Finding]]) -> str:
    if not case:
        return "no VMI of the run was judged there; --nodes puts one on each node"
    said = [each for each in worst_first(of_case.get(case, [])) if each.verdict in _BAD]
    if not said:
        return f"{case}, which would have run there, was not selected"
    return shortened(said[0].summary or said[0].message, _REASON)
