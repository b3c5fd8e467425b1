"""What a run says of each requirement of its profile: what was kept, and what was not asked.

- A requirement **applies** when it is of the profile and the cluster is not known to lack what it
  would take: a capability that was read and is absent, a feature that the release does not have.
- It was **asked** when a case or scenario that was selected could show it, whether or not it did:
  such a one has a finding. A case that the cluster cannot run shows nothing, and what nobody
  allowed the run to do (``--disruptive``) was not asked.
- It was **kept** when every finding about it that applies is a pass. One that is open, or known not
  to be kept, is stronger (`reports.document.Standing`, in its order).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.checks.registry import stories
from conformance.judging.terms import LEAVE, Lack, Terms
from conformance.matrix.cases import Case
from conformance.matrix.matrices import NAMES, matrix
from conformance.matrix.scenarios import SCENARIOS, scenarios
from conformance.requirements.catalogue import Requirement
from reports.document import Finding, Selection, Standing, Verdict
from reports.wording import shortened

_REASON = 240
"""Characters of a reason; the findings have it in full."""
_BY_VERDICT = {
    Verdict.FAIL: Standing.BROKEN,
    Verdict.ERROR: Standing.ERROR,
    Verdict.NOT_OBSERVED: Standing.NOT_OBSERVED,
    Verdict.WAIVED: Standing.WAIVED,
    Verdict.KNOWN_DIVERGENCE: Standing.KNOWN_DIVERGENCE,
    Verdict.PASS: Standing.KEPT,
    Verdict.NOT_APPLICABLE: Standing.NOT_APPLICABLE,
}


@dataclass(frozen=True)
class Covered:
    """One requirement with what the run says of it, and why where that needs a reason."""

    requirement: Requirement
    standing: Standing
    why: str = ""


def cover(
    terms: Terms,
    findings: Iterable[Finding],
    selection: Selection,
    matrix_name: str,
    barred: Collection[str] = (),
) -> tuple[Covered, ...]:
    """What the findings of a run say of each requirement of its profile, in their order.

    Args:
        terms: of the run.
        findings: of the run.
        selection: what of the matrix was asked.
        matrix_name: which matrix that is.
        barred: ids of cases that the cluster cannot run: what does not apply to them may apply
            to the cluster.
    """
    by_requirement: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_requirement[finding.requirement].append(finding)
    return tuple(
        _covered(terms, requirement, by_requirement[requirement.id], barred)
        or _silent(terms, requirement, by_requirement[requirement.id], selection, matrix_name)
        for requirement in terms.requirements()
    )


def left_out(
    matrix_name: str, profile: str, cases: Iterable[Case]
) -> Iterator[tuple[Requirement, str]]:
    """The requirements of a profile that a matrix shows nothing of, whatever the cluster; why."""
    terms = Terms(profile, {})
    shown = {
        requirement.id
        for case in cases
        for requirement, _check in terms.applicable(case.expectation)
    }
    for scenario in scenarios(matrix_name, profile):
        shown |= {requirement.id for requirement, _check in terms.tales(scenario.id)}
    for requirement in terms.requirements():
        if requirement.id not in shown:
            yield requirement, _left_out(terms, requirement, Selection(), matrix_name)


def _covered(
    terms: Terms, requirement: Requirement, findings: Sequence[Finding], barred: Collection[str]
) -> Covered | None:
    """What the findings about a requirement say; None when none says anything."""
    telling = [
        finding
        for finding in findings
        if not (finding.verdict is Verdict.NOT_APPLICABLE and finding.case in barred)
    ]
    standings = {_BY_VERDICT[finding.verdict] for finding in telling}
    standing = next((each for each in Standing if each in standings), None)
    if standing is None:
        return None
    if standing is not Standing.NOT_APPLICABLE:
        return Covered(requirement, standing)
    lack = _lack(terms, requirement)
    if lack is not None and lack.leave:
        return None
    reasons = list(dict.fromkeys(finding.message for finding in telling))
    more = f"; and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
    return Covered(requirement, standing, shortened(reasons[0], _REASON) + more)


def _silent(
    terms: Terms,
    requirement: Requirement,
    findings: Sequence[Finding],
    selection: Selection,
    matrix_name: str,
) -> Covered:
    """What is said of a requirement of which no finding says anything."""
    if lack := _lack(terms, requirement):
        standing = Standing.NOT_ASKED if lack.leave else Standing.NOT_APPLICABLE
        return Covered(requirement, standing, shortened(str(lack), _REASON))
    if findings:
        why = shortened(findings[0].message, _REASON)
    else:
        why = _left_out(terms, requirement, selection, matrix_name)
    return Covered(requirement, Standing.NOT_ASKED, why)


def _lack(terms: Terms, requirement: Requirement) -> Lack | None:
    """What keeps this cluster from ever showing a requirement; None when nothing is known to.

    Every way to show it must be barred: each scenario that tells it, or each case of the standard
    matrix that it has something to say about.
    """
    if own := _excuse(terms, requirement.needs):
        return own
    if told := _told_in(terms, requirement):
        lacks = (_excuse(terms, SCENARIOS[scenario].needs) for scenario in told)
    else:
        lacks = (terms.lacks(terms.expect(case.manifest)) for case in _cases(terms, requirement))
    first = None
    for lack in lacks:
        # One way is enough, and most are open: nothing more is worked out then.
        if lack is None or not lack.excuses:
            return None
        first = first or lack
    return first


def _excuse(terms: Terms, needs: Collection[str]) -> Lack | None:
    """What the cluster need not have and has not; leave, which a user can give, comes last."""
    for names in ([name for name in needs if name not in LEAVE | terms.unasked.keys()], needs):
        lack = terms.lacking(names)
        if lack is not None and lack.excuses:
            return lack
    return None


def _told_in(terms: Terms, requirement: Requirement) -> list[str]:
    return [
        check.scenario
        for check in stories()
        if check.requirement == requirement.id
        and terms.profile in SCENARIOS[check.scenario].profiles
    ]


def _cases(terms: Terms, requirement: Requirement, matrix_name: str = "standard") -> Iterator[Case]:
    """The cases of a named matrix that a requirement has something to say about."""
    for each, check in terms.checks():
        if each.id == requirement.id:
            for case in matrix(matrix_name, terms.profile):
                if check.applies(case.expectation):
                    yield case


def _left_out(
    terms: Terms, requirement: Requirement, selection: Selection, matrix_name: str
) -> str:
    """Why nothing that was selected could show a requirement."""
    told = _told_in(terms, requirement)
    if matrix_name not in NAMES:
        return f"it takes the scenario {' or '.join(told)}" if told else "no case is about it"
    offered = {each.id: each for each in scenarios(matrix_name, terms.profile)}
    if any(scenario in offered for scenario in told) or any(
        True for _case in _cases(terms, requirement, matrix_name)
    ):
        return _deselected(selection)
    reasons: Mapping[str, str] = {each: SCENARIOS[each].left_out for each in told}
    if matrix_name == "smoke" and told:
        names = " and ".join(reasons)
        return f"smoke leaves out the scenario {names}, for its time: {'; '.join(reasons.values())}"
    what = f"the scenario {' or '.join(told)}" if told else "a case about it"
    return f"the matrix {matrix_name} does not have {what}"


def _deselected(selection: Selection) -> str:
    if selection.keyword:
        return f"left out by -k {selection.keyword!r}"
    if selection.tests:
        return f"only {', '.join(selection.tests)} ran"
    return "not selected"
