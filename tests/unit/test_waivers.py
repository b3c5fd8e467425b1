"""Waivers: what they allow is counted apart and shown everywhere; an expired one allows nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from conformance.collecting import bundle
from conformance.exits import Insist
from conformance.judging import waivers
from conformance.judging.report import judge
from conformance.judging.waivers import Waived
from reports import form, junit, markdown, write
from reports.document import Document, Outcome, Standing, Verdict, WaiverState
from tests.unit.test_suite import conform

FAULT = "iothreads_on_vcpus"
CASE = "isolate-io"
BROKEN = ("PIN-LIVE", "IOT-ISOLATED")
"""What that fault breaks, of the case that shows it."""
FAR = "2999-12-31"
OVER = "2001-01-01"


def text(*entries: dict[str, Any]) -> str:
    return json.dumps({"waivers": list(entries)})


def entry(requirement: str, **more: Any) -> dict[str, Any]:
    return {"requirement": requirement, "reason": "known, T-1", "expires": FAR, **more}


def run(
    directory: Path, *entries: dict[str, Any], more: tuple[str, ...] = ()
) -> tuple[int, Document]:
    (directory / "waivers.yaml").write_text(text(*entries))
    options = ("--break", FAULT, "-k", f"[{CASE}]", "--waivers", "waivers.yaml", *more)
    ended = conform("run", "--cluster", "simulated", *options, cwd=directory)
    path = directory / "reports-out" / "report.json"
    assert path.exists(), ended.stdout + ended.stderr
    return ended.returncode, form.load(path.read_text())


@pytest.fixture(scope="module")
def waived(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Document, Path]:
    directory = tmp_path_factory.mktemp("waived")
    code, document = run(directory, *(entry(each, case="isolate*") for each in BROKEN))
    return code, document, directory / "reports-out"


def test_a_run_whose_failures_are_waived_says_so_and_is_not_simply_conformant(
    waived: tuple[int, Document, Path],
) -> None:
    code, document, _directory = waived
    assert code == 0
    assert document.conclusion.outcome is Outcome.CONFORMANT_AS_ASKED
    assert f"2 failures are waived, of {', '.join(BROKEN)}" in document.conclusion.reason
    assert document.counts[Verdict.WAIVED] == 2
    assert document.counts[Verdict.FAIL] == 0
    standings = {each.id: each.standing for each in document.requirements}
    assert {standings[each] for each in BROKEN} == {Standing.WAIVED}
    assert {each.state for each in document.waivers} == {WaiverState.APPLIED}


def test_what_is_waived_is_in_every_report(waived: tuple[int, Document, Path]) -> None:
    _code, document, directory = waived
    for name in ("report.html", "junit.xml", "summary.md"):
        said = (directory / name).read_text()
        assert "known, T-1" in said, name
        assert "Waived until" in said, name
    assert 'verdict="waived"} 2' in (directory / "metrics.prom").read_text()
    (finding, _other) = [each for each in document.findings if each.verdict is Verdict.WAIVED]
    assert finding.objections, "it stays what it is: what was seen is told"
    assert "<failure" not in junit.render(document)
    assert "waived" in markdown.render(document)


def test_the_evidence_gives_the_same_verdict_again(waived: tuple[int, Document, Path]) -> None:
    _code, document, directory = waived
    again = judge(bundle.read(directory / "evidence"))
    assert again.conclusion == document.conclusion
    assert again.waivers == document.waivers


def test_who_insists_on_what_is_kept_is_not_content(waived: tuple[int, Document, Path]) -> None:
    read = bundle.read(waived[2] / "evidence")
    assert judge(read, insist=Insist.KEPT).conclusion.outcome is Outcome.INCONCLUSIVE


def rejudged(waived: tuple[int, Document, Path], **changes: Any) -> Document:
    read = bundle.read(waived[2] / "evidence")
    changed = [{**each, **changes} for each in read.run["waivers"]]
    return judge(replace(read, run={**read.run, "waivers": changed}))


def test_an_expired_waiver_fails_as_if_there_was_none_and_is_told(
    waived: tuple[int, Document, Path],
) -> None:
    document = rejudged(waived, expires=OVER)
    assert document.conclusion.exit_code == 1
    assert document.counts[Verdict.FAIL] == 2
    assert "have expired" in document.conclusion.reason
    failures = [each for each in document.findings if each.verdict is Verdict.FAIL]
    assert all("expired on 2001-01-01: known, T-1" in each.notes[-1] for each in failures)
    assert {each.state for each in document.waivers} == {WaiverState.EXPIRED}


@pytest.mark.parametrize("scope", [{"case": "isolated"}, {"node": "other-*"}], ids=str)
def test_a_waiver_of_something_else_waives_nothing(
    waived: tuple[int, Document, Path], scope: dict[str, str]
) -> None:
    document = rejudged(waived, **scope)
    assert document.conclusion.exit_code == 1
    assert {each.state for each in document.waivers} == {WaiverState.UNUSED}


def test_the_last_day_still_counts() -> None:
    day = Waived("PIN-LIVE", "r", "2030-01-31")
    assert not day.expired("2030-01-31")
    assert day.expired("2030-02-01")


def test_only_a_failure_is_waived(waived: tuple[int, Document, Path]) -> None:
    document = waived[1]
    held = waivers.Waivers([Waived(each.id, "r", FAR) for each in document.requirements], "2026")
    for finding in document.findings:
        for verdict in (Verdict.NOT_OBSERVED, Verdict.ERROR, Verdict.PASS):
            same = replace(finding, verdict=verdict)
            assert held.apply(same) == same


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("waivers: 3", "no list"),
        ("- a", "no mapping with a list"),
        ("a: [b", "cannot be read"),
        (text({"requirement": "PIN-LIVE", "expires": FAR}), "waiver 1 has no reason"),
        (text(entry("PIN-LIVE", until=FAR)), "has until, which means nothing"),
        (text(entry("PIN-LIFE")), "no requirement PIN-LIFE; did you mean PIN-LIVE?"),
        (text(entry("PIN-LIVE", expires="soon")), "a day such as 2030-01-31"),
        (text(entry("PIN-LIVE", case=["a"])), "case is no text"),
        (text({"requirement": "PIN-LIVE", "reason": "r"}), "has no expires"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=said) as error:
        waivers.read(path)
    assert str(error.value).startswith(f"--waivers {path}")


def test_a_day_of_yaml_is_a_day(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("waivers:\n- requirement: PIN-LIVE\n  reason: r\n  expires: 2030-01-31\n")
    (found,) = waivers.read(path)
    assert found == Waived("PIN-LIVE", "r", "2030-01-31")
    assert date.fromisoformat(found.expires)
    assert waivers.parsed(waivers.as_data([found]), "here") == (found,)


@pytest.mark.parametrize("command", [("run", "--cluster", "simulated"), ("audit",)])
def test_an_unknown_requirement_is_a_usage_error(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(text(entry("NO-SUCH")))
    ended = conform(*command, "--waivers", "w.yaml", cwd=tmp_path)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "no requirement NO-SUCH" in ended.stdout + ended.stderr


def test_reports_of_waived_failures_are_written_and_read(
    waived: tuple[int, Document, Path], tmp_path: Path
) -> None:
    document = rejudged(waived, expires=OVER)
    write.write_all(document, tmp_path)
    assert form.load((tmp_path / "report.json").read_text()) == document
    assert "expired" in (tmp_path / "summary.md").read_text()
