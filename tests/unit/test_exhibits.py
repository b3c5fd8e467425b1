"""Recordings of clusters, good and broken, give the findings that they gave when they were kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.collecting.bundle import read
from conformance.exhibit import expected, findings, judged
from conformance.exits import Exit
from conformance.judging.report import judge
from reports.document import Verdict
from tests.exhibits import RECORDED, unpacked

EXHIBITS = sorted(RECORDED.glob("*.tar.xz"), key=lambda each: each.name)


@pytest.mark.parametrize("file", EXHIBITS, ids=lambda each: each.name.removesuffix(".tar.xz"))
def test_a_recording_gives_what_it_must(file: Path) -> None:
    # After a change that is right: `conform record NAME` writes the findings anew.
    assert findings(judged(file)) == expected(file)


@pytest.mark.parametrize("file", EXHIBITS, ids=lambda each: each.name.removesuffix(".tar.xz"))
def test_what_is_promised_beyond_v1_accuses_nobody(file: Path, tmp_path: Path) -> None:
    """Most were recorded for the profile v1: real releases, and a stack whose faults are others."""
    evidence = unpacked(file.name.removesuffix(".tar.xz"), tmp_path)
    run = json.loads((evidence / "run.json").read_text())
    (evidence / "run.json").write_text(json.dumps({**run, "profile": "current"}))
    found = judge(read(evidence)).findings
    broken = {each.id for each in found if each.verdict in (Verdict.FAIL, Verdict.ERROR)}
    assert broken == {name for name, verdict in expected(file).items() if verdict == "fail"}


def test_some_are_broken_and_most_are_not() -> None:
    broken = {file.name for file in EXHIBITS if "fail" in expected(file).values()}
    assert 4 <= len(broken) < len(EXHIBITS) / 2


def test_every_one_is_small() -> None:
    assert max(file.stat().st_size for file in EXHIBITS) < 60_000


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The report directory of a run of four cases and a scenario."""
    shutil.unpack_archive(RECORDED / "simulated.tar.xz", tmp_path)
    return tmp_path


def test_a_recording_is_kept_with_its_findings(run: Path, tmp_path: Path) -> None:
    to = ("--to", str(tmp_path))
    chosen = ("--case", "isolate-io", "--case", "kubelet-restart")
    assert main(["record", "mine", str(run), *chosen, *to]) == Exit.CONFORMANT
    found = expected(tmp_path / "mine.tar.xz")
    assert found["PIN-THREADS@isolate-io"] == found["LIFE-KUBELET@kubelet-restart"] == "pass"
    assert not [name for name in found if name.endswith("@numa")]
    assert dict(found).items() <= expected(RECORDED / "simulated.tar.xz").items()


def test_what_was_watched_of_its_node_goes_with_a_case(tmp_path: Path) -> None:
    shutil.unpack_archive(RECORDED / "simulated-iothreads-on-vcpus.tar.xz", tmp_path)
    file = tmp_path / "one.tar.xz"
    assert main(["bundle", str(tmp_path), "-o", str(file), "--case", "io-own"]) == Exit.CONFORMANT
    document = judged(file)
    assert document.problems == ()
    assert [(each.node, each.looks > 10) for each in document.watches] == [("node-1", True)]


def test_one_that_is_there_is_not_overwritten_but_its_findings_are(
    run: Path, tmp_path: Path
) -> None:
    call = ["record", "mine", "--to", str(tmp_path)]
    main([*call[:2], str(run), *call[2:]])
    kept = (tmp_path / "mine.tar.xz").read_bytes()
    assert main([*call[:2], str(run), *call[2:]]) == Exit.USAGE
    (tmp_path / "mine.json").write_text('{"findings": {"PIN-THREADS@numa": "fail"}}')
    assert main(call) == Exit.CONFORMANT
    assert expected(tmp_path / "mine.tar.xz")["PIN-THREADS@numa"] == "pass"
    assert (tmp_path / "mine.tar.xz").read_bytes() == kept


@pytest.mark.parametrize("command", ["record", "bundle"])
def test_a_case_that_was_not_recorded_is_named_and_nothing_is_left(
    command: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.tar.xz"
    call = {
        "record": ["record", "mine", str(run), "--to", str(tmp_path)],
        "bundle": ["bundle", str(run), "-o", str(file)],
    }
    assert main([*call[command], "--case", "isolated-io"]) == Exit.USAGE
    assert "isolated-io" in capsys.readouterr().err
    assert not file.exists()
