from collections.abc import Callable
from pathlib import Path

import pytest

from reports import write
from reports.document import Document
from reports.form import load

Example = Callable[[str], Document]


def test_all_forms_are_written_and_named(any_document: Document, tmp_path: Path) -> None:
    paths = write.write_all(any_document, tmp_path / "new" / "reports-out")
    assert set(paths) == {"report.html", "report.json", "junit.xml", "summary.md", "metrics.prom"}
    assert sorted(path.name for path in (tmp_path / "new" / "reports-out").iterdir()) == sorted(
        paths
    )
    assert load(paths["report.json"].read_text(encoding="utf-8")) == any_document


def test_a_report_that_cannot_be_rendered_leaves_the_last_one_whole(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write.write_all(example("passing"), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(document: Document) -> str:
        raise RuntimeError("cannot render")

    monkeypatch.setitem(write._FILES, "summary.md", broken)
    with pytest.raises(RuntimeError, match="cannot render"):
        write.write_all(example("failing"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(paths) == len(before)


def test_a_failed_write_leaves_nothing_behind(example: Example, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write.write_all(example("passing"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_evidence_beside_the_report_is_left_alone(example: Example, tmp_path: Path) -> None:
    recording = tmp_path / "evidence" / "case" / "running.json"
    recording.parent.mkdir(parents=True)
    recording.write_text("{}")
    write.write_all(example("passing"), tmp_path)
    assert recording.read_text() == "{}"
