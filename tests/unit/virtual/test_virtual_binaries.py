"""What is missing of a Kubernetes is fetched, or said at once: all of it, with where to get it."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.virtual import binaries, release

ALL = (*binaries.CONTROL_PLANE, binaries.KUBELET)


def program(path: Path, script: str = "exit 0") -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def unheard(line: str) -> None:
    pytest.fail(f"nothing has to be fetched: {line}")


def find(directory: Path) -> binaries.Binaries:
    return binaries.find(str(directory), unheard)


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this host has its programs; its cache is empty."""
    place = tmp_path / "usr-bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With every program of Kubernetes."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ALL:
        program(place / name)
    return place


def test_a_whole_directory_is_found(directory: Path) -> None:
    program(directory / "etcd")
    found = find(directory)
    assert found.kubelet == directory / "kubelet"
    assert found["kube-scheduler"] == str(directory / "kube-scheduler")
    assert found.etcd == directory / "etcd"


def test_etcd_may_be_this_hosts(directory: Path, path: Path) -> None:
    program(path / "etcd")
    assert find(directory).etcd == path / "etcd"


def test_there_is_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no such directory"):
        find(tmp_path / "none")


def test_everything_that_is_missing_is_named(directory: Path) -> None:
    (directory / "kubelet").unlink()
    (directory / "kube-scheduler").chmod(0o644)
    with pytest.raises(ClusterError, match=r"no executable kube-scheduler, kubelet: .*server/bin"):
        find(directory)


APT = 'test "$*" = "download -qq etcd-server" && echo package > etcd-server_3_amd64.deb'
DPKG = 'read word < "$2"; mkdir -p usr/bin; echo "#!/bin/sh" > usr/bin/etcd; test $word = package'


def test_etcd_is_unpacked_once_from_the_distributions_package(directory: Path, path: Path) -> None:
    said: list[str] = []
    program(path / "apt-get", APT)
    program(path / "dpkg-deb", f"PATH=/usr/bin:/bin; {DPKG}")
    found = binaries.find(str(directory), said.append).etcd
    assert found.read_text() == "#!/bin/sh\n"
    assert said == ["unpacking this host's package etcd-server"]
    (path / "apt-get").unlink()
    assert find(directory).etcd == found


@pytest.mark.parametrize("script", [None, "echo 'E: Unable to locate package' >&2; exit 100"])
def test_etcd_is_not_to_be_had(directory: Path, path: Path, script: str | None) -> None:
    if script is not None:
        program(path / "apt-get", script)
    with pytest.raises(ClusterError, match=r"etcd is not on .*(Unable|No such).*: put `etcd` on"):
        binaries.find(str(directory), print)


@pytest.fixture
def archive(tmp_path: Path, path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pinned release, to be fetched from a directory here."""
    program(path / "etcd")
    place = tmp_path / "release.tar.gz"
    with tarfile.open(place, "w:gz") as packed:
        packed.add(directory, release.PROGRAMS)
    monkeypatch.setattr(release, "URL", place.as_uri())
    monkeypatch.setattr(release, "SHA512", hashlib.sha512(place.read_bytes()).hexdigest())
    return place


def test_the_pinned_release_is_fetched_once(archive: Path) -> None:
    said: list[str] = []
    found = binaries.find(None, said.append)
    assert {file.name for file in found.directory.iterdir()} == set(ALL)
    assert said == [
        f"fetching Kubernetes {release.RELEASE} from {archive.as_uri()}",
        f"Kubernetes {release.RELEASE}: unpacking 4 programs",
    ]
    archive.unlink()
    assert binaries.find(None, unheard) == found


def test_another_archive_than_the_pinned_one_is_not_used(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(ClusterError, match=r"has SHA-512 \w+ instead of .*, and is not used"):
        binaries.find(None, print)
    archive.unlink()
    with pytest.raises(ClusterError, match=r"cannot be fetched .*: give --kubernetes DIR, a dir"):
        binaries.find(None, print)
    assert not list((tmp_path / "cache/cpu-conformance").glob("kubernetes-*"))


def test_no_release_runs_on_nodes_of_another_machine(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(ClusterError, match="nodes are amd64, and this host is aarch64"):
        binaries.find(None, print)


def test_the_version_is_told(directory: Path) -> None:
    program(directory / "etcd")
    program(directory / "kube-apiserver", "echo Kubernetes v1.34.2")
    assert binaries.version(find(directory)) == "v1.34.2"


@pytest.mark.parametrize("script", ["exit 1", "echo Exec format error >&2; exit 126"])
def test_a_program_of_another_machine_is_no_kubernetes(directory: Path, script: str) -> None:
    program(directory / "etcd")
    program(directory / "kube-apiserver", script)
    with pytest.raises(ClusterError, match="does not tell its version"):
        binaries.version(find(directory))
