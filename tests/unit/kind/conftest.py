"""A host with a container engine and kind, as far as its commands can tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.provider import Handle
from clusters.contract.shape import ClusterSpec, NodeSpec
from clusters.host import rundir
from clusters.kind.provider import KindProvider
from clusters.kit import waiting
from clusters.reference.apiserver.resources import NODE
from tests.unit.kind import standins
from tests.unit.reference.apiserver.world import World

INFO = {
    "ServerVersion": "20.10.24+dfsg1",
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "NCPU": 8,
}
"""Of `docker info`, what is looked at."""


def write_topology(
    sys: Path, *, sockets: int = 1, cores: int = 4, threads: int = 2, numa: int = 1
) -> None:
    """The files of /sys on a host whose siblings are far apart, as Intel numbers them."""
    number = sockets * cores
    for cpu in range(number * threads):
        core = cpu % number
        topology = sys / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        siblings = ",".join(str(core + number * thread) for thread in range(threads))
        (topology / "thread_siblings_list").write_text(f"{siblings}\n")
        (topology / "physical_package_id").write_text(f"{core // cores}\n")
    (sys / "devices/system/cpu/online").write_text(f"0-{number * threads - 1}\n")
    for node in range(numa):
        directory = sys / f"devices/system/node/node{node}"
        directory.mkdir(parents=True)
        mine = [c for c in range(number * threads) if c % number * numa // number == node]
        (directory / "cpulist").write_text(",".join(map(str, mine)) + "\n")


@dataclass
class Host:
    """What the tests set, and what the stand-ins have recorded."""

    directory: Path
    world: World
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("bin", "state/nodes", "sys", "dev"):
            (self.directory / name).mkdir(parents=True)
        self.set(info=INFO)
        (self.directory / "state/kubeconfig").write_text(self.world.config.read_text())

    @property
    def provider(self) -> KindProvider:
        return KindProvider(sys=self.directory / "sys", dev=self.directory / "dev")

    def install(self, *tools: str) -> None:
        for tool in tools:
            path = self.directory / "bin" / tool
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {standins.__file__} {tool} "$@"\n')
            path.chmod(0o755)

    def set(self, **settings: Any) -> None:
        path = self.directory / "state/settings.json"
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(old | settings))

    def calls(self, tool: str, *begin: str) -> list[list[str]]:
        path = self.directory / "state/calls"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            call["args"]
            for call in found
            if call["tool"] == tool and tuple(call["args"][: len(begin)]) == begin
        ]

    @property
    def nodes(self) -> dict[str, Any]:
        """What kind was told of each node that is there."""
        return {
            path.name: json.loads((path / "config.json").read_text())
            for path in sorted((self.directory / "state/nodes").iterdir())
        }

    def cpuset(self, node: str) -> str:
        return (self.directory / "state/nodes" / node / standins.CPUSET).read_text().strip()

    def register(self, *names: str, ready: bool = True, **labels: str) -> None:
        """Nodes that the API server knows."""
        for name in names:
            condition = {"type": "Ready", "status": str(ready), "message": "no network plugin"}
            node = {
                "metadata": {"name": name, "labels": labels},
                "spec": {},
                "status": {"conditions": [condition]},
            }
            self.world.do(lambda node=node: self.world.store.create(NODE, node))  # type: ignore[misc]

    def up(
        self,
        name: str = "one",
        *,
        detached: bool = True,
        then: Callable[[str], None] = lambda _: None,
        nodes: tuple[NodeSpec, ...] = ClusterSpec().nodes,
        profile: str = "v1",
        **options: Any,
    ) -> Handle:
        """As the command line does it; `then` is called with each line of progress."""

        def say(line: str) -> None:
            self.said.append(line)
            then(line)

        directory = rundir.create(name)
        try:
            return self.provider.up(
                name,
                ClusterSpec(nodes, profile, {"kubevirt": "none", **options}),
                directory,
                progress=say,
                detached=detached,
            )
        except BaseException:
            rundir.remove(directory)
            raise


@pytest.fixture
def host(
    runtime: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Host]:
    """Four cores with two threads each, docker, kind, and a cluster one's nodes in the API."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STANDINS", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.delenv("KIND_EXPERIMENTAL_PROVIDER", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    with World(tmp_path).running() as world:
        found = Host(tmp_path, world)
        write_topology(tmp_path / "sys")
        found.install("docker", "kind")
        yield found
