"""Several runs with one verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import campaign, runs
from conformance.campaign import Result, legs
from conformance.exits import Exit
from reports.document import Standing

ROOT = Path(__file__).parents[2]


def test_each_shape_and_profile_is_a_run_with_a_directory_of_its_own() -> None:
    planned = legs(["default", "no-smt"], ["v1", "v1alpha2"], ["--matrix", "smoke"], Path("out"))
    assert [leg.name for leg in planned] == [
        "default v1",
        "default v1alpha2",
        "no-smt v1",
        "no-smt v1alpha2",
    ]
    assert len({leg.directory for leg in planned}) == 4
    assert planned[3].arguments == (
        *("--matrix", "smoke", "--shape", "no-smt", "--profile", "v1alpha2"),
    )


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("more", "code"),
    [((), Exit.CONFORMANT), (("--break", "qos_broken"), Exit.NOT_CONFORMANT)],
    ids=["good", "broken"],
)
def test_the_worst_of_the_runs_is_the_verdict(
    more: tuple[str, ...], code: Exit, tmp_path: Path
) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "conformance", "run", "--cluster", "simulated"),
            *("--profile", "all", "-k", "cores-2", "--report-dir", "out"),
            *more,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == code, run.stdout + run.stderr
    for profile in ("current", "v1alpha2"):
        report = json.loads((tmp_path / "out" / f"default.{profile}" / "report.json").read_text())
        assert report["selection"]["keyword"] == "cores-2"
        assert report["selection"]["left_out"] > 10
        assert report["run"]["command"].startswith("conform run --cluster simulated ")
        assert report["run"]["command"].endswith(" -k cores-2")
        assert f"default {profile}" in run.stderr
        assert f"{profile}, 1 runs together: " in run.stderr
        # One case of a matrix is no reason to say "every", nor to say "conformant" alone.
        assert report["conclusion"]["outcome"] != "conformant"
        assert "every" not in report["conclusion"]["reason"].lower()


def standings(**found: str) -> dict[str, Standing]:
    return {name: Standing(standing) for name, standing in found.items()}


def test_what_runs_cover_is_counted_together() -> None:
    both = legs(["default", "no-smt"], ["v1"], [], Path("out"))
    results = [
        Result(leg, Exit.CONFORMANT, "", said)
        for leg, said in zip(
            both,
            (
                standings(A="kept", B="not-applicable", C="kept", D="not-asked", E="kept"),
                standings(A="kept", B="kept", C="broken", D="not-asked", E="known-divergence"),
            ),
            strict=True,
        )
    ]
    assert campaign.together("v1", results) == (
        "v1, 2 runs together: 2 of 5 mandatory requirements that apply were kept; broken: C; "
        "known not to be kept: E; not asked: D"
    )
    silent = [*results, Result(both[0], Exit.INCONCLUSIVE, "no report")]
    assert "1 runs have no report" in campaign.together("v1", silent)


def test_a_code_without_a_report_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = tmp_path / "python"
    crashed.write_text("#!/bin/sh\nexit 1\n")
    crashed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashed))
    planned = legs(["default"], ["v1"], [], tmp_path)
    assert campaign.run(planned, at_once=1, say=lambda _: None) == Exit.INCONCLUSIVE


def test_a_run_that_dies_has_no_verdict_whatever_an_earlier_one_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text(f"#!/bin/sh\nkill -{signal.SIGKILL:d} $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    (leg,) = legs(["default"], ["v1"], [], tmp_path)
    leg.directory.mkdir()
    (leg.directory / campaign.REPORT).write_text('{"conclusion": {"outcome": "conformant"}}')
    said: list[str] = []
    assert campaign.run([leg], at_once=1, say=said.append) == Exit.INCONCLUSIVE
    assert any("no report" in line for line in said)


def test_the_report_and_the_log_of_an_earlier_campaign_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    (leg,) = legs(["default"], ["v1"], [], tmp_path)
    leg.directory.mkdir()
    for name in (campaign.REPORT, runs.LOG):
        (leg.directory / name).write_text("before")
    said: list[str] = []
    campaign.run([leg], at_once=1, say=said.append)
    kept = tmp_path / f"{leg.directory.name}.1"
    assert f"the report that was there is kept in {kept}" in said
    assert [(kept / name).read_text() for name in (campaign.REPORT, runs.LOG)] == ["before"] * 2
    assert (leg.directory / runs.LOG).read_text() == ""
