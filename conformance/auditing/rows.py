"""The VMIs and nodes of an audit, a row each, what is broken first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from reports.document import WORST_FIRST, Document, Verdict
from reports.wording import shortened

_SEEN = 200
"""Characters of what was seen, in one row."""


def rows(document: Document) -> Iterator[tuple[str, str, str, str, str]]:
    """Verdict, what it is, how it was found, what was promised, and the worst of what was seen."""
    worst = defaultdict(list)
    for finding in document.findings:
        if finding.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE):
            worst[finding.case].append(finding)
    for case in sorted(document.cases, key=lambda each: WORST_FIRST.index(each.verdict)):
        own = sorted(worst[case.id], key=lambda each: WORST_FIRST.index(each.verdict))
        seen = f"{own[0].requirement}: {own[0].message}" if own else ""
        more = f" (and {len(own) - 1} more)" if len(own) > 1 else ""
        promised = ", ".join(f"{what} {value}" for what, value in case.expectation.items())
        yield str(case.verdict), case.id, case.outcome, promised, shortened(seen, _SEEN) + more
