from collections.abc import Callable
from dataclasses import replace

from reports.compare import compare, lines, page
from reports.document import Document, Finding, Verdict

Example = Callable[[str], Document]


def named(document: Document) -> Document:
    found = tuple(replace(each, id=f"{each.requirement}@{each.case}") for each in document.findings)
    return replace(document, findings=found)


def of(document: Document, *findings: Finding) -> Document:
    return replace(document, findings=findings)


def one(verdict: Verdict, id: str = "PIN-XML@x") -> Finding:
    requirement, case = id.split("@")
    return Finding(requirement, verdict, "said", case=case, id=id)


def test_a_good_and_a_sabotaged_run_differ_by_the_sabotage(example: Example) -> None:
    good, bad = named(example("passing")), named(example("failing"))
    found = compare(good, bad)
    assert {f.id for cause in found.broke for f in cause.whole} == {
        "PIN-THREADS@topology-2x2x1",
        "EMU-ISOLATED@isolate-1x2x2",
    }
    assert (found.mended, found.unseen, found.new) == ((), (), ())
    assert found.exit_code == 1
    text = "\n".join(lines(found, "good", "bad"))
    assert "PIN-THREADS in topology-2x2x1" in text


def test_the_other_way_it_was_mended(example: Example) -> None:
    found = compare(named(example("failing")), named(example("passing")))
    assert found.broke == ()
    assert {f.requirement for f in found.mended} == {"PIN-THREADS", "EMU-ISOLATED"}
    assert found.exit_code == 0


def test_the_same_run_has_no_difference(example: Example) -> None:
    document = named(example("failing"))
    found = compare(document, document)
    assert (found.broke, found.unseen, found.setting, found.assignments) == ((), (), (), ())
    assert found.still
    assert found.exit_code == 0


def test_what_is_not_seen_any_more_is_told_and_no_failure(example: Example) -> None:
    document = example("passing")
    before = of(document, one(Verdict.PASS), one(Verdict.PASS, "CPU-COUNT@x"))
    after = of(document, one(Verdict.NOT_OBSERVED))
    found = compare(before, after)
    assert {f.id for f in found.unseen} == {"PIN-XML@x", "CPU-COUNT@x"}
    assert found.broke == ()
    assert found.exit_code == 2


def test_what_is_new_and_wrong_broke(example: Example) -> None:
    document = example("passing")
    found = compare(of(document), of(document, one(Verdict.FAIL)))
    assert [f.id for cause in found.broke for f in cause.whole] == ["PIN-XML@x"]
    assert found.exit_code == 1


def test_versions_and_settings_are_compared(example: Example) -> None:
    document = example("passing")
    assert document.setting is not None
    newer = replace(document, setting=replace(document.setting, kubevirt="v1.10.0"))
    (difference,) = compare(document, newer).setting
    assert (difference.what, difference.before, difference.after) == (
        "KubeVirt",
        "v1.9.0",
        "v1.10.0",
    )


def test_the_page_says_the_same_and_runs_nothing(example: Example) -> None:
    found = compare(named(example("passing")), named(example("failing")))
    text = page(found, "good <b>", "bad")
    for tag in ("<script", "<link", "<img", "<b>"):
        assert tag not in text
    assert "Something broke" in text
    assert "PIN-THREADS" in text
