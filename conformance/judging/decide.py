"""One requirement on what was recorded: which of several looks decides, and what it means here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from conformance.checks.alignment import turned_away
from conformance.checks.registry import Check
from conformance.judging.terms import Terms
from conformance.matrix.scenarios import SCENARIOS
from conformance.model.evidence import Snapshot, Story
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.requirements.catalogue import Requirement

_DECISIVE_FIRST = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.KNOWN_DIVERGENCE,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
    Verdict.NOT_OBSERVED,
)
"""Of several snapshots of one moment: a violation in any counts, an observation in any is one."""


def judge_story(terms: Terms, story: Story) -> Iterator[Finding]:
    """Everything that a scenario shows: its own requirements, then those of any VMI.

    Each moment at which a VMI or pod ran is judged as any running one.
    """
    yield from judge_told(terms, story)
    for (moment, _subject), taken in _running(story).items():
        expectation = terms.expect(taken[0].manifest)
        for requirement, check in terms.applicable(expectation):
            if check.moment == "running":
                finding = decide(terms, requirement, check, taken, expectation)[1]
                yield replace(finding, case=story.scenario, moment=moment)


def judge_told(terms: Terms, story: Story, *, settling: bool = False) -> Iterator[Finding]:
    """The requirements that it takes this scenario to show; only those that may settle."""
    for requirement, check in terms.tales(story.scenario):
        if settling and not check.settles:
            continue
        needs = (*SCENARIOS[story.scenario].needs, *requirement.needs)
        finding = _final(terms, requirement, check.judge(story), needs=needs)
        yield replace(finding, scenario=story.scenario, case=story.scenario)


def decide(
    terms: Terms,
    requirement: Requirement,
    check: Check,
    snapshots: Sequence[Snapshot],
    expectation: Expectation,
) -> tuple[int, Finding]:
    """One requirement on every snapshot of its moment, oldest first.

    What settles is judged on the last one, and on an earlier one that shows what may never
    be. Anything else must hold on each; where a neighbour came or went while it was looked
    at, the snapshots beside it still tell.
    A VMI that the cluster cannot run is not created, and nothing applies to it.

    Returns:
        The index of the snapshot that decides, -1 without any, and the finding.
    """
    judged = [
        (index, judge(terms, requirement, check, snapshot, expectation))
        for index, snapshot in enumerate(snapshots)
    ]
    if check.settles:
        judged = [each for each in judged[:-1] if each[1].final] + judged[-1:]
    lacking = terms.lacks(expectation)
    nothing = Finding(
        requirement.id,
        Verdict.NOT_APPLICABLE if lacking and lacking.known else Verdict.NOT_OBSERVED,
        str(lacking) if lacking else f"nothing was recorded at the moment “{check.moment}”",
        moment=check.moment,
    )
    return min(
        reversed(judged),
        key=lambda item: _DECISIVE_FIRST.index(item[1].verdict),
        default=(-1, nothing),
    )


def unsettled(
    terms: Terms, snapshots: Sequence[Snapshot], expectation: Expectation, moment: str
) -> list[str]:
    """Requirements that another snapshot of the moment may still show to be kept."""
    found = []
    for requirement, check in terms.applicable(expectation):
        if check.moment != moment or terms.lacking(requirement.needs):
            continue
        finding = decide(terms, requirement, check, snapshots, expectation)[1]
        broken = finding.verdict is Verdict.FAIL and check.settles and not finding.final
        if finding.verdict is Verdict.NOT_OBSERVED or broken:
            found.append(requirement.id)
    return found


def judge(
    terms: Terms,
    requirement: Requirement,
    check: Check,
    snapshot: Snapshot,
    expectation: Expectation,
) -> Finding:
    """One requirement on one snapshot."""
    finding = _judge(terms, requirement, check, snapshot, expectation)
    return replace(
        finding,
        case=snapshot.case,
        scenario=snapshot.scenario,
        moment=snapshot.moment,
        node=snapshot.node.name if snapshot.node else "",
    )


def _judge(
    terms: Terms,
    requirement: Requirement,
    check: Check,
    snapshot: Snapshot,
    expectation: Expectation,
) -> Finding:
    if snapshot.torn:
        return Finding(
            requirement.id,
            Verdict.NOT_OBSERVED,
            f"the workload changed while it was looked at: {snapshot.torn}",
        )
    if not check.unstarted and (why := turned_away(snapshot, expectation)):
        return Finding(requirement.id, Verdict.NOT_APPLICABLE, why)
    refusal = expectation.refusal
    return _final(
        terms,
        requirement,
        check.judge(snapshot, expectation),
        needs=requirement.needs,
        rules=refusal.rule.split("+") if refusal else (),
        kubelet=snapshot.node.kubelet_version if snapshot.node else "",
    )


def _final(
    terms: Terms,
    requirement: Requirement,
    finding: Finding,
    *,
    needs: Iterable[str],
    rules: Collection[str] = (),
    kubelet: str = "",
) -> Finding:
    """What a check said, in the light of what the cluster lacks and what is known."""
    lacking = terms.lacking(needs)
    if finding.verdict is Verdict.NOT_OBSERVED and lacking:
        verdict = Verdict.NOT_APPLICABLE if lacking.excuses else Verdict.NOT_OBSERVED
        return replace(finding, verdict=verdict, message=f"{finding.message}; {lacking}")
    if finding.verdict is Verdict.KNOWN_DIVERGENCE:
        known, words = terms.known(requirement, rules, kubelet)
        if known:
            return replace(finding, message=f"{finding.message} Known: {words}")
        if known is None:
            message = (
                f"{finding.message} Some releases are known for that, and which one this is is "
                f"not known: {words}"
            )
            return replace(finding, verdict=Verdict.NOT_OBSERVED, message=message)
        return replace(finding, verdict=Verdict.FAIL)
    return finding


def _running(story: Story) -> Mapping[tuple[str, str], list[Snapshot]]:
    """The snapshots of each moment and subject at which that ran."""
    found: dict[tuple[str, str], list[Snapshot]] = defaultdict(list)
    for snapshot in story.snapshots:
        subject = snapshot.vmi or snapshot.pod
        deleting = snapshot.vmi is not None and snapshot.vmi.deleting
        if snapshot.subject and subject and subject.phase == "Running" and not deleting:
            found[snapshot.moment, snapshot.subject].append(snapshot)
    return found
