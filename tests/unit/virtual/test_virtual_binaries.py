"""What is missing of a Kubernetes is said at once, all of it, with where to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.provider import ClusterError
from clusters.virtual import binaries

ALL = (*binaries.CONTROL_PLANE, binaries.KUBELET)


def program(path: Path, script: str = "exit 0") -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With every program of Kubernetes; this host has no etcd."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    place = tmp_path / "bin"
    place.mkdir()
    for name in ALL:
        program(place / name)
    return place


def test_a_whole_directory_is_found(directory: Path) -> None:
    program(directory / "etcd")
    found = binaries.find(str(directory))
    assert found.kubelet == directory / "kubelet"
    assert found["kube-scheduler"] == str(directory / "kube-scheduler")
    assert found.etcd == directory / "etcd"


def test_etcd_may_be_this_hosts(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = tmp_path / "usr-bin"
    host.mkdir()
    program(host / "etcd")
    monkeypatch.setenv("PATH", str(host))
    assert binaries.find(str(directory)).etcd == host / "etcd"


def test_no_directory_is_named() -> None:
    with pytest.raises(ClusterError, match="give --kubernetes DIR, a directory with kube-api"):
        binaries.find(None)


def test_there_is_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no such directory"):
        binaries.find(str(tmp_path / "none"))


def test_everything_that_is_missing_is_named(directory: Path) -> None:
    (directory / "kubelet").unlink()
    (directory / "kube-scheduler").chmod(0o644)
    with pytest.raises(ClusterError, match=r"no executable kube-scheduler, kubelet: .*server/bin"):
        binaries.find(str(directory))


def test_etcd_is_missing(directory: Path) -> None:
    with pytest.raises(ClusterError, match=r"etcd is neither in .* nor on this host: .* apt-get"):
        binaries.find(str(directory))


def test_the_version_is_told(directory: Path) -> None:
    program(directory / "etcd")
    program(directory / "kube-apiserver", "echo Kubernetes v1.34.2")
    assert binaries.version(binaries.find(str(directory))) == "v1.34.2"


@pytest.mark.parametrize("script", ["exit 1", "echo Exec format error >&2; exit 126"])
def test_a_program_of_another_machine_is_no_kubernetes(directory: Path, script: str) -> None:
    program(directory / "etcd")
    program(directory / "kube-apiserver", script)
    with pytest.raises(ClusterError, match="does not tell its version"):
        binaries.version(binaries.find(str(directory)))
