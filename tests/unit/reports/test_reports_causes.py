from collections.abc import Callable
from dataclasses import replace

from reports.by_hand import again, commands
from reports.causes import alike, causes
from reports.document import Document, Finding, Target, Verdict
from reports.pattern import pattern, sentence, without_sources

Example = Callable[[str], Document]


def failed(requirement: str, case: str, message: str = "said") -> Finding:
    return Finding(requirement, Verdict.FAIL, message, case=case)


def lost(requirement: str, case: str, message: str) -> Finding:
    return Finding(requirement, Verdict.NOT_OBSERVED, message, case=case)


def of(document: Document, *findings: Finding) -> Document:
    return replace(document, findings=findings)


def test_failures_of_different_requirements_stay_apart() -> None:
    findings = [failed(name, "x") for name in ("A", "B", "A")]
    assert [cause.requirements for cause in alike(findings, {})] == [("A",), ("B",)]


def test_what_was_lost_together_is_said_together() -> None:
    findings = [lost(name, case, "node died") for name in ("A", "B") for case in ("x", "y")]
    (cause,) = alike(findings, {})
    assert (cause.requirements, cause.places) == (("A", "B"), ("x", "y"))


def test_one_source_that_is_missing_is_one_cause_whatever_names_it_has() -> None:
    findings = [
        lost("PIN-XML", case, f"libvirt of {case} in pod virt-launcher-{case}-x1 does not answer")
        for case in ("a-1", "b-2", "c-3")
    ]
    assert len(alike(findings, {})) == 1


def test_another_reason_is_another_cause() -> None:
    findings = [lost("PIN-XML", "x", "libvirt does not answer"), lost("PIN-XML", "y", "no XML")]
    assert len(alike(findings, {})) == 2


def test_a_consequence_is_below_its_cause(example: Example) -> None:
    found = causes(of(example("passing"), failed("PIN-CGROUP", "x"), failed("PIN-XML", "x")))
    (cause,) = found
    assert cause.requirements == ("PIN-XML",)
    assert [each.requirements for each in cause.consequences] == [("PIN-CGROUP",)]


def test_what_fails_elsewhere_too_is_no_consequence(example: Example) -> None:
    document = of(
        example("passing"),
        failed("PIN-XML", "x"),
        failed("PIN-CGROUP", "x"),
        failed("PIN-CGROUP", "y"),
    )
    assert sorted(cause.requirements for cause in causes(document)) == [
        ("PIN-CGROUP",),
        ("PIN-XML",),
    ]


def test_what_did_not_run_explains_what_was_not_seen_of_it(example: Example) -> None:
    document = of(
        example("passing"), lost("GUEST-VCPUS", "x", "no console"), failed("RUN-STARTED", "x")
    )
    (cause,) = causes(document)
    assert cause.requirements == ("RUN-STARTED",)
    assert len(cause.whole) == 2


def test_a_failure_is_never_below_what_was_not_observed(example: Example) -> None:
    document = of(example("passing"), lost("PIN-XML", "x", "gone"), failed("PIN-CGROUP", "x"))
    assert [cause.requirements for cause in causes(document)] == [("PIN-CGROUP",), ("PIN-XML",)]


def test_what_failed_is_no_consequence_of_a_vmi_that_does_not_run(example: Example) -> None:
    document = of(example("passing"), failed("PIN-XML", "x"), failed("RUN-STARTED", "x"))
    assert len(causes(document)) == 2


def test_what_follows_from_what_is_read_from_the_document_alone(example: Example) -> None:
    document = of(example("passing"), failed("PIN-CGROUP", "x"), failed("PIN-XML", "x"))
    silent = tuple(replace(each, follows=()) for each in document.requirements)
    assert len(causes(replace(document, requirements=silent))) == 2


def test_a_circle_of_a_document_loses_and_repeats_nothing(example: Example) -> None:
    around = {"PIN-XML": ("PIN-CGROUP",), "PIN-LIVE": ("PIN-XML",), "PIN-CGROUP": ("PIN-LIVE",)}
    document = example("passing")
    document = replace(
        of(document, *(failed(name, "x") for name in around)),
        requirements=tuple(
            replace(each, follows=around.get(each.id, ())) for each in document.requirements
        ),
    )
    (cause,) = causes(document)
    assert sorted(each.requirement for each in cause.whole) == sorted(around)


def test_no_finding_is_lost_in_grouping(example: Example) -> None:
    document = example("inconclusive")
    wrong = [f for f in document.findings if f.verdict is Verdict.NOT_OBSERVED]
    grouped = [f for cause in causes(document) for f in cause.whole]
    assert sorted(map(id, wrong)) == sorted(map(id, grouped))


def test_patterns_forget_what_differs_from_run_to_run() -> None:
    one = pattern("vCPU 0 of vmi-a may run on 2-3,7 (/proc/10/task/11/status)", "vmi-a")
    other = pattern("vCPU 12 of vmi-b may run on 5 (/proc/9/task/1/status)", "vmi-b")
    assert one == other
    assert pattern("vmi-a is Pending", "vmi-a") != pattern("vmi-a is Failed", "vmi-a")


def test_a_sentence_has_its_length_and_says_that_it_was_cut() -> None:
    assert sentence("short") == "short"
    long = sentence("word " * 100)
    assert len(long) <= 200
    assert long.endswith("…")
    assert (
        without_sources("it is 2 (/proc/1/status x), not 3 (really)") == "it is 2, not 3 (really)"
    )


def test_the_command_repeats_one_case_alone(example: Example) -> None:
    document = example("failing")
    run = replace(document.run, command="conform run --cluster kind -k isolate --matrix standard")
    command = again(replace(document, run=run), "isolate-io")
    assert command == "./conform run --cluster kind --matrix standard -k '[isolate-io]'"
    assert again(replace(document, run=replace(run, command="")), "isolate-io") == ""
    assert again(replace(document, run=run), "a case' ; rm -rf /") == ""


def test_kubectl_is_for_real_clusters(example: Example) -> None:
    document = example("failing")
    case = replace(document.cases[0], targets=(Target("ns", "vmi", "pod", "node-1"),))
    finding = failed("PIN-THREADS", case.id)
    assert commands(document, case, finding) == []
    real = replace(document, cluster=replace(document.cluster, provider="existing"))
    found = "\n".join(commands(real, case, finding))
    assert "kubectl -n ns exec pod -c compute -- virsh vcpupin 1" in found
