"""A kind cluster, seen by the harness: nodes are containers of this host."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clusters.contract.access import AccessError, Capability, Libvirt, LibvirtView
from clusters.contract.provider import ClusterError, Handle
from clusters.existing.provider import ExistingAccess
from clusters.kind import config, tool
from clusters.kind.admin import Administrator
from clusters.kind.engine import Engine
from clusters.kit import framing, sampler
from clusters.kit.launchers import SOCKETS, container_id
from clusters.kit.libvirt_client import ask_any
from clusters.kit.sampling import PipedSampling, piped

READ_SECONDS = 180.0


class EngineShell(framing.FramedShell):
    """`clusters.contract.access.NodeShell` through ``docker exec``.

    A node has a /proc and a cgroup root of its own, so that its paths are the node's.
    """

    def __init__(self, engine: Engine, node: str) -> None:
        self._engine = engine
        self._node = node

    def sample(self, first: str) -> PipedSampling:
        """As `clusters.contract.access.NodeShell.sample`."""
        words = (self._engine.name, "exec", "--interactive", self._node, *sampler.command())
        sampling = piped(words, f"the sampler of node {self._node}")
        sampling.say(first)
        return sampling

    def _run(self, command: Sequence[str], patterns: Sequence[str]) -> bytes:
        words = ("exec", "--interactive", self._node, *command)
        try:
            ended = self._engine.run(
                *words, stdin=framing.dump_patterns(patterns), seconds=READ_SECONDS
            )
        except ClusterError as error:
            raise AccessError(f"node {self._node}: {error}") from error
        if ended.returncode:
            raise AccessError(
                f"node {self._node}: `{self._engine.name} exec` ended with {ended.returncode}: "
                f"{framing.decode(ended.stderr).strip()[:300]}"
            )
        return ended.stdout


class HostLibvirt:
    """The libvirt of each launcher through its socket, which this host's /proc shows.

    Args:
        otherwise: is asked where the socket cannot be used, such as without root.
        proc: the host's /proc.
    """

    def __init__(self, otherwise: Libvirt, proc: Path = Path("/proc")) -> None:
        self._otherwise = otherwise
        self._proc = proc

    def view(self, namespace: str, vmi: str, launcher: Mapping[str, Any]) -> LibvirtView:
        """As `Libvirt.view`."""
        socket = launcher_socket(container_id(launcher), self._proc)
        why = "no socket of it that this user may open"
        if socket is not None:
            try:
                return ask_any(socket, f"{namespace}_{vmi}")
            except AccessError as error:
                why = str(error)
        view = self._otherwise.view(namespace, vmi, launcher)
        return replace(view, source=f"{view.source} (this host's /proc shows {why})")


def launcher_socket(container: str, proc: Path) -> Path | None:
    """Where this host sees the socket of a launcher's libvirt; None where it does not.

    Args:
        container: id of its compute container; the cgroups of its processes bear it.
    """
    for cgroup in proc.glob("[0-9]*/cgroup"):
        try:
            if container not in cgroup.read_text():
                continue
            for place in SOCKETS:
                path = cgroup.parent / "root" / place
                if path.is_socket() and os.access(path, os.R_OK | os.W_OK):
                    return path
        except OSError:
            continue  # it has ended, or is not ours to look into
    return None


class KindAccess(ExistingAccess):
    """`clusters.contract.access.ClusterAccess` of a cluster whose nodes are containers here."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        details = handle.details
        self._engine = Engine(details["engine"], "", 0, 2)
        self._kind = tool.Kind(details["kind"], details["engine"])
        self._cluster = details["cluster"]
        self.nodes = tuple(details["nodes"].split(","))
        workers = enumerate(self.nodes[1:], 1)
        patches = {node: config.patch_directory(handle.directory, n) for n, node in workers}
        self.control = Administrator(self._engine, patches)
        self.description = (
            f"KubeVirt {details.get('kubevirt') or 'of an unknown version'} on Kubernetes "
            f"{details.get('kubernetes', '')} on kind; its nodes own the CPUs {details['cpus']} "
            f"of this host; {details['guests']}"
        )

    def node_shell(self, node: str) -> EngineShell:
        """As `ClusterAccess.node_shell`."""
        if node not in self.nodes:
            raise AccessError(f"there is no node {node}, only {', '.join(self.nodes)}")
        return EngineShell(self._engine, node)

    @property
    def libvirt(self) -> Libvirt:
        """As `ClusterAccess.libvirt`."""
        return HostLibvirt(super().libvirt)

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`; ``smt`` and ``numa`` as the nodes see the host."""
        how = "virsh in the launcher's compute container: sockets below /proc are for root"
        if os.geteuid() == 0:
            how = "libvirt-python over the launcher's socket below /proc"
        return {
            **super().capabilities(),
            "libvirt": Capability(True, how),
            "node-files": Capability(True, f"{self._engine.name} exec"),
            "disruption": Capability(True, "the cluster was made for the run"),
            "kubelet-control": Capability(True, f"systemctl through {self._engine.name} exec"),
        }

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`: of KubeVirt, and what kind exports of its nodes."""
        super().collect_logs(destination)
        export_logs(self._kind, self._cluster, Path(destination) / "kind")


def export_logs(kind: tool.Kind, cluster: str, directory: Path) -> None:
    """Lets kind write the logs of all nodes; what went wrong with it is in ``errors.txt``."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        kind.do("export", "logs", str(directory), "--name", cluster)
    except (ClusterError, OSError) as error:
        (directory / "errors.txt").write_text(f"{error}\n")
