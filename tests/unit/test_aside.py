"""An earlier report is kept aside: never mixed with a newer one, never just deleted."""

from __future__ import annotations

from pathlib import Path

from conformance.collecting.aside import KEPT, forget_oldest, keep_aside


def report(directory: Path, text: str) -> None:
    (directory / "evidence").mkdir(parents=True)
    (directory / "evidence" / "run.json").write_text(text)
    (directory / "report.json").write_text(text)


def said(directory: Path) -> str:
    return (directory / "report.json").read_text()


def test_nothing_is_kept_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert keep_aside(tmp_path / "out") is None
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_reports_move_by_one_and_the_newest_is_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(3):
        report(out, f"run {number}")
        keep_aside(out)
    assert [said(tmp_path / f"out.{n}") for n in (1, 2, 3)] == ["run 2", "run 1", "run 0"]
    assert not (out / "report.json").exists()
    assert (tmp_path / "out.1" / "evidence" / "run.json").read_text() == "run 2"


def test_what_is_not_of_a_report_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    report(out, "run")
    (out / "notes.txt").write_text("mine")
    keep_aside(out)
    assert (out / "notes.txt").read_text() == "mine"


def test_the_oldest_go_only_when_asked_and_nothing_else_does(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(KEPT + 3):
        report(out, f"run {number}")
        keep_aside(out)
    (tmp_path / "out.99").mkdir()
    (tmp_path / "out.99" / "precious").write_text("no report")
    assert len(list(tmp_path.glob("out.?"))) == KEPT + 3
    forget_oldest(out)
    assert len(list(tmp_path.glob("out.?"))) == KEPT
    assert said(tmp_path / f"out.{KEPT}") == "run 3"
    assert (tmp_path / "out.99" / "precious").exists()


def test_a_gap_is_filled_and_no_report_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, text in (("out", "new"), ("out.1", "one"), ("out.3", "three")):
        report(tmp_path / name, text)
    keep_aside(out)
    assert [said(tmp_path / f"out.{n}") for n in (1, 2, 3)] == ["new", "one", "three"]
