"""Exit codes that are no verdict, and what the terminal is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.host import rundir
from conformance import cli
from conformance.collecting.bundle import write_run, write_snapshot
from conformance.exits import Exit
from conformance.judging import report
from tests.selfproof import recording as good
from tests.unit.test_judge import bundle


def test_a_fault_of_our_own_is_never_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(report, "judge", broken)
    write_run(tmp_path / "evidence", bundle().run)
    assert cli.main(["judge", str(tmp_path)]) == Exit.INCONCLUSIVE
    said = capsys.readouterr().err
    assert "ZeroDivisionError: a bug" in said
    assert "there is no verdict" in said


def test_a_cluster_does_not_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(_: str) -> None:
        raise ClusterError("\x1b]0;owned\x07 \u202e\nconform: all is well")

    monkeypatch.setattr(rundir, "find", lost)
    assert cli.main(["down", "x"]) == Exit.INCONCLUSIVE
    assert capsys.readouterr().err == ("conform: \\x1b]0;owned\\x07 \\u202e conform: all is well\n")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    evidence = tmp_path / "evidence"
    write_run(evidence, bundle().run)
    for raw in (good.running(), good.deleted(), good.refused()):
        write_snapshot(evidence, raw)
    return tmp_path


@pytest.mark.parametrize(
    ("more", "code"), [([], Exit.CONFORMANT), (["--insist", "asked"], Exit.INCONCLUSIVE)]
)
def test_judging_may_insist_on_the_whole(
    recorded: Path, more: list[str], code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["judge", str(recorded), *more]) == code
    said = " ".join(capsys.readouterr().out.split())
    assert ("--insist asks for the whole" in said) == bool(more)
    assert "not asked" in said
    shutil.rmtree(recorded / "evidence")
    assert cli.main(["judge", str(recorded)]) == Exit.USAGE
