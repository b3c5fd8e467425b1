"""What a command needs of this machine, and how it says that it is not there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clusters import providers
from clusters.contract.describing import Need
from clusters.contract.provider import ClusterError
from clusters.host import needs

ROOT = Path(__file__).parents[2]
IMPOSSIBLE = Need(
    "a thing", {"no-such-program": "a-package", "sh": "dash"}, {"nix": "n-py"}, group="node"
)


def test_what_is_missing_is_named_with_where_it_comes_from() -> None:
    words = needs.missing(IMPOSSIBLE) or ""
    assert "a thing needs what is missing here: no-such-program, the Python module nix" in words
    assert "apt-get install --no-install-recommends a-package`" in words
    assert "pip install n-py" in words
    assert needs.missing(Need("a thing", {"sh": "dash"}, {"json": "json"})) is None


@pytest.mark.parametrize("provider", ["simulated", "existing"])
def test_a_cluster_of_no_virtual_node_needs_nothing(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(needs, "SBIN", "/nowhere")
    providers.require(provider)
    with pytest.raises(ClusterError, match=r"qemu-system-x86_64.* --cluster simulated need none"):
        providers.require("embedded")


def test_a_checkout_has_what_installs_what_is_missing() -> None:
    assert needs.PREPARE == ROOT / ".ci" / "prepare"
    assert needs.PREPARE.exists()


def test_only_a_checkout_with_its_own_environment_installs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match="no-such-program"):
        needs.prepare(IMPOSSIBLE)
    asked = tmp_path / "asked"
    script = tmp_path / "prepare"
    script.write_text(f'#!/bin/sh\necho "$@" >>{asked}\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setattr(needs, "ROOT", tmp_path)
    monkeypatch.setattr(needs, "PREPARE", script)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    needs.install(None)
    assert not asked.exists()
    with pytest.raises(ClusterError, match="could not be prepared"):
        needs.prepare(IMPOSSIBLE, "dev")
    assert asked.read_text() == "node dev\n"


TOOLS = ("sh", "dirname", "cmp", "tail", "id", "grep", "cat", "flock", "mktemp", "rm")


def test_without_apt_what_is_missing_is_said(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    project = tmp_path / "project"
    shutil.copytree(ROOT / ".ci", project / ".ci")
    shutil.copy(ROOT / "conform", project)
    run = subprocess.run(
        [project / "conform", "run"],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "Python 3.11 or newer with its modules venv and ensurepip is needed" in run.stderr
    (tools / "python3").symlink_to(sys.executable)
    run = subprocess.run(
        [project / ".ci" / "prepare", "node"],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "qemu-system-x86_64" in run.stderr
    assert "--cluster simulated" in run.stderr
