"""Runs that reach a cluster through a proxy: what it does to answers is no fault of the cluster.

A verdict is right or left open: a cluster that keeps its promises is never accused, and one that
breaks them is never found to keep them.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.provider import Handle
from clusters.contract.shape import ClusterSpec
from tests.unit.clusters_in_memory import brought_up
from tests.unit.faulty_proxy import Fault, Proxy, behind_proxy

ROOT = Path(__file__).parents[3]
BROKEN, REQUIREMENT = "vcpus_not_pinned", "PIN-THREADS"
CUT = 3000
"""Bytes of a command's output that come before its stream ends: within a line."""


def late() -> Fault:
    """One answer in three takes its time."""
    number = itertools.count(1)

    def fault(proxy: Proxy) -> None:
        if not next(number) % 3:
            time.sleep(0.4)
        proxy.forward()

    return fault


def repeated() -> Fault:
    """What makes or deletes a VMI is sent twice, and the second answer is told: 409, or 404."""

    def fault(proxy: Proxy) -> None:
        if proxy.command in ("POST", "DELETE") and "/virtualmachineinstances" in proxy.path:
            connection, response = proxy.ask()
            response.read()
            connection.close()
        proxy.forward()

    return fault


def stale() -> Fault:
    """One answer in three is what was answered to the same request before."""
    number = itertools.count(1)
    before: dict[str, tuple[int, str, bytes]] = {}

    def fault(proxy: Proxy) -> None:
        if proxy.command != "GET" or proxy.streams:
            proxy.forward()
            return
        if not next(number) % 3 and proxy.path in before:
            proxy.say(*before[proxy.path])
            return
        connection, response = proxy.ask()
        before[proxy.path] = response.status, response.headers["Content-Type"], response.read()
        connection.close()
        proxy.say(*before[proxy.path])

    return fault


def cut_off() -> Fault:
    """Two commands in three end in the middle of what they print."""
    number: dict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(1))

    def fault(proxy: Proxy) -> None:
        if proxy.headers.get("Upgrade") and "/exec?" in proxy.path:
            proxy.tunnel(CUT if next(number["exec"]) % 3 else None)
        else:
            proxy.forward()

    return fault


FAULTS: Mapping[str, Callable[[], Fault]] = {
    "late": late,
    "repeated": repeated,
    "stale": stale,
    "cut-off": cut_off,
}


@pytest.fixture
def healthy(runtime: Path) -> Iterator[Handle]:
    with brought_up(runtime) as handle:
        yield handle


@pytest.fixture
def broken(runtime: Path) -> Iterator[Handle]:
    with brought_up(runtime, ClusterSpec(options={"break": (BROKEN,)})) as handle:
        yield handle


def run(handle: Handle, fault: Fault, directory: Path) -> tuple[int, list[Any], str]:
    """Exit code, findings and output of a run of two VMIs and two refusals."""
    call = [sys.executable, "-m", "conformance", "run", "--cluster", "existing", "-n", "0"]
    call += ["--kubeconfig", behind_proxy(handle.kubeconfig, fault)]
    call += ["-k", "isolate-io or no-cpu-differs or no-memory"]
    done = subprocess.run(
        [*call, "--report-dir", str(directory / "out")],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    report = directory / "out" / "report.json"
    findings = json.loads(report.read_text())["findings"] if report.exists() else []
    return done.returncode, findings, done.stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cluster_that_keeps_its_promises_is_never_accused(
    fault: str, healthy: Handle, tmp_path: Path
) -> None:
    code, findings, said = run(healthy, FAULTS[fault](), tmp_path)
    assert code in (0, 2), said
    assert not [f for f in findings if f["verdict"] in ("fail", "error")], said
    assert [f for f in findings if f["verdict"] == "pass"], said


@pytest.mark.parametrize("fault", FAULTS)
def test_twin_one_that_breaks_them_is_never_found_to_keep_them(
    fault: str, broken: Handle, tmp_path: Path
) -> None:
    code, findings, said = run(broken, FAULTS[fault](), tmp_path)
    assert code in (1, 2), said
    verdicts = {f["verdict"] for f in findings if f["requirement"] == REQUIREMENT}
    assert "pass" not in verdicts, said
    assert verdicts, said


def test_without_any_fault_the_proxy_changes_nothing(broken: Handle, tmp_path: Path) -> None:
    code, findings, said = run(broken, Proxy.forward, tmp_path)
    assert code == 1, said
    failed = {f["requirement"] for f in findings if f["verdict"] == "fail"}
    assert REQUIREMENT in failed, said
