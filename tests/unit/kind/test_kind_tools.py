"""Engine and kind: found and probed; image archives: understood."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.provider import ClusterError
from clusters.kind import engine, tool
from clusters.kind.engine import Engine
from clusters.kit import image_archives as images
from tests.unit.kind.conftest import INFO, Host


def script(directory: Path, name: str, body: str) -> None:
    path = directory / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Nothing on PATH but what a test puts there."""
    monkeypatch.setenv("PATH", str(host.directory / "bin"))
    return host


def test_docker_is_asked_what_it_can(host: Host) -> None:
    assert engine.find() == Engine("docker", "20.10.24+dfsg1", 8, 2)


def test_without_an_engine_it_says_of_each_why(alone: Host) -> None:
    (alone.directory / "bin/docker").unlink()
    with pytest.raises(ClusterError) as refused:
        engine.find()
    assert "docker is not installed; podman is not installed" in str(refused.value)
    assert "install docker.io or podman, start it" in str(refused.value)


def test_a_daemon_that_is_away_is_quoted(alone: Host) -> None:
    trouble = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
    # docker 20.10 tells it so and returns 0.
    alone.set(info={"ServerErrors": [trouble], "ClientInfo": {}})
    with pytest.raises(ClusterError, match=r"docker info: .*Cannot connect to the Docker daemon"):
        engine.find()
    # docker 28 so.
    zeros = json.dumps({"ID": "", "NCPU": 0, "ServerVersion": "", "ClientInfo": {}})
    script(alone.directory, "docker", f"echo '{zeros}'; echo '{trouble}' >&2")
    with pytest.raises(ClusterError, match="docker info: Cannot connect to the Docker daemon"):
        engine.find()
    script(alone.directory, "docker", "echo permission denied while trying to connect >&2; exit 1")
    with pytest.raises(ClusterError, match="docker info: permission denied"):
        engine.find()


def test_podman_where_docker_does_not_answer(alone: Host) -> None:
    alone.set(info={"ServerErrors": ["away"]})
    info = {"host": {"cpus": 8, "cgroupVersion": "v2"}, "version": {"Version": "5.4.2"}}
    script(alone.directory, "podman", f"echo '{json.dumps(info)}'")
    assert engine.find() == Engine("podman", "5.4.2", 8, 2)


def test_the_users_choice_of_kinds_engine_is_kept(
    alone: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    with pytest.raises(ClusterError, match=r"\(podman is not installed\)"):
        engine.find()


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (INFO | {"CgroupVersion": "1"}, "docker uses cgroup v1"),
        (INFO | {"NCPU": 2}, "docker may use 2 CPUs and this host has 8: it runs elsewhere"),
    ],
)
def test_an_engine_whose_nodes_cannot_own_cpus_is_refused(
    host: Host, info: dict[str, Any], message: str
) -> None:
    host.set(info=info)
    with pytest.raises(ClusterError, match=message):
        engine.require_slices(engine.find(), 8)


def test_kind_from_path_is_used_as_it_is(host: Host) -> None:
    found = tool.find("docker", host.said.append)
    assert found == tool.Kind(str(host.directory / "bin/kind"), "docker")
    assert not host.said


@pytest.fixture
def release(alone: Host, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pinned release, to be fetched from a directory here; kind is not installed."""
    (alone.directory / "bin/kind").unlink()
    path = alone.directory / "kind-release"
    path.write_text("#!/bin/sh\necho kind\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(tool, "URL", path.as_uri())
    monkeypatch.setattr(tool, "SHA256", {"amd64": digest})
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return path


def test_the_pinned_release_is_fetched_once(alone: Host, release: Path) -> None:
    found = tool.find("docker", alone.said.append)
    assert Path(found.path).is_relative_to(alone.directory / "cache")
    assert found.do("anything") == "kind\n"
    assert alone.said == [f"fetching kind {tool.RELEASE} from {release.as_uri()}"]
    release.unlink()
    assert tool.find("docker", alone.said.append) == found


def test_a_release_with_another_checksum_is_not_used(alone: Host, release: Path) -> None:
    release.write_text("#!/bin/sh\necho something else\n")
    with pytest.raises(ClusterError, match=r"has SHA-256 \w+ instead of \w+, and is not used"):
        tool.find("docker", alone.said.append)
    release.unlink()
    with pytest.raises(ClusterError, match=r"cannot be fetched.*install Debian's package `kind`"):
        tool.find("docker", alone.said.append)


def test_a_machine_without_a_release(
    alone: Host, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ClusterError, match="no release of it is known for riscv64"):
        tool.find("docker", alone.said.append)


def archive(path: Path, name: str, content: Any) -> Path:
    data = json.dumps(content).encode()
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return path


def test_archives_of_a_directory_by_what_is_in_them(tmp_path: Path) -> None:
    archive(tmp_path / "b.tar", "manifest.json", [{"RepoTags": ["kindest/node:v1.35.0"]}])
    archive(tmp_path / "a.tar", "manifest.json", [{"RepoTags": ["x/virt-api:v1", "x/b:1"]}])
    ref = {"annotations": {"org.opencontainers.image.ref.name": "x/guest:latest"}}
    archive(tmp_path / "c.tar", "./index.json", {"manifests": [ref]})
    (tmp_path / "README").write_text("no archive")
    found = images.archives(tmp_path)
    assert [(one.path.name, one.names, one.node_image) for one in found] == [
        ("a.tar", ("x/virt-api:v1", "x/b:1"), None),
        ("b.tar", ("kindest/node:v1.35.0",), "kindest/node:v1.35.0"),
        ("c.tar", ("x/guest:latest",), None),
    ]
    assert images.archives(tmp_path / "a.tar") == found[:1]


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"there is no \*.tar in .*docker save"):
        images.archives(tmp_path)
    (tmp_path / "a.tar").write_text("nothing of the kind")
    with pytest.raises(ClusterError, match=r"a\.tar is no image archive"):
        images.archives(tmp_path)
    with pytest.raises(ClusterError, match=r"none\.tar is no image archive: .*No such file"):
        images.archives(tmp_path / "none.tar")
