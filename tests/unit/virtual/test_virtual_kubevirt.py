"""KubeVirt on a virtual cluster, without a machine: what is asked for, and where libvirt is."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters import providers
from clusters.contract.provider import ClusterError
from clusters.contract.shape import ClusterSpec, NodeShape, NodeSpec
from clusters.virtual import access, kubevirt

CONTAINER = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            ClusterSpec(options={"kubevirt": "operator.yaml"}),
            "reach no registry: give --images DIR",
        ),
        (
            ClusterSpec(
                options={"kubevirt": "operator.yaml", "images": "images"}, profile="v1alpha2"
            ),
            "is of profile v1, not v1alpha2",
        ),
        (
            ClusterSpec(options={"kubevirt": "nothing.yaml", "images": "images"}),
            r"nothing\.yaml is not there",
        ),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: ClusterSpec, message: str
) -> None:
    monkeypatch.setattr("clusters.virtual.binaries.find", lambda *_: None)
    with pytest.raises(ClusterError, match=message):
        providers.provider("virtual").up("x", spec, tmp_path, progress=print, detached=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("source", "wanted"), [(None, False), ("none", False), ("a.yaml", True)])
def test_a_kubevirt_is_deployed_where_one_is_named(source: str | None, wanted: bool) -> None:
    assert kubevirt.wanted(ClusterSpec(options={"kubevirt": source})) is wanted


def test_nodes_get_memory_for_it() -> None:
    small, large = kubevirt.roomy(
        (NodeSpec("a"), NodeSpec("b", NodeShape(memory_mib=3 * kubevirt.MEMORY_MIB)))
    )
    assert small == NodeSpec("a", NodeShape(memory_mib=kubevirt.MEMORY_MIB))
    assert large.shape.memory_mib == 3 * kubevirt.MEMORY_MIB


Process = Callable[[int, str, str], Path]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Makes a process of a /proc: its id, its cgroup, and where its socket lies, if any."""
    sockets = []

    def make(number: int, cgroup: str, place: str) -> Path:
        directory = tmp_path / str(number)
        path = directory / "root" / place
        path.parent.mkdir(parents=True)
        (directory / "cgroup").write_text(f"0::{cgroup}\n")
        if place:
            listening = socket.socket(socket.AF_UNIX)
            # Its own name may be too long for an address.
            here = Path.cwd()
            os.chdir(path.parent)
            listening.bind(path.name)
            os.chdir(here)
            sockets.append(listening)
        return path

    yield make
    for each in sockets:
        each.close()


def found(proc: Path) -> str:
    script = access.socket_script(CONTAINER).replace("/proc/", f"{proc}/")
    done: Any = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return str(done.stdout).strip()


@pytest.mark.parametrize("place", ["var/run/libvirt/virtqemud-sock", "run/libvirt/virtqemud-sock"])
@pytest.mark.parametrize("below", ["", "/housekeeping"])
def test_the_socket_of_a_launcher_is_found(
    tmp_path: Path, process: Process, place: str, below: str
) -> None:
    process(1, "/", "")
    process(20, "/kubepods/podx/other", "run/libvirt/virtqemud-sock")
    path = process(21, f"/kubepods/podx/{CONTAINER}{below}", place)
    (tmp_path / "22").mkdir()  # it has ended while it was looked at
    assert found(tmp_path) == str(path)


def test_a_launcher_without_a_socket_has_none(tmp_path: Path, process: Process) -> None:
    process(21, f"/kubepods/podx/{CONTAINER}", "")
    assert found(tmp_path) == ""
