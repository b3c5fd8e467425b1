"""The provider ``simulated``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from clusters.contract.access import AccessError, Capability, ClusterAccess
from clusters.contract.provider import Handle, Progress, Provider
from clusters.contract.shape import KUBELET_ROOT, ClusterSpec
from clusters.host import daemon
from clusters.reference.admin import Administrator
from clusters.reference.details import stack_capabilities, stack_description
from clusters.simulated import backdoor
from clusters.simulated.description import DESCRIPTION

MODULE = "clusters.simulated.daemon"
YES = Capability(True, "simulated")


class SimulatedAccess:
    """A simulated cluster, seen by the harness."""

    simulation = True
    acceleration = ""
    kubelet_root = KUBELET_ROOT

    def __init__(self, handle: Handle) -> None:
        self.kubeconfig = handle.kubeconfig
        self.nodes = tuple(handle.details["nodes"].split(","))
        self.description = (
            f"SIMULATION: {stack_description(handle)} on nodes that exist in memory only"
        )
        self.control = Administrator(Path(handle.directory))
        self._handle = handle
        self._directory = Path(handle.directory)
        self._socket = self._directory / backdoor.SOCKET
        self.libvirt = backdoor.SimulatedLibvirt(self._socket)
        self.guest_console = backdoor.SimulatedConsole(self._socket)

    def node_shell(self, node: str) -> backdoor.SimulatedShell:
        """As `ClusterAccess.node_shell`."""
        if node not in self.nodes:
            raise AccessError(f"there is no node {node}, only {', '.join(self.nodes)}")
        return backdoor.SimulatedShell(self._socket, node)

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`."""
        names = ("smt", "numa", "guest-console", "libvirt", "node-files")
        return {**dict.fromkeys(names, YES), **stack_capabilities(self._handle)}

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`."""
        Path(destination).mkdir(parents=True, exist_ok=True)
        shutil.copy(self._directory / daemon.LOG, destination)

    def close(self) -> None:
        """As `ClusterAccess.close`."""


class SimulatedProvider:
    """Clusters in memory; up in a second."""

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """As `Provider.up`."""
        return daemon.start(
            MODULE, DESCRIPTION.name, name, spec, directory, progress=progress, detached=detached
        )

    def connect(self, handle: Handle) -> ClusterAccess:
        """As `Provider.connect`."""
        return SimulatedAccess(handle)

    def alive(self, handle: Handle) -> str | None:
        """As `Provider.alive`."""
        return daemon.alive(handle)

    def down(self, handle: Handle) -> None:
        """As `Provider.down`."""
        daemon.stop(handle)


PROVIDER: Provider = SimulatedProvider()
