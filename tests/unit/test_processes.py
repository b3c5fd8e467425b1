"""Processes that outlive their starter: found by identity, ended, tied to their parent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.host import processes

ROOT = Path(__file__).parents[2]


def test_identity_is_of_one_process_only() -> None:
    process = subprocess.Popen(["sleep", "60"])
    identity = processes.identity(process.pid)
    assert processes.alive(identity)
    former = identity.replace(f"{process.pid}:", f"{process.pid}:1")
    assert not processes.alive(former)
    processes.stop(former, grace_seconds=1)
    assert process.poll() is None, "a recycled id must not be touched"
    processes.stop(identity, grace_seconds=5)
    process.wait()
    assert not processes.alive(identity)
    processes.stop(identity, grace_seconds=1)


def test_who_does_not_listen_is_killed() -> None:
    process = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60 & wait; done"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    processes.stop(processes.identity(process.pid), grace_seconds=0.1)
    assert process.wait() == -9
    process.stdout.close()


def test_a_child_dies_with_its_parent_however_that_ends() -> None:
    child = (
        "import os, sys; from clusters.host import processes; "
        "processes.die_with(int(sys.argv[1])); "
        "print(processes.identity(os.getpid()), flush=True); sys.stdin.read()"
    )
    parent = (
        "import os, subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', sys.argv[1], str(os.getpid())], "
        "stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True); "
        "print(p.stdout.readline(), flush=True); os.kill(os.getpid(), 9)"
    )
    result = subprocess.run(
        [sys.executable, "-c", parent, child],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    identity = result.stdout.strip()
    assert identity, result.stderr
    processes.stop(identity, grace_seconds=5)
    assert not processes.alive(identity)


def test_of_a_process_in_another_pid_namespace_nothing_is_known() -> None:
    elsewhere = f"{os.getpid()}:1:42"
    assert processes.alive(elsewhere), "or what a container uses would be swept from outside"
    with pytest.raises(ClusterError, match="another PID namespace"):
        processes.stop(elsewhere, grace_seconds=1)


@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps")
def test_where_there_is_no_proc_processes_are_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path / "none")
    monkeypatch.delattr(os, "pidfd_open")
    process = subprocess.Popen(["sleep", "60"])
    identity = processes.identity(process.pid)
    assert processes.alive(identity)
    processes.stop(identity, grace_seconds=5)
    process.wait()
    assert not processes.alive(identity)
