"""A finding as the report has it: in one sentence, with a name that outlives the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from conformance.matrix.scenarios import SCENARIOS
from conformance.model.finding import Finding, Verdict
from conformance.model.vocabulary import EVERY_NODE
from reports import document as report
from reports.pattern import SENTENCE, digest, pattern, sentence, without_sources


def report_finding(
    path: str, finding: Finding, *, brief: bool, names: tuple[str, ...], said: dict[str, str]
) -> report.Finding:
    """The finding as a report has it.

    Args:
        path: the recording that it was judged on; empty without one.
        finding: as the judge says it.
        brief: leaves out what a finding that passed has compared.
        said: what was said before: what many say alike is kept once.
        names: of the workloads of its case, which differ from run to run.
    """
    passed = finding.verdict is Verdict.PASS
    message = said.setdefault(finding.message, finding.message)
    short = summary(finding)
    return report.Finding(
        requirement=finding.requirement,
        verdict=report.Verdict(finding.verdict),
        message=message,
        compared=tuple(
            report.Compared(value.what, value.value, value.source)
            for value in (() if brief and passed else finding.compared)
        ),
        case=finding.case,
        scenario=finding.scenario,
        moment=finding.moment,
        node=finding.node,
        evidence=_evidence(path),
        notes=tuple(said.setdefault(each, each) for each in finding.notes),
        summary=message if short == message else short,
        objections=finding.objections,
        look=finding.look,
        id=identity(finding),
        fingerprint="" if passed else _fingerprint(finding, names),
    )


@lru_cache(maxsize=16)
def _evidence(path: str) -> str:
    """The same text for all findings of a recording."""
    return f"evidence/{path}" if path else ""


def _fingerprint(finding: Finding, names: tuple[str, ...]) -> str:
    return digest(
        finding.requirement,
        finding.case or finding.scenario,
        finding.verdict.value,
        *dict.fromkeys(
            pattern(each, *names, finding.node) for each in finding.objections or (finding.message,)
        ),
    )


def identity(finding: Finding) -> str:
    """Its name, the same in every run of the same matrix: ``REQUIREMENT@CASE``.

    A scenario may judge one at several moments, and nodes are judged one by one:
    ``REQUIREMENT@CASE/MOMENT``, ``REQUIREMENT@CASE/NODE``.
    """
    case = finding.case or finding.scenario or "cluster"
    part = finding.moment if finding.scenario in SCENARIOS else ""
    part = finding.node if finding.moment == EVERY_NODE else part
    return f"{finding.requirement}@{case}" + (f"/{part}" if part else "")


def unlike(findings: Iterable[report.Finding]) -> list[report.Finding]:
    """The findings, those of one name counted: ``REQUIREMENT@CASE#2``."""
    seen: Counter[str] = Counter()
    found = []
    for each in findings:
        seen[each.id] += 1
        times = seen[each.id]
        found.append(replace(each, id=f"{each.id}#{times}") if times > 1 else each)
    return found


def summary(finding: Finding) -> str:
    """The finding in one sentence: of several objections the first, and how many more there are."""
    first, *more = finding.objections or (finding.message,)
    rest = f" (and {len(more)} more)" if more else ""
    return _in_short(first, SENTENCE - len(rest)) + rest


@lru_cache(maxsize=4096)
def _in_short(text: str, limit: int) -> str:
    """What many say alike is shortened, and kept, once."""
    return sentence(without_sources(text), limit).removesuffix(".")
