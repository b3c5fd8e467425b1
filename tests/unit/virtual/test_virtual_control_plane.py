"""The programs of the control plane: what they are told, how they are watched and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from clusters.contract.provider import ClusterError
from clusters.host import processes
from clusters.virtual import control_plane, pki
from clusters.virtual.binaries import CONTROL_PLANE, Binaries
from clusters.virtual.control_plane import Ports
from clusters.virtual_node.machine import free_port


@pytest.fixture
def commands(tmp_path: Path) -> Mapping[str, Sequence[str]]:
    """Command lines of a control plane below the directory of the test."""
    return control_plane.commands(
        Binaries(Path("/opt/k8s"), Path("/usr/bin/etcd")),
        pki.make(tmp_path / "pki", 2),
        Ports(etcd=1, api=2),
        tmp_path / "data",
        tmp_path / "egress.yaml",
    )


def test_everything_is_started_etcd_first(commands: Mapping[str, Sequence[str]]) -> None:
    assert tuple(commands) == ("etcd", *CONTROL_PLANE)
    assert [command[0] for command in commands.values()] == [
        "/usr/bin/etcd",
        *(f"/opt/k8s/{name}" for name in CONTROL_PLANE),
    ]


def test_it_listens_on_loopback_alone(commands: Mapping[str, Sequence[str]]) -> None:
    for name, command in commands.items():
        flags = dict(word.removeprefix("--").split("=", 1) for word in command[1:])
        listens = [value for flag, value in flags.items() if "listen" in flag or "bind" in flag]
        assert listens, name
        assert all("127.0.0.1" in value for value in listens), name


def test_files_that_are_named_are_there(
    commands: Mapping[str, Sequence[str]], tmp_path: Path
) -> None:
    below = str(tmp_path / "pki")
    named = {word.split("=", 1)[1] for command in commands.values() for word in command[1:]}
    files = {value for value in named if value.startswith(below)}
    assert len(files) >= 6
    assert all(Path(path).exists() for path in files)


def test_the_api_server_reaches_nodes_through_the_proxy(tmp_path: Path) -> None:
    selection = yaml.safe_load(control_plane.egress(tmp_path / "s"))["egressSelections"]
    assert [each["name"] for each in selection] == ["cluster"]
    assert selection[0]["connection"]["transport"]["uds"]["udsName"] == str(tmp_path / "s")


def test_what_died_is_named_with_its_last_words(tmp_path: Path) -> None:
    async def run() -> None:
        started = {"etcd": ["sleep", "60"], "kube-apiserver": ["sh", "-c", "echo no room; exit 3"]}
        async with control_plane.control_plane(tmp_path, started) as plane:
            while plane.dead() is None:
                await asyncio.sleep(0.01)
            plane.not_ready(str(tmp_path / "kubeconfig"))

    with pytest.raises(ClusterError, match="kube-apiserver has ended with 3:\nno room"):
        asyncio.run(run())


def test_everything_ends_with_the_context(tmp_path: Path) -> None:
    async def run() -> str:
        started = {"etcd": ["sh", "-c", "echo $$; trap '' TERM; while :; do sleep 1; done"]}
        async with control_plane.control_plane(tmp_path, started) as plane:
            while not (said := plane.log("etcd").read_text()).strip():
                await asyncio.sleep(0.01)
            identity = processes.identity(int(said))
            assert processes.alive(identity)
            assert plane.dead() is None
            return identity

    assert not processes.alive(asyncio.run(run()))


def test_an_api_server_that_does_not_answer_is_not_ready(tmp_path: Path) -> None:
    async def run() -> str | None:
        async with control_plane.control_plane(tmp_path, {"etcd": ["sleep", "60"]}) as plane:
            kubeconfig = pki.make(tmp_path / "pki", free_port()).path("admin.kubeconfig")
            return await asyncio.to_thread(plane.not_ready, kubeconfig)

    assert "nothing answers at https://127.0.0.1" in str(asyncio.run(run()))
