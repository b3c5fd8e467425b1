"""The container engine that kind uses: docker or podman, found and asked what it can."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.contract.provider import ClusterError

NAMES = ("docker", "podman")
CHOICE = "KIND_EXPERIMENTAL_PROVIDER"
"""The environment variable by which kind itself is told which engine to use."""
CLUSTER_LABEL = "io.x-k8s.kind.cluster"
"""On every container of kind (kind pkg/cluster/internal/providers/docker/constants.go)."""
ANSWER_SECONDS = 60.0
LOAD_SECONDS = 900.0


@dataclass(frozen=True)
class Engine:
    """An engine that answers.

    Attributes:
        name: its command: ``docker`` or ``podman``.
        version: of its daemon.
        cpus: how many CPUs it may use.
        cgroup: version of the cgroups that it uses.
    """

    name: str
    version: str
    cpus: int
    cgroup: int

    def run(
        self, *words: str, stdin: bytes = b"", seconds: float = ANSWER_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command of the engine to its end.

        Raises:
            ClusterError: it did not end in time.
        """
        try:
            return subprocess.run(
                [self.name, *words], input=stdin, capture_output=True, timeout=seconds, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"`{self.name} {words[0]}` does not answer: {error}") from error

    def do(self, *words: str, seconds: float = ANSWER_SECONDS) -> str:
        """Runs a command that must succeed. Raises ClusterError with its own words."""
        ended = self.run(*words, seconds=seconds)
        if ended.returncode:
            raise ClusterError(
                f"`{' '.join((self.name, *words))}` ended with {ended.returncode}: {_said(ended)}"
            )
        return ended.stdout.decode(errors="replace")

    def running(self, cluster: str) -> frozenset[str]:
        """Names of the running containers of a kind cluster."""
        label = f"label={CLUSTER_LABEL}={cluster}"
        return frozenset(self.do("ps", "--filter", label, "--format", "{{.Names}}").split())

    def load(self, archive: Path) -> None:
        """Loads the images of an archive into the engine itself."""
        self.do("load", "--input", str(archive), seconds=LOAD_SECONDS)


def find() -> Engine:
    """The engine that answers, docker before podman.

    Raises:
        ClusterError: none is installed, or none answers; it says why of each.
    """
    chosen = os.environ.get(CHOICE)
    names = [chosen] if chosen in NAMES else NAMES
    troubles = []
    for name in names:
        if shutil.which(name) is None:
            troubles.append(f"{name} is not installed")
            continue
        try:
            return ask(name)
        except ClusterError as error:
            troubles.append(str(error))
    raise ClusterError(
        f"kind needs a container engine that answers ({'; '.join(troubles)}): install docker.io "
        "or podman, start it, and see that `docker info` works for this user"
    )


def ask(name: str) -> Engine:
    """Asks one engine. Raises ClusterError with its own words when it does not answer."""
    silent = Engine(name, "", 0, 0)
    ended = silent.run("info", "--format", "json" if name == "podman" else "{{json .}}")
    try:
        info = json.loads(ended.stdout)
        found = _podman(info) if name == "podman" else _docker(info)
    except (ValueError, KeyError, TypeError, AttributeError):
        found = silent
    # docker whose daemon is away may succeed all the same: 20.10 says so in its JSON, 28 on
    # standard error beside an answer full of zeros.
    if ended.returncode or not found.version:
        raise ClusterError(f"{name} info: {_said(ended) or 'no answer'}")
    return found


def _docker(info: Any) -> Engine:
    return Engine(
        "docker", info["ServerVersion"], int(info["NCPU"]), int(info.get("CgroupVersion") or 1)
    )


def _podman(info: Any) -> Engine:
    host = info["host"]
    version = int(str(host["cgroupVersion"]).removeprefix("v"))
    return Engine("podman", info["version"]["Version"], int(host["cpus"]), version)


def require_slices(engine: Engine, online: int) -> None:
    """Raises ClusterError where nodes of this engine cannot own CPUs of this host.

    Args:
        online: number of online CPUs of this host.
    """
    if engine.cgroup != 2:
        raise ClusterError(
            f"{engine.name} uses cgroup v1, where a kubelet cannot keep CPUs back that its node "
            "does not own: boot this host with cgroup v2, or use --cluster embedded, which "
            "brings its own kernel"
        )
    if engine.cpus != online:
        raise ClusterError(
            f"{engine.name} may use {engine.cpus} CPUs and this host has {online}: it runs "
            "elsewhere or is confined, and kind nodes could not be given CPUs of their own; use "
            "an engine that runs on this host"
        )


def _said(ended: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join((ended.stderr or ended.stdout).decode(errors="replace").split())[:500]
