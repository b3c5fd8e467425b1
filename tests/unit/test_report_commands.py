"""The commands that need no cluster, as their user calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.cli import main
from conformance.exits import Exit
from tests.unit.judged_run import judged


@pytest.fixture
def reports(tmp_path: Path) -> tuple[Path, Path]:
    """A healthy run and a broken one."""
    return judged(tmp_path / "good"), judged(tmp_path / "bad", "sabotaged")


def test_compare_names_what_broke_and_is_a_gate(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    healthy, broken = map(str, reports)
    capsys.readouterr()
    page = tmp_path / "compare.html"
    assert main(["compare", healthy, broken, "--html", str(page)]) == 1
    said = capsys.readouterr().out
    assert "PIN-THREADS in demo" in said
    assert "PIN-THREADS" in page.read_text()
    assert main(["compare", healthy, healthy]) == 0
    assert main(["compare", broken, healthy]) == 0
    assert "mended" in capsys.readouterr().out


def test_explain_tells_a_requirement_or_a_finding(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _healthy, broken = reports
    capsys.readouterr()
    assert main(["explain", "pin-threads"]) == 0
    assert "PIN-THREADS:" in capsys.readouterr().out
    assert main(["explain", "PIN-THREADS@demo", "--report-dir", str(broken)]) == 0
    said = capsys.readouterr().out
    assert "may run on 2-3" in said
    assert "evidence/snapshots/demo.running." in said
    assert main(["explain", "PIN-THREAD"]) == Exit.USAGE
    assert main(["explain", "PIN-THREADS@nobody", "--report-dir", str(broken)]) == Exit.USAGE


def test_report_writes_the_other_forms_anew(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _healthy, broken = reports
    recorded = (broken / "report.json").read_bytes()
    (broken / "report.html").unlink()
    assert main(["report", str(broken)]) == 1
    assert "NOT CONFORMANT" in capsys.readouterr().out
    assert (broken / "report.html").exists()
    assert (broken / "report.json").read_bytes() == recorded
    assert main(["report", str(broken / "nowhere")]) == Exit.USAGE


def test_a_bundle_is_judged_anywhere(reports: tuple[Path, Path], tmp_path: Path) -> None:
    _healthy, broken = reports
    file = tmp_path / "run.tar.xz"
    assert main(["bundle", str(broken), "-o", str(file), "--without-secrets"]) == 0
    assert main(["bundle", str(broken), "-o", str(file)]) == Exit.USAGE
    out = tmp_path / "elsewhere"
    assert main(["judge", str(file), "--report-dir", str(out)]) == 1
    assert (out / "report.html").exists()
    assert main(["bundle", str(tmp_path), "-o", str(tmp_path / "none.tar.xz")]) == Exit.USAGE
