"""From recorded evidence to findings, to a verdict, to the report document.

Pure but for reading no more than it is given: what a run showed at its end, the same
evidence shows on any other machine later.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import Check, registered
from conformance.collecting.bundle import Bundle, BundleError
from conformance.exits import Exit
from conformance.matrix.oracle import expect
from conformance.model.evidence import RawSnapshot, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.parsing.assemble import assemble
from conformance.pcpu_maps import nodes_of
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

_OF_THE_HARDWARE = frozenset({"smt", "numa"})
"""What hardware cannot show need not be observed; what we cannot look at must be."""


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

    def checks(self) -> Iterator[tuple[Requirement, Check]]:
        """The requirements of the profile with their checks, in the catalogue's order."""
        checks = registered()
        for requirement in self.catalogue.requirements:
            if self.profile in requirement.profiles and requirement.id in checks:
                yield requirement, checks[requirement.id]

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

        What settles is judged on the last one. Anything else must hold on each; where a
        neighbour came or went while it was looked at, the snapshots beside it still tell.

        Returns:
            The index of the snapshot that decides, -1 without any, and the finding.
        """
        first = len(snapshots) - 1 if check.settles else 0
        judged = [
            (index, self.judge(requirement, check, snapshots[index], expectation))
            for index in range(max(first, 0), len(snapshots))
        ]
        nothing = Finding(
            requirement.id,
            Verdict.NOT_OBSERVED,
            f"nothing was recorded at the moment “{check.moment}”",
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
            if check.moment != moment or self._lacking(requirement):
                continue
            verdict = self.decide(requirement, check, snapshots, expectation)[1].verdict
            if verdict is Verdict.NOT_OBSERVED or (check.settles and verdict is Verdict.FAIL):
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
        finding = check.judge(snapshot, expectation)
        lacking = self._lacking(requirement)
        if finding.verdict is Verdict.NOT_OBSERVED and lacking:
            shapeless = lacking[0] in _OF_THE_HARDWARE
            return replace(
                finding,
                verdict=Verdict.NOT_APPLICABLE if shapeless else Verdict.NOT_OBSERVED,
                message=f"{finding.message}; the cluster lacks {lacking[0]}: {lacking[1]}",
            )
        if finding.verdict is Verdict.KNOWN_DIVERGENCE:
            known = self._known(requirement, expectation)
            if known is None:
                return replace(finding, verdict=Verdict.FAIL)
            return replace(finding, message=f"{finding.message} Known: {known}")
        return finding

    def _lacking(self, requirement: Requirement) -> tuple[str, str] | None:
        """The first capability that a requirement needs and the cluster lacks, and why."""
        for name in requirement.needs:
            available, reason = self.capabilities.get(name, (True, ""))
            if not available:
                return name, reason
        return None

    def _known(self, requirement: Requirement, expectation: Expectation) -> str | None:
        """What the catalogue says of a divergence, None when it knows of none."""
        rules = expectation.refusal.rule.split("+") if expectation.refusal else []
        for known in requirement.known_divergences:
            if known.concerns(self.profile, rules):
                return f"{known.description} ({known.releases}; {known.reference})"
        return None


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
    expectation: Expectation
    snapshots: Sequence[tuple[str, RawSnapshot, Snapshot]]
    findings: Sequence[tuple[str, Finding]]


def judge(bundle: Bundle, *, interrupted: bool = False) -> report.Document:
    """The report of a run. Cases that were planned and left no evidence are not observed."""
    terms = terms_of(bundle.run)
    by_case: dict[str, list[tuple[str, RawSnapshot]]] = defaultdict(list)
    for path, raw in bundle.snapshots:
        by_case[raw.case].append((path, raw))
    cases = [
        _judge_case(terms, planned, by_case.get(planned["id"], ()))
        for planned in bundle.run["cases"]
    ]
    findings = tuple(
        _report_finding(path, finding) for case in cases for path, finding in case.findings
    )
    problems = tuple(
        report.Problem(problem.during, problem.message, problem.case, problem.node)
        for problem in bundle.problems
    )
    requirements = tuple(_requirements(terms, findings))
    run = bundle.run
    return report.Document(
        run=report.Run(**run["run"]),
        cluster=report.Cluster(**run["cluster"]),
        profile=run["profile"],
        matrix=run["matrix"],
        conclusion=_conclude(terms, findings, problems, interrupted=interrupted),
        counts=report.count(findings),
        requirements=requirements,
        cases=tuple(_report_case(case) for case in cases),
        findings=findings,
        nodes=nodes_of([facts for case in cases for _path, _raw, facts in case.snapshots]),
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
        findings.append((path, replace(finding, case=planned["id"])))
    return _Judged(
        planned["id"], planned["title"], planned["manifest"], expectation, snapshots, findings
    )


def _report_finding(path: str, finding: Finding) -> report.Finding:
    return report.Finding(
        requirement=finding.requirement,
        verdict=report.Verdict(finding.verdict),
        message=finding.message,
        compared=tuple(
            report.Compared(value.what, value.value, value.source) for value in finding.compared
        ),
        case=finding.case,
        scenario=finding.scenario,
        moment=finding.moment,
        node=finding.node,
        evidence=f"evidence/{path}" if path else "",
    )


def _requirements(terms: Terms, findings: Sequence[report.Finding]) -> Iterator[report.Requirement]:
    for requirement, _check in terms.checks():
        own = [finding for finding in findings if finding.requirement == requirement.id]
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


def _report_case(case: _Judged) -> report.Case:
    own = [_report_finding(path, finding) for path, finding in case.findings]
    return report.Case(
        id=case.id,
        title=case.title,
        manifest=case.manifest,
        expectation=summary(case.expectation),
        outcome=_outcome(case),
        verdict=report.worst(own),
    )


def summary(expectation: Expectation) -> dict[str, str]:
    """An expectation in a few words by aspect."""
    refusal = expectation.refusal
    if refusal is not None:
        return {
            "refused for": " or ".join(refusal.fields) or "any field",
            "rule": refusal.rule,
        }
    words = {
        "vCPUs": str(expectation.vcpus),
        "topology": f"{expectation.sockets}x{expectation.cores}x{expectation.threads}",
    }
    if not expectation.dedicated:
        return {"CPUs": "shared", **words}
    words["exclusive pCPUs"] = str(expectation.compute_cpus)
    if expectation.isolate_emulator:
        words["emulator pCPUs"] = str(expectation.emulator_cpus)
    if expectation.iothreads_policy != "none":
        words["IOThreads"] = expectation.iothreads_policy
    if expectation.sidecars:
        words["sidecars"] = ", ".join(sidecar.name for sidecar in expectation.sidecars)
    return words


def _outcome(case: _Judged) -> str:
    for _path, _raw, facts in case.snapshots:
        if facts.rejection is not None:
            fields = ", ".join(field for field, _message in facts.rejection.causes)
            return f"refused ({facts.rejection.code})" + (f" for {fields}" if fields else "")
        if facts.vmi is not None:
            where = f" on {facts.vmi.node}" if facts.vmi.node else ""
            return f"{facts.vmi.phase or 'admitted'}{where}"
    return "nothing was recorded"


def _conclude(
    terms: Terms,
    findings: Sequence[report.Finding],
    problems: Sequence[report.Problem],
    *,
    interrupted: bool,
) -> report.Conclusion:
    mandatory = {requirement.id for requirement, _ in terms.checks() if requirement.mandatory}
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
    if unseen or problems or not hard:
        reasons = [
            f"mandatory requirements could not be observed: {', '.join(unseen)}" if unseen else "",
            f"{problems[0].during} failed: {problems[0].message}" if problems else "",
            "" if hard else "nothing mandatory was judged",
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
