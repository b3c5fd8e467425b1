"""The report as JUnit XML, in the form that pytest writes and Jenkins and GitLab read.

A test suite is a case, a test is a requirement judged on it. A requirement that was not
observed is an error, not a skip: it must never look harmless. A known divergence is skipped,
since the catalogue expects it, and its message says so. The first suite has no tests: its
properties say what was judged and what the verdict covers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from reports.document import Document, Finding, Problem, Requirement, Verdict, worst
from reports.wording import (
    STANDINGS,
    coverage,
    headline,
    one_line,
    place,
    printable,
    setting_facts,
    shortened,
    words,
    worst_first,
)

_RESULT = {
    Verdict.FAIL: "failure",
    Verdict.ERROR: "error",
    Verdict.NOT_OBSERVED: "error",
    Verdict.WAIVED: "skipped",
    Verdict.KNOWN_DIVERGENCE: "skipped",
    Verdict.NOT_APPLICABLE: "skipped",
}
_TROUBLE = frozenset({"failure", "error"})
_CLUSTER = "cluster"


def render(document: Document) -> str:
    """The document as the text of a ``junit.xml``."""
    groups: dict[str, dict[str, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in document.findings:
        group = finding.case or finding.scenario or _CLUSTER
        groups[group][finding.requirement].append(finding)
    titles = {requirement.id: requirement.title for requirement in document.requirements}

    phases = {case.id: case.phases for case in document.cases}
    root = ET.Element("testsuites", name="cpu-conformance")
    _run(root, document)
    for group, by_requirement in groups.items():
        suite = _suite(root, document, group, document.timings.cases.get(group), phases.get(group))
        for name, findings in by_requirement.items():
            test = _test(suite, group, f"{name} {titles.get(name, '')}".strip())
            _judged(test, findings)
    judged = {finding.requirement for finding in document.findings}
    unjudged = [r for r in document.requirements if r.id not in judged]
    if unjudged:
        suite = _suite(root, document, "requirements that no case judged", None)
        for requirement in unjudged:
            _unjudged(
                _test(suite, "unjudged", f"{requirement.id} {requirement.title}"), requirement
            )
    if document.problems:
        suite = _suite(root, document, "problems", None)
        for number, problem in enumerate(document.problems, start=1):
            _broke(_test(suite, "problems", f"{number} {problem.during}"), problem)
    if document.conclusion.exit_code and not any(each.tag in _TROUBLE for each in root.iter()):
        # Such as of --insist: what was judged is right, and not all was.
        reason = document.conclusion.reason
        suite = _suite(root, document, "the verdict", None)
        _result(
            _test(suite, "verdict", headline(document.conclusion)), Verdict.ERROR, reason, reason
        )
    for suite in root:
        _count(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _run(root: ET.Element, document: Document) -> None:
    suite = _suite(root, document, "the run", document.run.seconds)
    properties = suite.find("properties")
    assert properties is not None
    facts = [
        ("conclusion", headline(document.conclusion)),
        ("reason", document.conclusion.reason),
        *((STANDINGS[s], which) for s, _number, which in coverage(document.requirements)),
        *setting_facts(document),
    ]
    for name, value in facts:
        ET.SubElement(properties, "property", name=one_line(name), value=one_line(value))


def _suite(
    root: ET.Element,
    document: Document,
    name: str,
    seconds: float | None,
    phases: Mapping[str, float] | None = None,
) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=one_line(name))
    suite.set("timestamp", one_line(document.run.started))
    suite.set("time", f"{seconds or 0:.3f}")
    cluster = document.cluster
    properties = ET.SubElement(suite, "properties")
    for key, value in {
        "provider": cluster.provider,
        "stack": cluster.stack,
        "simulation": str(cluster.simulation).lower(),
        "profile": document.profile,
        "run": document.run.id,
        **{f"seconds {phase}": f"{taken:.1f}" for phase, taken in (phases or {}).items()},
    }.items():
        ET.SubElement(properties, "property", name=key, value=one_line(value))
    return suite


def _test(suite: ET.Element, group: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=one_line(group), name=one_line(name))


def _judged(test: ET.Element, findings: Sequence[Finding]) -> None:
    verdict = worst(findings)
    if verdict is Verdict.PASS:
        return
    ordered = [f for f in worst_first(findings) if f.verdict is not Verdict.PASS]
    message = ordered[0].summary or ordered[0].message
    if verdict is Verdict.KNOWN_DIVERGENCE:
        message = f"known divergence: {message}"
    if verdict is Verdict.WAIVED:
        message = f"{ordered[0].look} {message}"
    _result(test, verdict, message, "\n\n".join(_text(finding) for finding in ordered))


def _unjudged(test: ET.Element, requirement: Requirement) -> None:
    if requirement.verdict is not Verdict.PASS:
        why = requirement.why or "no case judged it"
        message = f"{STANDINGS[requirement.standing]}: {why}"
        _result(test, requirement.verdict, message, requirement.text)


def _broke(test: ET.Element, problem: Problem) -> None:
    where = ", ".join(part for part in (problem.case, problem.node) if part)
    _result(test, Verdict.ERROR, problem.message, f"{problem.message}\n{where}".strip())


def _result(test: ET.Element, verdict: Verdict, message: str, text: str) -> None:
    result = ET.SubElement(test, _RESULT[verdict], type=verdict.value, message=shortened(message))
    result.text = printable(text)


def _text(finding: Finding) -> str:
    lines = [f"{words(finding.verdict)} ({place(finding)}): {finding.message}"]
    width = max((len(compared.what) for compared in finding.compared), default=0)
    lines += [f"  {c.what:<{width}}  {c.value}  [{c.source}]" for c in finding.compared]
    lines += [f"  note: {note}" for note in finding.notes]
    if finding.id:
        kind = f", fingerprint {finding.fingerprint}" if finding.fingerprint else ""
        lines.append(f"  finding: {finding.id}{kind}")
    if finding.evidence:
        lines.append(f"  evidence: {finding.evidence}")
    return "\n".join(lines)


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
