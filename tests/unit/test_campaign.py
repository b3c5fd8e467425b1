"""Several runs with one verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import campaign
from conformance.campaign import legs
from conformance.exits import Exit

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
    for profile in ("v1", "v1alpha2"):
        assert (tmp_path / "out" / f"default.{profile}" / "report.json").exists()
        assert f"default {profile}" in run.stderr


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
    assert "no report" in said[1]
