"""The suite and the command line, used as their users do, on the simulated cluster."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import registered, stories
from conformance.matrix.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]


def conform(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_requirement_that_is_judged_is_one_test_of_the_suite() -> None:
    tests = [
        requirement
        for path in (ROOT / "tests" / "conformance").glob("test_*.py")
        for requirement in re.findall(r'@requirement\("([A-Z0-9-]+)"\)', path.read_text())
    ]
    assert sorted(tests) == sorted(registered())


def test_every_scenario_is_one_test_of_the_suite_that_names_what_it_shows() -> None:
    told = {}
    for path in (ROOT / "tests" / "conformance").glob("test_stories_*.py"):
        for name, body in re.findall(
            r'@scenario\("([a-z-]+)"\)\n(.*?)(?=\n@scenario|\Z)', path.read_text(), re.DOTALL
        ):
            told[name] = set(re.findall(r"[A-Z]+-[A-Z]+", body))
    assert set(told) == set(SCENARIOS)
    for check in stories():
        assert check.requirement in told[check.scenario]


def test_tests_of_a_case_come_together_and_scenarios_after_every_case() -> None:
    call = [sys.executable, "-m", "pytest", "tests/conformance", "--cluster", "simulated"]
    call += ["--matrix", "smoke", "--collect-only", "-q", "-p", "no:cacheprovider"]

    collected = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert collected.returncode == 0, collected.stdout + collected.stderr
    tests = [line for line in collected.stdout.splitlines() if "::" in line]
    groups = ["scenario" if "test_stories" in test else test.partition("[")[2] for test in tests]
    in_turn = [group for group, _ in itertools.groupby(groups)]
    assert len(in_turn) > 20
    assert len(set(in_turn)) == len(in_turn)
    assert in_turn[-1] == "scenario"


def test_a_guest_that_is_told_of_other_nodes_than_its_own_is_found(tmp_path: Path) -> None:
    options = ("--cluster", "simulated", "-k", "[numa]", "--report-dir", "out")
    spread = ("--shape", "distribute-cpus-across-numa", "--patience", "0.02")
    run = conform("run", *options, *spread, "--break", "numa_flat", cwd=tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    failed = {each["requirement"] for each in report["findings"] if each["verdict"] == "fail"}
    # All memory of the guest is on one node then, too.
    assert failed == {"NUMA-MAPPED", "NUMA-MEMORY", "NUMA-PAGES"}


def test_a_run_is_conformant_and_its_evidence_alone_says_so_again(tmp_path: Path) -> None:
    options = ("--cluster", "simulated", "-k", "isolate or no-memory", "--report-dir", "out")
    run = conform("run", *options, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "SIMULATION" in run.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["cluster"]["simulation"]
    assert {case["id"] for case in report["cases"]} >= {"isolate", "isolate-io", "no-memory"}
    for name in ("report.html", "junit.xml", "summary.md", "evidence/run.json"):
        assert (tmp_path / "out" / name).exists(), name

    again = conform("judge", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    judged = json.loads((tmp_path / "out" / "report.json").read_text())
    assert judged["findings"] == report["findings"]
    assert judged["conclusion"] == report["conclusion"]


def test_a_terminal_that_goes_ends_a_run_and_hides_nothing(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    run = subprocess.Popen(
        [
            *("setsid", "--ctty", sys.executable, "-m", "conformance"),
            *("run", "--cluster", "simulated", "-n", "2"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    printed = b""
    while b"requirements kept" not in printed:
        printed += os.read(master, 4096)
    os.close(master)
    assert run.wait() == 130, printed.decode()
    report = json.loads((tmp_path / "reports-out" / "report.json").read_text())
    assert report["conclusion"]["outcome"] == "interrupted"


def test_evidence_that_is_taken_away_is_missed(tmp_path: Path) -> None:
    options = ("--cluster", "simulated", "-k", "sockets-2", "--report-dir", "out")
    assert conform("run", *options, cwd=tmp_path).returncode == 0
    for path in (tmp_path / "out" / "evidence" / "snapshots").glob("*.deleted.*"):
        path.unlink()
    judged = conform("judge", "out", cwd=tmp_path)
    assert judged.returncode == 2
    assert "LIFE-RELEASED" in judged.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--cluster", "nowhere"), "invalid choice"),
        (("run", "--cluster", "simulated", "--matrix", "broken.yaml"), "broken.yaml:2"),
        (("run", "--cluster", "simulated", "-k", "nothing-like-this"), "no test matches"),
        (("matrix", "absent.yaml"), "absent.yaml"),
        (("requirements", "NO-SUCH"), "NO-SUCH"),
        (("judge", "absent"), "run.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_with_code_3(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text("a: [b\n")
    result = conform(*arguments, cwd=tmp_path)
    assert result.returncode == 3, result.stdout + result.stderr
    assert said in result.stdout + result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_run_judges_what_it_has_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "conformance", "run", "--cluster", "simulated"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.stdout is not None
    printed = []
    for line in run.stdout:
        printed.append(line)
        if "requirements kept" in line:
            run.send_signal(number)
            break
    printed += run.stdout.readlines()
    assert run.wait() == 130, "".join(printed)
    report = json.loads((tmp_path / "reports-out" / "report.json").read_text())
    assert report["conclusion"]["outcome"] == "interrupted"
    assert report["run"]["id"] not in conform("status").stdout
