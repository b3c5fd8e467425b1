"""From recorded evidence to findings, to a verdict, to the report document.

Pure but for reading no more than it is given: what a run showed at its end, the same
evidence shows on any other machine later.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.alignment import turned_away
from conformance.checks.registry import Check, StoryCheck, registered, stories
from conformance.collecting.bundle import Bundle, BundleError
from conformance.exits import Exit
from conformance.matrix.oracle import expect
from conformance.matrix.scenarios import SCENARIOS, Scenario
from conformance.model.evidence import RawSnapshot, Snapshot, Story
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.parsing.assemble import assemble
from conformance.pcpu_maps import Maps
from conformance.requirements.catalogue import Catalogue, Requirement, catalogue
from reports import document as report

_DECISIVE_FIRST = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.KNOWN_DIVERGENCE,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
    Verdict.NOT_OBSERVED,
)
"""Of several snapshots of one moment: a violation in any counts, an observation in any is one."""

_OFFERED = frozenset({"disruption", "hugepages", "kubelet-control", "unlabelled-node"})
_EXCUSES = frozenset({"smt", "numa"}) | _OFFERED
"""What a cluster need not have: hardware, pages that are set apart, a second kind of node, leave
to disturb it. What we cannot look at is no excuse: that must be observed."""
_NOT_OFFERED = (False, "this kind of cluster does not offer it")

DETAILED_CASES = 2000
"""Cases above which the values compared by passing findings are left to the evidence: the report
of a hundred thousand VMIs would not fit into memory with them."""

_MATTERS = (report.Verdict.FAIL, report.Verdict.ERROR, report.Verdict.NOT_OBSERVED)
"""Verdicts of cases whose maps are kept before those of others."""


@dataclass(frozen=True)
class Terms:
    """What a run is judged by.

    Attributes:
        capabilities: by name, (available, reason).
        moments: at which evidence was taken.
    """

    profile: str
    capabilities: Mapping[str, tuple[bool, str]]
    moments: frozenset[str] = frozenset({"running", "refused", "deleted"})

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every requirement."""
        return catalogue()

    def requirements(self) -> Iterator[Requirement]:
        """Those of the profile, in the catalogue's order."""
        return iter(self.catalogue.of_profile(self.profile))

    def checks(self) -> Iterator[tuple[Requirement, Check]]:
        """Those that are judged on single snapshots, with their checks."""
        return iter(self._checks)

    @cached_property
    def _checks(self) -> tuple[tuple[Requirement, Check], ...]:
        checks = registered()
        return tuple(
            (requirement, checks[requirement.id])
            for requirement in self.requirements()
            if requirement.id in checks
        )

    def tales(self, scenario: str) -> Iterator[tuple[Requirement, StoryCheck]]:
        """The requirements of the profile that a scenario shows, with their checks."""
        for requirement in self.requirements():
            for check in stories():
                if (check.requirement, check.scenario) == (requirement.id, scenario):
                    yield requirement, check

    def judge_story(self, story: Story) -> Iterator[Finding]:
        """Everything that a scenario shows: its own requirements, then those of any VMI.

        Each moment at which a VMI or pod ran is judged as any running one.
        """
        yield from self.judge_told(story)
        for (moment, _subject), taken in _running(story).items():
            expectation = expect(taken[0].manifest, self.profile)
            for requirement, check in self.applicable(expectation):
                if check.moment == "running":
                    finding = self.decide(requirement, check, taken, expectation)[1]
                    yield replace(finding, case=story.scenario, moment=moment)

    def judge_told(self, story: Story, *, settling: bool = False) -> Iterator[Finding]:
        """The requirements that it takes this scenario to show; only those that may settle."""
        for requirement, check in self.tales(story.scenario):
            if settling and not check.settles:
                continue
            needs = (*SCENARIOS[story.scenario].needs, *requirement.needs)
            finding = self._final(requirement, check.judge(story), needs=needs)
            yield replace(finding, scenario=story.scenario, case=story.scenario)

    def lacks(self, needs: Iterable[str]) -> str | None:
        """Why a scenario or a case cannot be had on this cluster; None when it can."""
        lacking = self._lacking(needs)
        return f"the cluster lacks {lacking[0]}: {lacking[1]}" if lacking else None

    def applicable(self, expectation: Expectation) -> Iterator[tuple[Requirement, Check]]:
        """Those that have something to say about a case."""
        return (
            (requirement, check)
            for requirement, check in self.checks()
            if check.moment in self.moments and check.applies(expectation)
        )

    def decide(
        self,
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
            (index, self.judge(requirement, check, snapshot, expectation))
            for index, snapshot in enumerate(snapshots)
        ]
        if check.settles:
            judged = [each for each in judged[:-1] if each[1].final] + judged[-1:]
        lacking = self.lacks(expectation.needs)
        nothing = Finding(
            requirement.id,
            Verdict.NOT_APPLICABLE if lacking else Verdict.NOT_OBSERVED,
            lacking or f"nothing was recorded at the moment “{check.moment}”",
            moment=check.moment,
        )
        return min(
            reversed(judged),
            key=lambda item: _DECISIVE_FIRST.index(item[1].verdict),
            default=(-1, nothing),
        )

    def unsettled(
        self, snapshots: Sequence[Snapshot], expectation: Expectation, moment: str
    ) -> list[str]:
        """Requirements that another snapshot of the moment may still show to be kept."""
        found = []
        for requirement, check in self.applicable(expectation):
            if check.moment != moment or self._lacking(requirement.needs):
                continue
            finding = self.decide(requirement, check, snapshots, expectation)[1]
            broken = finding.verdict is Verdict.FAIL and check.settles and not finding.final
            if finding.verdict is Verdict.NOT_OBSERVED or broken:
                found.append(requirement.id)
        return found

    def judge(
        self, requirement: Requirement, check: Check, snapshot: Snapshot, expectation: Expectation
    ) -> Finding:
        """One requirement on one snapshot."""
        finding = self._judge(requirement, check, snapshot, expectation)
        return replace(
            finding,
            case=snapshot.case,
            scenario=snapshot.scenario,
            moment=snapshot.moment,
            node=snapshot.node.name if snapshot.node else "",
        )

    def _judge(
        self, requirement: Requirement, check: Check, snapshot: Snapshot, expectation: Expectation
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
        return self._final(
            requirement,
            check.judge(snapshot, expectation),
            needs=requirement.needs,
            rules=refusal.rule.split("+") if refusal else (),
        )

    def _final(
        self,
        requirement: Requirement,
        finding: Finding,
        *,
        needs: Iterable[str],
        rules: Collection[str] = (),
    ) -> Finding:
        """What a check said, in the light of what the cluster lacks and what is known."""
        lacking = self._lacking(needs)
        if finding.verdict is Verdict.NOT_OBSERVED and lacking:
            excused = lacking[0] in _EXCUSES
            return replace(
                finding,
                verdict=Verdict.NOT_APPLICABLE if excused else Verdict.NOT_OBSERVED,
                message=f"{finding.message}; the cluster lacks {lacking[0]}: {lacking[1]}",
            )
        if finding.verdict is Verdict.KNOWN_DIVERGENCE:
            known = self._known(requirement, rules)
            if known is None:
                return replace(finding, verdict=Verdict.FAIL)
            return replace(finding, message=f"{finding.message} Known: {known}")
        return finding

    def _lacking(self, needs: Iterable[str]) -> tuple[str, str] | None:
        """The first needed capability that the cluster lacks, and why."""
        for name in needs:
            default = _NOT_OFFERED if name in _OFFERED else (True, "")
            available, reason = self.capabilities.get(name, default)
            if not available:
                return name, reason
        return None

    def _known(self, requirement: Requirement, rules: Collection[str]) -> str | None:
        """What the catalogue says of a divergence, None when it knows of none."""
        for known in requirement.known_divergences:
            if known.concerns(self.profile, rules):
                return f"{known.description} ({known.releases}; {known.reference})"
        return None


def _cluster(recorded: Mapping[str, Any], nodes: Mapping[str, str]) -> report.Cluster:
    """What was judged, with what the evidence tells of its nodes.

    Former versions recorded more of a cluster, which is passed over.
    """
    known = {field.name for field in fields(report.Cluster)}
    cluster = report.Cluster(**{key: recorded[key] for key in known & recorded.keys()})
    return replace(cluster, nodes={**cluster.nodes, **nodes})


def _running(story: Story) -> Mapping[tuple[str, str], list[Snapshot]]:
    """The snapshots of each moment and subject at which that ran."""
    found: dict[tuple[str, str], list[Snapshot]] = defaultdict(list)
    for snapshot in story.snapshots:
        subject = snapshot.vmi or snapshot.pod
        deleting = snapshot.vmi is not None and snapshot.vmi.deleting
        if snapshot.subject and subject and subject.phase == "Running" and not deleting:
            found[snapshot.moment, snapshot.subject].append(snapshot)
    return found


def terms_of(run: Mapping[str, Any]) -> Terms:
    """The terms under which a run was recorded. Raises BundleError."""
    missing = {"run", "cluster", "profile", "matrix", "moments", "capabilities", "cases"} - set(run)
    if missing:
        raise BundleError(f"run.json lacks {', '.join(sorted(missing))}: is it of this version?")
    capabilities = {
        name: (bool(item["available"]), str(item["reason"]))
        for name, item in run["capabilities"].items()
    }
    return Terms(run["profile"], capabilities, frozenset(run["moments"]))


@dataclass(frozen=True)
class _Judged:
    """One case of the run with all that was made of it."""

    id: str
    title: str
    manifest: Mapping[str, Any]
    expected: Mapping[str, str]
    snapshots: Sequence[tuple[str, RawSnapshot, Snapshot]]
    findings: Sequence[tuple[str, Finding]]
    scenario: str = ""
    lacking: str | None = None


def judge(bundle: Bundle, *, interrupted: bool = False) -> report.Document:
    """The report of a run. Cases that were planned and left no evidence are not observed.

    One case is read at a time, and only what the report says of it is kept.

    Raises:
        BundleError: a file is missing or is not what was written.
    """
    terms = terms_of(bundle.run)
    planned = bundle.run["cases"]
    cases: list[report.Case] = []
    findings: list[report.Finding] = []
    maps = Maps()
    with _no_search_for_cycles():
        for case in _judged(terms, bundle):
            own = [
                _report_finding(path, finding, brief=len(planned) > DETAILED_CASES)
                for path, finding in case.findings
            ]
            verdict = report.worst(own)
            cases.append(_report_case(case, verdict))
            findings += own
            for _path, _raw, facts in case.snapshots:
                maps.add(facts, matters=verdict in _MATTERS)
    problems = tuple(
        report.Problem(problem.during, problem.message, problem.case, problem.node)
        for problem in bundle.problems
    )
    requirements = tuple(_requirements(terms, findings))
    run = bundle.run
    return report.Document(
        run=report.Run(**run["run"]),
        cluster=_cluster(run["cluster"], maps.descriptions()),
        profile=run["profile"],
        matrix=run["matrix"],
        conclusion=_conclude(terms, findings, problems, interrupted=interrupted),
        counts=report.count(findings),
        requirements=requirements,
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
        timings=report.Timings(run.get("phases", {}), run.get("seconds", {})),
    )


def _judged(terms: Terms, bundle: Bundle) -> Iterator[_Judged]:
    """Everything that was planned, judged one after the other: cases, then scenarios."""
    for planned in bundle.run["cases"]:
        yield _judge_case(terms, planned, bundle.snapshots.get(planned["id"], ()))
    for name in bundle.run.get("scenarios", ()):
        yield _judge_scenario(terms, SCENARIOS[name], bundle.snapshots.get(name, ()))


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


def _judge_case(
    terms: Terms, planned: Mapping[str, Any], recorded: Iterable[tuple[str, RawSnapshot]]
) -> _Judged:
    expectation = expect(planned["manifest"], terms.profile)
    snapshots = [(path, raw, assemble(raw)) for path, raw in recorded]
    findings = []
    for requirement, check in terms.applicable(expectation):
        taken = [(path, facts) for path, _raw, facts in snapshots if facts.moment == check.moment]
        index, finding = terms.decide(
            requirement, check, [facts for _path, facts in taken], expectation
        )
        path = taken[index][0] if taken else ""
        findings.append((path, finding if taken else replace(finding, case=planned["id"])))
    return _Judged(
        planned["id"],
        planned["title"],
        planned["manifest"],
        summary(expectation),
        snapshots,
        findings,
        lacking=terms.lacks(expectation.needs),
    )


def _judge_scenario(
    terms: Terms, scenario: Scenario, recorded: Iterable[tuple[str, RawSnapshot]]
) -> _Judged:
    snapshots = [(path, raw, assemble(raw)) for path, raw in recorded]
    story = Story(scenario.id, terms.profile, tuple(facts for _path, _raw, facts in snapshots))
    last = {facts.moment: path for path, _raw, facts in snapshots}
    manifests = {facts.subject: raw.manifest for _path, raw, facts in snapshots if facts.subject}
    return _Judged(
        scenario.id,
        scenario.title,
        {"apiVersion": "v1", "kind": "List", "items": list(manifests.values())},
        {"story": scenario.story},
        snapshots,
        [(last.get(finding.moment, ""), finding) for finding in terms.judge_story(story)],
        scenario.id,
    )


def _report_finding(path: str, finding: Finding, *, brief: bool) -> report.Finding:
    kept = brief and finding.verdict is Verdict.PASS
    return report.Finding(
        requirement=finding.requirement,
        verdict=report.Verdict(finding.verdict),
        message=finding.message,
        compared=tuple(
            report.Compared(value.what, value.value, value.source)
            for value in (() if kept else finding.compared)
        ),
        case=finding.case,
        scenario=finding.scenario,
        moment=finding.moment,
        node=finding.node,
        evidence=f"evidence/{path}" if path else "",
    )


def _requirements(terms: Terms, findings: Sequence[report.Finding]) -> Iterator[report.Requirement]:
    by_requirement: dict[str, list[report.Finding]] = defaultdict(list)
    for finding in findings:
        by_requirement[finding.requirement].append(finding)
    for requirement in terms.requirements():
        own = by_requirement[requirement.id]
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
        )


def _report_case(case: _Judged, verdict: report.Verdict) -> report.Case:
    return report.Case(
        id=case.id,
        title=case.title,
        manifest=case.manifest,
        expectation=case.expected,
        outcome=_outcome(case),
        verdict=verdict,
        scenario=case.scenario,
    )


def summary(expectation: Expectation) -> dict[str, str]:
    """An expectation in a few words by aspect."""
    refusal = expectation.refusal
    if refusal is not None:
        return {
            "refused for": " or ".join(refusal.fields) or "any field",
            "rule": refusal.rule,
        }
    words = {}
    if expectation.guest:
        words["vCPUs"] = str(expectation.vcpus)
        words["topology"] = f"{expectation.sockets}x{expectation.cores}x{expectation.threads}"
    if not expectation.dedicated:
        return {"CPUs": "shared", **words}
    words["exclusive pCPUs"] = str(expectation.compute_cpus)
    if expectation.isolate_emulator:
        words["emulator pCPUs"] = str(expectation.emulator_cpus)
    if expectation.iothreads_policy != "none":
        words["IOThreads"] = expectation.iothreads_policy
    if expectation.sidecars:
        words["sidecars"] = ", ".join(sidecar.name for sidecar in expectation.sidecars)
    if expectation.numa_passthrough:
        words["NUMA nodes"] = "those of its pCPUs"
    return words


def _outcome(case: _Judged) -> str:
    if case.scenario:
        moments = dict.fromkeys(facts.moment for _path, _raw, facts in case.snapshots)
        return f"told as far as “{list(moments)[-1]}”" if moments else "not told"
    for _path, _raw, facts in case.snapshots:
        if facts.rejection is not None:
            fields = ", ".join(field for field, _message in facts.rejection.causes)
            return f"refused ({facts.rejection.code})" + (f" for {fields}" if fields else "")
        if seen := facts.vmi or facts.pod:
            where = f" on {seen.node}" if seen.node else ""
            return f"{seen.phase or 'admitted'}{where}"
    return f"not created: {case.lacking}" if case.lacking else "nothing was recorded"


def _conclude(
    terms: Terms,
    findings: Sequence[report.Finding],
    problems: Sequence[report.Problem],
    *,
    interrupted: bool,
) -> report.Conclusion:
    mandatory = {each.id for each in terms.requirements() if each.mandatory}
    hard = [finding for finding in findings if finding.requirement in mandatory]

    def of(*verdicts: report.Verdict) -> list[str]:
        return sorted({f.requirement for f in hard if f.verdict in verdicts})

    failed = of(report.Verdict.FAIL)
    unseen = of(report.Verdict.NOT_OBSERVED, report.Verdict.ERROR)
    if interrupted:
        return report.Conclusion(
            report.Outcome.INTERRUPTED,
            f"The run was interrupted; {len(failed)} requirements had failed so far.",
            Exit.INTERRUPTED,
        )
    if failed:
        return report.Conclusion(
            report.Outcome.NOT_CONFORMANT,
            f"Mandatory requirements were broken: {', '.join(failed)}.",
            Exit.NOT_CONFORMANT,
        )
    # What does not apply is no evidence of anything.
    judged = [finding for finding in hard if finding.verdict is not report.Verdict.NOT_APPLICABLE]
    if unseen or problems or not judged:
        reasons = [
            f"mandatory requirements could not be observed: {', '.join(unseen)}" if unseen else "",
            f"{problems[0].during} failed: {problems[0].message}" if problems else "",
            "" if judged else "nothing mandatory was judged",
        ]
        text = "; ".join(filter(None, reasons)).rstrip(".")
        return report.Conclusion(
            report.Outcome.INCONCLUSIVE, text[0].upper() + text[1:] + ".", Exit.INCONCLUSIVE
        )
    return report.Conclusion(
        report.Outcome.CONFORMANT,
        f"Every mandatory requirement was observed and kept, in {len(hard)} judgements.",
        Exit.CONFORMANT,
    )
