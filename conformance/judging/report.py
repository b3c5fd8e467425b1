"""From the recorded evidence of a run to its report document.

What a run showed at its end, the same evidence shows on any other machine later.

Longer than 400 lines: every part of the document is put together here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from conformance.checks.starting import STARTED
from conformance.checks.turned_away import turned_away
from conformance.collecting.bundle import Bundle, BundleError
from conformance.collecting.last_words import logs
from conformance.collecting.snapshot import NODES
from conformance.editions import labels
from conformance.exits import Insist
from conformance.judging import history
from conformance.judging.conclude import Extent, conclude
from conformance.judging.coverage import Covered, cover
from conformance.judging.decide import decide, judge_nodes, judge_story
from conformance.judging.findings import report_finding, unlike
from conformance.judging.lives import lived, told
from conformance.judging.lost import read, withheld
from conformance.judging.maps import Maps
from conformance.judging.setting import described, libvirt_seen
from conformance.judging.stopped import excused
from conformance.judging.terms import Lack, Terms, terms_of
from conformance.judging.waivers import of_run
from conformance.judging.words import outcome, summary
from conformance.matrix.scenarios import SCENARIOS, Scenario
from conformance.model.evidence import RawSnapshot, Snapshot, Story
from conformance.model.finding import Finding, Verdict
from conformance.model.vocabulary import EVERY_NODE
from conformance.version import version
from reports import document as report

DETAILED_CASES = 2000
"""Cases above which the values compared by passing findings are left to the evidence: the report
of a hundred thousand VMIs would not fit into memory with them."""

Recorded = TypeVar("Recorded", report.Run, report.Cluster, report.Selection)

_MATTERS = (report.Verdict.FAIL, report.Verdict.ERROR, report.Verdict.NOT_OBSERVED)
"""Verdicts of cases whose maps are kept before those of others."""


def _cluster(recorded: Mapping[str, Any], nodes: Mapping[str, str]) -> report.Cluster:
    """What was judged, with what the evidence tells of its nodes."""
    cluster = _known(report.Cluster, recorded)
    return replace(cluster, nodes={**cluster.nodes, **nodes})


def _selection(recorded: Any) -> report.Selection:
    """What of the matrix was asked; former versions did not record it. Raises BundleError."""
    if recorded is None:
        return report.Selection()
    match recorded:
        case {"keyword": str(), "tests": list(tests), "shape": str(), "left_out": int(left_out)}:
            nodes = recorded.get("nodes", {})
            texts = [*tests, *nodes.values()] if isinstance(nodes, dict) else [None]
            if left_out >= 0 and all(isinstance(each, str) for each in texts):
                return replace(_known(report.Selection, recorded), tests=tuple(tests))
    raise BundleError(f"run.json: selection is not what was written: {recorded!r:.200}")


def _known(kind: type[Recorded], recorded: Mapping[str, Any]) -> Recorded:
    """What was recorded of one; former versions recorded more, or less, which is passed over."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: recorded[name] for name in names & recorded.keys()})


@dataclass(frozen=True)
class _Judged:
    """One case of the run with all that was made of it.

    Attributes:
        lacking: why the cluster cannot have it.
        barred: whether the cluster cannot run it, for that or another good reason.
    """

    id: str
    title: str
    manifest: Mapping[str, Any]
    expected: Mapping[str, str]
    snapshots: Sequence[tuple[str, RawSnapshot, Snapshot]]
    findings: Sequence[tuple[str, Finding]]
    scenario: str = ""
    lacking: Lack | None = None
    barred: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of everything that it was about."""
        found = (
            name
            for _path, _raw, facts in self.snapshots
            for each in (facts.vmi, facts.pod)
            if each is not None
            for name in (each.name, each.namespace)
        )
        return tuple(dict.fromkeys(found))


def judge(
    bundle: Bundle, *, interrupted: bool = False, insist: Insist | None = None
) -> report.Document:
    """The report of a run. Cases that were planned and left no evidence are not observed.

    One case is read at a time, and only what the report says of it is kept.

    Args:
        bundle: the evidence.
        interrupted: somebody stopped the run.
        insist: what a gate insists on, beside what decides anyway.

    Raises:
        BundleError: a file is missing or is not what was written.
    """
    terms = terms_of(bundle.run)
    planned = bundle.run["cases"]
    brief = len(planned) > DETAILED_CASES
    cases: list[report.Case] = []
    findings: list[report.Finding] = []
    broke: list[report.Problem] = []
    waivers = of_run(bundle.run)
    maps = Maps()
    libvirt: dict[str, None] = {}
    barred: set[str] = set()
    said: dict[str, str] = {}
    with _no_search_for_cycles():
        for case in _judged(terms, bundle, broke):
            names = case.names
            own = unlike(
                report_finding(
                    path,
                    _of_newer_form(finding, bundle.newer) if bundle.newer else finding,
                    brief=brief,
                    names=names,
                    said=said,
                )
                for path, finding in case.findings
            )
            own = list(map(waivers.apply, own))
            verdict = report.worst(own)
            matters = verdict in _MATTERS
            cases.append(_report_case(case, verdict, bundle, brief=brief and not matters))
            barred |= {case.id} if case.barred else set()
            findings += own
            wrong = {path for path, each in case.findings if each.verdict is Verdict.FAIL}
            maps.add(case.id, case.snapshots, matters=matters, judged=wrong)
            for _path, raw, _facts in case.snapshots:
                libvirt |= dict.fromkeys(libvirt_seen(raw))
    cases += _unjudged(bundle.run.get("unjudged", ()))
    problems = (
        *(
            report.Problem(problem.during, problem.message, problem.case, problem.node)
            for problem in bundle.problems
        ),
        *broke,
    )
    run = bundle.run
    selection = _selection(run.get("selection"))
    covered = cover(terms, findings, selection, str(run["matrix"]), barred)
    ids = [*(each["id"] for each in planned), *(run.get("scenarios") or ())]
    extent = Extent(
        judgements=sum(f.verdict is not report.Verdict.NOT_APPLICABLE for f in findings),
        planned=len(ids),
        seen=sum(each in bundle.snapshots for each in ids),
        partial=selection.partial,
        interrupted=interrupted,
    )
    return report.Document(
        run=replace(_known(report.Run, run["run"]), judged_by=version()),
        cluster=_cluster(run["cluster"], maps.descriptions()),
        profile=run["profile"],
        matrix=run["matrix"],
        conclusion=conclude(covered, problems, extent, insist, tuple(waivers.told())),
        counts=report.count(findings),
        requirements=tuple(_requirements(covered, findings)),
        cases=tuple(cases),
        findings=tuple(findings),
        nodes=maps.nodes(),
        problems=problems,
        faults=tuple(
            report.Fault(message, times) for message, times in Counter(bundle.faults).most_common()
        ),
        capabilities=tuple(
            report.Capability(name, available, reason)
            for name, (available, reason) in sorted(terms.capabilities.items())
        ),
        timings=report.Timings(
            run.get("phases", {}), {case.id: case.seconds for case in cases if case.phases}
        ),
        setting=described(terms.setting, tuple(sorted(libvirt))),
        selection=selection,
        waivers=tuple(waivers.told()),
        watches=tuple(told(bundle)),
    )


def _judged(terms: Terms, bundle: Bundle, broke: list[report.Problem]) -> Iterator[_Judged]:
    """Everything that was planned, judged one after the other: cases, then scenarios.

    What our own code breaks on costs the case, and is a problem of the run.
    """
    for planned in bundle.run["cases"]:
        case = planned["id"]
        try:
            judged = _judge_case(terms, planned, bundle)
        except Exception as error:
            broke.append(_broke(case, error))
            judged = _Judged(case, planned["title"], planned["manifest"], {}, (), ())
        yield judged
    for name in bundle.run.get("scenarios") or ():
        scenario = SCENARIOS.get(name)
        if scenario is None:
            broke.append(report.Problem("judging", f"this version knows no scenario {name!r:.100}"))
            continue
        try:
            judged = _judge_scenario(terms, scenario, bundle)
        except Exception as error:
            broke.append(_broke(name, error))
            judged = _Judged(name, scenario.title, {}, {"scenario": scenario.story}, (), (), name)
        yield judged
    if EVERY_NODE in terms.moments:
        audit = bundle.run.get("audit")
        for each in [NODES] if audit is None else audit["nodes"]:
            try:
                yield _judge_nodes(terms, bundle.snapshots.get(each, ()), each)
            except Exception as error:
                broke.append(_broke(each, error))


def _broke(case: str, error: Exception) -> report.Problem:
    return report.Problem("judging", f"{case} broke this tool: {error!r:.500}", case)


def _of_newer_form(finding: Finding, newer: int) -> Finding:
    """A failure may be none by what a newer format records."""
    if finding.verdict is not Verdict.FAIL:
        return finding
    why = f"but the evidence is of format {newer}, which this version does not know"
    return replace(finding, verdict=Verdict.NOT_OBSERVED, message=f"{finding.message}; {why}")


@contextlib.contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Judging makes none, and to look for them in all that a large report keeps takes a quarter
    of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _judge_case(terms: Terms, planned: Mapping[str, Any], bundle: Bundle) -> _Judged:
    expectation = terms.expect(planned["manifest"], planned.get("beside", ()))
    found = lived(read(bundle.snapshots.get(planned["id"], ())), bundle)
    findings = []
    for requirement, check in terms.applicable(expectation):
        taken = [
            (path, facts) for path, _raw, facts in found.snapshots if facts.moment == check.moment
        ]
        index, finding = decide(
            terms, requirement, check, [facts for _path, facts in taken], expectation
        )
        finding = withheld(finding, found.lost_at(check.moment), settles=bool(check.settles))
        path = taken[index][0] if taken else ""
        findings.append((path, finding if taken else replace(finding, case=planned["id"])))
    lacking = terms.lacks(expectation)
    return _Judged(
        planned["id"],
        planned["title"],
        planned["manifest"],
        summary(expectation),
        found.snapshots,
        excused(findings),
        lacking=lacking,
        barred=lacking is not None
        or any(turned_away(facts, expectation) for _path, _raw, facts in found.snapshots),
    )


def _judge_nodes(terms: Terms, recorded: Iterable[tuple[str, RawSnapshot]], case: str) -> _Judged:
    """The nodes by themselves, or one of them; that nobody looked at them is told as well."""
    found = read(recorded)
    snapshots = found.snapshots
    facts = [each for _path, _raw, each in snapshots]
    lost = [why for _moment, why in found.lost]
    return _Judged(
        case,
        "every node of the cluster, whoever runs there"
        if case == NODES
        else f"node {case.removeprefix(NODES + '/')} by itself, whoever runs there",
        {},
        {"nodes": "labelled as their CPU managers run"},
        snapshots,
        [
            (
                snapshots[index][0] if snapshots else "",
                replace(withheld(finding, lost, settles=True), case=case),
            )
            for index, finding in judge_nodes(terms, facts)
        ],
    )


def _judge_scenario(terms: Terms, scenario: Scenario, bundle: Bundle) -> _Judged:
    found = lived(read(bundle.snapshots.get(scenario.id, ())), bundle)
    snapshots = found.snapshots
    story = Story(
        scenario.id,
        terms.profile,
        tuple(facts for _path, _raw, facts in snapshots),
        labels(terms.setting.kubevirt_release, terms.profile),
    )
    why = [why for _moment, why in found.lost]
    last = {facts.moment: path for path, _raw, facts in snapshots}
    manifests = {facts.subject: raw.manifest for _path, raw, facts in snapshots if facts.subject}
    return _Judged(
        scenario.id,
        scenario.title,
        {"apiVersion": "v1", "kind": "List", "items": list(manifests.values())},
        {"scenario": scenario.story},
        snapshots,
        [
            # A story with a gap is another story.
            (last.get(finding.moment, ""), withheld(finding, why, settles=True))
            for finding in judge_story(terms, story)
        ],
        scenario.id,
    )


def _requirements(
    covered: Iterable[Covered], findings: Sequence[report.Finding]
) -> Iterator[report.Requirement]:
    by_requirement: dict[str, list[report.Finding]] = defaultdict(list)
    for finding in findings:
        by_requirement[finding.requirement].append(finding)
    for each in covered:
        requirement, own = each.requirement, by_requirement[each.requirement.id]
        yield report.Requirement(
            id=requirement.id,
            title=requirement.title,
            text=requirement.text,
            level=requirement.level,
            tier=requirement.tier,
            sources=tuple(map(str, requirement.sources)) or (requirement.derived or "",),
            # What no planned case is about was not asked, which is no lack of evidence.
            verdict=report.worst(own) if own else report.Verdict.NOT_APPLICABLE,
            counts=report.count(own),
            standing=each.standing,
            why=each.why,
            follows=requirement.follows,
            # What does not run shows nothing of what it would do.
            unseen_without=() if requirement.id == STARTED else (STARTED,),
        )


def _report_case(
    case: _Judged, verdict: report.Verdict, bundle: Bundle, *, brief: bool
) -> report.Case:
    looks = case.snapshots
    happened: tuple[report.Event, ...] = ()
    said: tuple[report.Quote, ...] = ()
    try:
        if not brief:
            happened = history.timeline(looks)
        if verdict in _MATTERS:
            said = history.last_words(looks, logs(bundle, case.id))
    except Exception as error:  # it is for people, and no verdict rests on it
        happened = (report.Event("", "report", f"there is no timeline: {error!r:.200}"),)
    return report.Case(
        id=case.id,
        title=case.title,
        manifest=case.manifest,
        expectation=case.expected,
        outcome=outcome([facts for _path, _raw, facts in looks], case.scenario, case.lacking),
        verdict=verdict,
        scenario=case.scenario,
        phases=history.phases(looks),
        targets=history.targets(looks),
        timeline=happened,
        last_words=said,
    )


def _unjudged(recorded: Iterable[Mapping[str, Any]]) -> Iterator[report.Case]:
    """What else was in the user's file."""
    for each in recorded:
        yield report.Case(
            id=each["what"],
            title=each["what"],
            manifest={},
            expectation={},
            outcome=f"not judged: {each['why']}",
            verdict=report.Verdict.NOT_APPLICABLE,
        )
