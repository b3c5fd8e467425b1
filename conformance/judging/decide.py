"""One requirement on what was recorded: which of several looks decides, and what it means here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from conformance.checks.registry import Check, Loop, StoryCheck, broken, registered
from conformance.checks.starting import STARTED, waits_for_room
from conformance.checks.turned_away import turned_away
from conformance.editions import labels
from conformance.judging.loops import told_unseen, unseen
from conformance.judging.terms import Terms
from conformance.matrix.scenarios import SCENARIOS
from conformance.model.evidence import Snapshot, Story
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.model.vocabulary import ABORTED, EVERY_NODE, RUNNING
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

    Each moment at which a VMI or pod ran is judged as any running one. A VMI that neither ran nor
    waited for room is not passed over: whether it starts is judged.
    """
    terms = terms.during(story.scenario)
    yield from judge_told(terms, story)
    for (moment, _subject), taken in _running(story).items():
        expectation = terms.expect(taken[0].manifest)
        for requirement, check in terms.applicable(expectation):
            if check.moment == RUNNING:
                finding = decide(terms, requirement, check, taken, expectation)[1]
                yield replace(finding, case=story.scenario, moment=moment)
    yield from _hanging(terms, story)


def _hanging(terms: Terms, story: Story) -> Iterator[Finding]:
    """RUN-STARTED of each VMI that was on its way at a moment, and did not run by its end."""
    check = registered()[STARTED]
    ran = _running(story)
    last = {(each.moment, each.subject): each for each in story.snapshots if _on_its_way(each)}
    for key, snapshot in last.items():
        expectation = terms.expect(snapshot.manifest)
        if key not in ran and check.applies(expectation) and terms.lacks(expectation) is None:
            requirement = terms.catalogue.requirement(STARTED)
            finding = judge(terms, requirement, check, snapshot, expectation)
            yield replace(finding, case=story.scenario)


def _on_its_way(snapshot: Snapshot) -> bool:
    found = snapshot.vmi
    if found is None or found.deleting or snapshot.moment == ABORTED:
        return False
    return found.phase != "Running" and not waits_for_room(snapshot)


def judge_told(terms: Terms, story: Story) -> Iterator[Finding]:
    """The requirements that it takes this scenario to show."""
    for requirement, check in terms.tales(story.scenario):
        needs = (*SCENARIOS[story.scenario].needs, *requirement.needs)
        finding = check.judge(story)
        if why := _may_settle(check, story, finding):
            finding = _not_settled(finding, why)
        finding = _final(terms, requirement, finding, needs=needs)
        yield replace(finding, scenario=story.scenario, case=story.scenario)


def unsettled_tales(terms: Terms, story: Story) -> list[str]:
    """Requirements of a scenario that are not kept now, and that another look may show to be."""
    return [
        requirement.id
        for requirement, check in terms.tales(story.scenario)
        if _may_settle(check, story, check.judge(story))
    ]


def _may_settle(check: StoryCheck, story: Story, finding: Finding) -> str | None:
    if check.settles is None or finding.verdict is not Verdict.FAIL or finding.final:
        return None
    return told_unseen(check.settles, check.judge, story, finding)


def _not_settled(finding: Finding, why: str) -> Finding:
    message = f"{finding.message} It was not settled when it was last looked at: {why}."
    return replace(finding, verdict=Verdict.NOT_OBSERVED, message=message)


def decide(
    terms: Terms,
    requirement: Requirement,
    check: Check,
    snapshots: Sequence[Snapshot],
    expectation: Expectation,
) -> tuple[int, Finding]:
    """One requirement on every snapshot of its moment, oldest first.

    What settles is judged on the last one, and on an earlier one that shows what may never
    be; what is wrong in the last one is broken when its loop has run since
    (`conformance.judging.loops`). Anything else must hold on each; where a neighbour came or went
    while it was looked at, the snapshots beside it still tell.
    A VMI that the cluster cannot run is not created, and nothing applies to it; of one of which
    nobody can say what must be seen, nothing is judged.

    Returns:
        The index of the snapshot that decides, -1 without any, and the finding.
    """
    # Whatever the API answers about a version that it does not serve says nothing.
    unserved = expectation.guest and terms.not_served
    asked = () if unserved or expectation.undecided is not None else snapshots
    # A torn look says nothing, not even that what was seen before has changed.
    whole = [index for index, snapshot in enumerate(asked) if not snapshot.torn]
    looks = {index: asked[index] for index in whole or range(len(asked))}
    judged = [
        (index, judge(terms, requirement, check, snapshot, expectation))
        for index, snapshot in looks.items()
    ]
    if not judged:
        return -1, _nothing(terms, requirement, check, snapshots, expectation)
    if check.settles:
        last = _settled(check, [*looks.values()], [finding for _index, finding in judged])
        judged = [*(each for each in judged[:-1] if each[1].final), (judged[-1][0], last)]
    return min(reversed(judged), key=lambda item: _DECISIVE_FIRST.index(item[1].verdict))


def _nothing(
    terms: Terms,
    requirement: Requirement,
    check: Check,
    snapshots: Sequence[Snapshot],
    expectation: Expectation,
) -> Finding:
    lacking = terms.lacks(expectation)
    return Finding(
        requirement.id,
        Verdict.NOT_APPLICABLE if lacking and lacking.known else Verdict.NOT_OBSERVED,
        str(lacking) if lacking else f"nothing was recorded at the moment “{check.moment}”",
        case=snapshots[0].case if snapshots else "",
        moment=check.moment,
    )


def unsettled(
    terms: Terms, snapshots: Sequence[Snapshot], expectation: Expectation, moment: str
) -> list[str]:
    """Requirements that another snapshot of the moment may still show to be kept.

    What is seen wrong once is looked at a second time, even where its loop has surely run. Labels
    of nodes are nobody's here: every node is looked at by itself.
    """
    found = []
    for requirement, check in _at(terms, expectation, moment):
        finding = decide(terms, requirement, check, snapshots, expectation)[1]
        wrong = finding.verdict is Verdict.FAIL and not finding.final
        once = wrong and check.settles not in (None, Loop.ARRIVAL) and len(snapshots) == 1
        if finding.verdict is Verdict.NOT_OBSERVED or once:
            found.append(requirement.id)
    return found


def settling(
    terms: Terms, snapshots: Sequence[Snapshot], expectation: Expectation, moment: str
) -> list[str]:
    """Requirements that are not kept at a moment, while their loop may still see to that."""
    found = []
    for requirement, check in _at(terms, expectation, moment):
        findings = [judge(terms, requirement, check, each, expectation) for each in snapshots]
        if findings and _settled(check, snapshots, findings) is not findings[-1]:
            found.append(requirement.id)
    return found


def _at(terms: Terms, expectation: Expectation, moment: str) -> Iterator[tuple[Requirement, Check]]:
    for requirement, check in terms.applicable(expectation):
        lack = terms.lacking(requirement.needs)
        # What was not asked may have been seen by others.
        if check.moment == moment and not check.nodes and (lack is None or lack.leave):
            yield requirement, check


def _settled(check: Check, snapshots: Sequence[Snapshot], findings: Sequence[Finding]) -> Finding:
    """The last finding of what settles; not observed where its loop was not seen to run since."""
    last = findings[-1]
    if check.settles is None or last.verdict is not Verdict.FAIL or last.final:
        return last
    try:
        why = unseen(check.settles, snapshots, findings)
    except ValueError as error:
        why = str(error)
    return _not_settled(last, why) if why else last


def settling_node(terms: Terms, looks: Sequence[Snapshot]) -> list[str]:
    """As `settling`, of looks at one node by itself, oldest first."""
    expectation = _of_nodes(terms)
    found = []
    for requirement, check in terms.checks():
        if _is_of_nodes(terms, check):
            findings = [judge(terms, requirement, check, each, expectation) for each in looks]
            if findings and _settled(check, looks, findings) is not findings[-1]:
                found.append(requirement.id)
    return found


def _of_nodes(terms: Terms) -> Expectation:
    return Expectation(labels=labels(terms.setting.kubevirt_release, terms.profile))


def _is_of_nodes(terms: Terms, check: Check) -> bool:
    return check.nodes or (check.whole_nodes and terms.found)


def judge_nodes(terms: Terms, taken: Sequence[Snapshot]) -> Iterator[tuple[int, Finding]]:
    """What is required of every node of a cluster, whoever runs there.

    Those of which everything was read show more than those of which only labels were.

    Args:
        terms: of the run.
        taken: snapshots of all nodes, oldest first.

    Yields:
        The index of the snapshot that decides, and the finding.
    """
    expectation = _of_nodes(terms)
    by_node: dict[str, list[int]] = defaultdict(list)
    for index, snapshot in enumerate(taken):
        by_node[snapshot.node.name if snapshot.node else ""].append(index)
    for requirement, check in terms.checks():
        if _is_of_nodes(terms, check):
            if not by_node:
                nothing = "no node was looked at by itself"
                yield 0, Finding(requirement.id, Verdict.NOT_OBSERVED, nothing, moment=EVERY_NODE)
            for places in by_node.values():
                looks = [taken[place] for place in places]
                index, finding = decide(terms, requirement, check, looks, expectation)
                yield places[index], replace(finding, scenario="")


def judge(
    terms: Terms,
    requirement: Requirement,
    check: Check,
    snapshot: Snapshot,
    expectation: Expectation,
) -> Finding:
    """One requirement on one snapshot."""
    try:
        finding = _judge(terms, requirement, check, snapshot, expectation)
    except Exception as error:
        finding = broken(requirement.id, error)
    node = snapshot.node.name if snapshot.node else ""
    return finding.at(snapshot.case, snapshot.scenario, snapshot.moment, node)


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
        here = snapshot.subject and snapshot.former is None
        if here and subject and subject.phase == "Running" and not deleting:
            found[snapshot.moment, snapshot.subject].append(snapshot)
    return found
