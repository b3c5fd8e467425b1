from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from lxml import etree

from reports import junit
from reports.document import Document, Outcome, Standing, Verdict

Example = Callable[[str], Document]


def test_it_is_valid(any_document: Document) -> None:
    xsd = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))
    xsd.assertValid(etree.fromstring(junit.render(any_document).encode()))


def rendered(document: Document) -> ET.Element:
    return ET.fromstring(junit.render(document))


def total(root: ET.Element, what: str) -> int:
    return sum(int(suite.get(what, "0")) for suite in root)


def test_a_suite_is_a_case_and_a_test_a_requirement(example: Example) -> None:
    document = example("passing")
    root = rendered(document)
    names = [suite.get("name") for suite in root]
    assert names == ["the run", *(case.id for case in document.cases)]
    assert total(root, "tests") == len(document.findings)
    assert total(root, "failures") == total(root, "errors") == 0
    assert total(root, "skipped") == document.counts[Verdict.NOT_APPLICABLE]


def test_a_failure_tells_what_was_compared_and_where_it_came_from(example: Example) -> None:
    root = rendered(example("failing"))
    assert total(root, "failures") == 2
    (failure,) = root.findall("testsuite[@name='topology-2x2x1']/testcase/failure")
    assert "vCPU 1" in failure.get("message", "")
    for part in ("3,7", "Cpus_allowed_list", "virDomainGetVcpuPinInfo", "evidence/"):
        assert part in (failure.text or "")


def test_a_known_divergence_is_skipped_and_says_so(example: Example) -> None:
    skipped = rendered(example("failing")).findall(".//skipped[@type='known-divergence']")
    assert [element.get("message", "")[:17] for element in skipped] == ["known divergence:"]


def test_what_was_not_observed_is_an_error(example: Example) -> None:
    document = example("inconclusive")
    root = rendered(document)
    expected = document.counts[Verdict.NOT_OBSERVED] + len(document.problems)
    assert total(root, "errors") == expected > 0


def test_a_run_that_is_not_conformant_never_looks_like_a_pass(example: Example) -> None:
    whole = example("passing")
    reason = "--insist asks for the whole."
    conclusion = replace(whole.conclusion, exit_code=2, outcome=Outcome.INCONCLUSIVE, reason=reason)
    root = rendered(replace(whole, conclusion=conclusion))
    assert (total(root, "failures"), total(root, "errors")) == (0, 1)
    (error,) = root.findall("testsuite[@name='the verdict']/testcase/error")
    assert error.get("message") == reason
    for name in ("passing", "failing", "inconclusive"):
        assert rendered(example(name)).find("testsuite[@name='the verdict']") is None


def test_several_moments_of_one_requirement_are_one_test_with_the_worst_verdict(
    example: Example,
) -> None:
    document = example("failing")
    failed = next(f for f in document.findings if f.verdict is Verdict.FAIL)
    later = replace(failed, verdict=Verdict.PASS, moment="deleted")
    root = rendered(replace(document, findings=(later, failed), requirements=()))
    (test,) = root.findall("testsuite/testcase")
    assert (test.get("name"), len(test.findall("failure"))) == (failed.requirement, 1)


def test_a_run_that_saw_nothing_has_errors_only(example: Example) -> None:
    document = example("interrupted")
    root = rendered(document)
    assert total(root, "errors") == total(root, "tests") == len(document.requirements)


def test_the_run_says_what_it_covers_and_what_was_judged(example: Example) -> None:
    document = example("failing")
    run = rendered(document)[0]
    said = {each.get("name"): each.get("value") for each in run.iter("property")}
    assert said["conclusion"] == "Not conformant"
    assert said["broken"] == "PIN-THREADS, EMU-ISOLATED"
    assert said["KubeVirt"] == "v1.9.0"
    assert said["Command"] == "conform run --cluster embedded"


def test_what_was_not_asked_is_skipped_and_says_why(example: Example) -> None:
    document = example("passing")
    first, *rest = document.requirements
    unasked = replace(
        first, verdict=Verdict.NOT_APPLICABLE, standing=Standing.NOT_ASKED, why="left out by -k 'x'"
    )
    findings = tuple(f for f in document.findings if f.requirement != first.id)
    root = rendered(replace(document, requirements=(unasked, *rest), findings=findings))
    (skipped,) = root.findall("testsuite[@name='requirements that no case judged']//skipped")
    assert skipped.get("message") == "not asked: left out by -k 'x'"
