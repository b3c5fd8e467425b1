"""Whole runs on the simulated cluster in which something goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

from clusters.contract.provider import Handle
from clusters.host import rundir

ROOT = Path(__file__).parents[2]
RUN = ("run", "--cluster", "simulated")
FEW = (*RUN, "-k", "isolate or sockets-2")
NOWHERE = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata: {name: nowhere}
spec:
  nodeSelector: {no-such: label}
  domain:
    cpu: {cores: 2, dedicatedCpuPlacement: true}
    devices: {}
    resources: {limits: {memory: 64Mi}}
"""


@pytest.fixture(autouse=True)
def clusters(runtime: Path) -> Iterator[Path]:
    """Where the clusters of the test keep their files: nothing may be there in the end."""
    base = runtime / "cpu-conformance"
    base.mkdir(mode=0o700)
    yield base
    assert list(base.iterdir()) == []


@contextlib.contextmanager
def running(directory: Path, *arguments: str, fault: str = "") -> Iterator[subprocess.Popen[str]]:
    """`./conform` in a directory; with a fault of `tests.unit.faulty_run`, if one is named."""
    module = ["tests.unit.faulty_run", fault] if fault else ["conformance"]
    with subprocess.Popen(
        [sys.executable, "-m", *module, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def conform(directory: Path, *arguments: str, fault: str = "") -> tuple[int, str]:
    """Exit code and output."""
    with running(directory, *arguments, fault=fault) as process:
        output = process.communicate()[0]
    return process.returncode, output


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """What it printed up to the first line that matches."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if re.search(pattern, line):
            return printed
    raise AssertionError(f"it never printed {pattern}:\n{printed}")


def report(directory: Path) -> Any:
    return json.loads((directory / "reports-out" / "report.json").read_text())


def run_id(directory: Path) -> str:
    record = json.loads((directory / "reports-out" / "evidence" / "run.json").read_text())
    return str(record["run"]["id"])


def test_faults_of_the_api_that_pass_cost_no_verdict_and_are_told(tmp_path: Path) -> None:
    code, output = conform(tmp_path, *FEW, fault="now-and-then")
    assert code == 0, output
    assert re.search(r"\d+ requests to the API failed", output)
    met = " ".join(fault["message"] for fault in report(tmp_path)["faults"])
    # An answer breaks off, and so does a watch: whichever the count falls on.
    for fault in ("500", "429", "503", "without response", "broke"):
        assert fault in met, (fault, met)
    assert conform(tmp_path, "judge", "reports-out")[0] == 0


def test_an_api_that_has_gone_for_good_ends_the_run_with_one_reason(tmp_path: Path) -> None:
    few = (*FEW, "--profile", "v1", "--patience", "0.02")
    code, output = conform(tmp_path, *few, fault="for-good")
    assert code == 2, output
    document = report(tmp_path)
    given_up = [p for p in document["problems"] if p["during"] == "running the suite"]
    assert len(given_up) == 1
    assert "does not answer any more" in given_up[0]["message"]
    verdicts = {(f["case"], f["verdict"]) for f in document["findings"]}
    assert ("isolate", "pass") in verdicts
    assert ("sockets-2", "pass") not in verdicts


def test_a_cluster_that_dies_in_the_middle_is_one_problem(tmp_path: Path) -> None:
    with running(tmp_path, *FEW) as run:
        printed = read_until(run, "requirements kept")
        os.kill(int(cluster_of(tmp_path).partition(":")[0]), signal.SIGKILL)
        output = printed + run.communicate()[0]
    assert run.returncode == 2, output
    dead = [p for p in report(tmp_path)["problems"] if p["during"] == "running the suite"]
    assert len(dead) == 1, output
    assert "is dead: its process has ended" in dead[0]["message"]


def cluster_of(directory: Path) -> str:
    """The process of a run's cluster."""
    handle = json.loads((rundir.base() / f"run-{run_id(directory)}" / "handle.json").read_text())
    return str(handle["details"]["process"])


def test_a_disk_that_fills_up_is_said_and_gives_no_verdict(tmp_path: Path) -> None:
    code, output = conform(tmp_path, *FEW, fault="no-room")
    assert code == 2, output
    # Lines are wrapped, wherever the length of the path takes them.
    said = " ".join(output.split())
    assert "the report cannot be written to" in said
    assert "No space left on device" in said
    assert "Traceback" not in output
    assert not (tmp_path / "reports-out" / "report.json").exists()


def test_a_report_directory_that_cannot_be_made_is_a_wrong_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, output = conform(tmp_path, *RUN, "--report-dir", "file/below")
    assert code == 3, output
    assert "file/below cannot be written to: Not a directory" in output


def test_a_vmi_that_no_node_takes_is_not_observed_for_the_schedulers_reason(tmp_path: Path) -> None:
    (tmp_path / "nowhere.yaml").write_text(NOWHERE)
    code, output = conform(tmp_path, *RUN, "--matrix", "nowhere.yaml", "--patience", "0.01")
    assert code == 2, output
    findings = report(tmp_path)["findings"]
    assert not [finding for finding in findings if finding["verdict"] == "fail"]
    (started,) = (each for each in findings if each["requirement"] == "RUN-STARTED")
    assert "didn't match Pod's node affinity/selector" in started["message"]


def test_a_check_that_breaks_is_an_error_of_ours_and_never_a_failure(tmp_path: Path) -> None:
    code, output = conform(tmp_path, *FEW, fault="bad-check")
    assert code == 2, output
    findings = report(tmp_path)["findings"]
    errors = [each for each in findings if each["verdict"] == "error"]
    assert {each["requirement"] for each in errors} == {"CPU-COUNT"}
    assert "ZeroDivisionError at faulty_run.py:" in errors[0]["message"]
    assert not [each for each in findings if each["verdict"] == "fail"]


def test_a_node_that_lies_is_found_although_no_vmi_lands_there(tmp_path: Path) -> None:
    there = ("--shape", "policy-none", "-k", "sockets-2")
    code, output = conform(tmp_path, *RUN, *there)
    assert code == 0, output
    code, output = conform(tmp_path, *RUN, *there, "--break", "label_always_true")
    assert code == 1, output
    failed = [each for each in report(tmp_path)["findings"] if each["verdict"] == "fail"]
    assert {(each["requirement"], each["node"]) for each in failed} == {("NODE-LABEL", "node-2")}


def test_two_runs_at_once_are_kept_apart(tmp_path: Path) -> None:
    with (
        running(tmp_path, *FEW, "--keep", "always") as first,
        running(tmp_path, *FEW, "--report-dir", "other") as second,
    ):
        for run in (first, second):
            printed = run.communicate()[0]
            assert run.returncode == 0, printed
    name = f"run-{run_id(tmp_path)}"
    status = conform(tmp_path, "status")[1]
    assert status.startswith(f"{name}\tsimulated\trunning")
    assert len(status.splitlines()) == 1
    assert conform(tmp_path, "down", name)[0] == 0


def test_a_report_directory_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "reports-out").mkdir()
    with filelock.FileLock(tmp_path / "reports-out" / ".lock"):
        code, output = conform(tmp_path, *FEW)
    assert code == 3, output
    assert "another run is writing to" in output


def test_what_a_killed_run_leaves_ends_with_it_and_goes_with_the_next(
    tmp_path: Path, clusters: Path
) -> None:
    with running(tmp_path, *FEW) as run:
        read_until(run, "requirements kept")
        cluster = cluster_of(tmp_path)
        ended = os.pidfd_open(int(cluster.partition(":")[0]))
        run.kill()
    assert select.select([ended], [], [], 60)[0], "its cluster lives on"
    os.close(ended)
    (left,) = (path for path in clusters.iterdir() if not path.name.startswith("."))
    assert left.name.startswith("run-")
    code, output = conform(tmp_path, *FEW)
    assert code == 0, output
    assert "removing what the simulated cluster run-" in output


def test_a_cluster_of_another_version_is_left_alone(tmp_path: Path, clusters: Path) -> None:
    other = clusters / "theirs"
    other.mkdir(mode=0o700)
    handle = Handle("not-invented-yet", "theirs", str(other), "none", {})
    rundir.write_handle(other, handle)
    code, output = conform(tmp_path, *FEW)
    assert code == 0, output
    assert "theirs\tnot-invented-yet\tof another version" in conform(tmp_path, "status")[1]
    rundir.remove(other)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("bringing up", signal.SIGINT),
        ("simulating", signal.SIGTERM),
        ("the cluster is ready", signal.SIGINT),
        ("requirements kept", signal.SIGTERM),
    ],
)
def test_an_interrupt_at_any_moment_ends_with_130_and_leaves_nothing(
    moment: str, number: signal.Signals, tmp_path: Path
) -> None:
    with running(tmp_path, *FEW) as run:
        printed = read_until(run, moment)
        run.send_signal(number)
        printed += run.communicate()[0]
    assert run.returncode == 130, printed
    assert "Traceback" not in printed


def test_an_interrupt_while_the_cluster_is_taken_down_comes_too_late(tmp_path: Path) -> None:
    with running(tmp_path, *FEW) as run:
        printed = read_until(run, "taking the cluster down")
        run.send_signal(signal.SIGINT)
        printed += run.communicate()[0]
    assert run.returncode == 0, printed
