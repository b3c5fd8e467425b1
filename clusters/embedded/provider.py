"""The provider ``embedded``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clusters.contract.access import Capability, LibvirtView
from clusters.contract.provider import Handle, Progress, Provider
from clusters.contract.shape import KUBELET_ROOT, ClusterSpec
from clusters.embedded import container_scripts
from clusters.embedded.description import DESCRIPTION, IMMOBILE
from clusters.host import daemon, rundir
from clusters.kit import libvirt_client
from clusters.kit.console import ApiConsole
from clusters.kit.launchers import container_id
from clusters.reference.admin import Administrator
from clusters.reference.details import stack_capabilities, stack_description
from clusters.virtual_node import fleet
from clusters.virtual_node.hardware import topology
from clusters.virtual_node.shell import Shell, forwarded

ShellOf = Callable[[str], Shell]
MODULE = "clusters.embedded.daemon"


class EmbeddedAccess:
    """An embedded cluster, seen by the harness over connections of its own."""

    simulation = False
    kubelet_root = KUBELET_ROOT

    def __init__(self, handle: Handle) -> None:
        self.kubeconfig = handle.kubeconfig
        self.nodes = fleet.names(handle)
        self.description = (
            f"{stack_description(handle)} (it proves the harness, never KubeVirt) on virtual nodes"
        )
        self.control = Administrator(Path(handle.directory))
        self._handle = handle
        self.acceleration = handle.details["acceleration"]
        self.guest_console = ApiConsole(handle.kubeconfig)
        self._sockets = rundir.sockets()

    @functools.cached_property
    def libvirt(self) -> ForwardedLibvirt:
        """As `ClusterAccess.libvirt`."""
        return ForwardedLibvirt(self.node_shell, Path(self._sockets.name))

    def node_shell(self, node: str) -> Shell:
        """As `ClusterAccess.node_shell`."""
        return fleet.shell(self._handle, node)

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`."""
        return {
            "libvirt": Capability(True, "libvirt-python over a forwarded socket"),
            "node-files": Capability(True, "ssh to the virtual node"),
            "guest-console": Capability(True, "KubeVirt's console subresource"),
            **topology(self.node_shell(node) for node in self.nodes),
            **stack_capabilities(self._handle, immobile=IMMOBILE),
        }

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`: of the stack, and of each machine."""
        fleet.collect_logs(self._handle, Path(destination))

    def close(self) -> None:
        """As `ClusterAccess.close`."""
        self._sockets.cleanup()


class ForwardedLibvirt:
    """The libvirt of each launcher, through its own socket and libvirt-python."""

    def __init__(self, shell_of: ShellOf, sockets: Path) -> None:
        self._shell_of = shell_of
        self._sockets = sockets

    def view(self, namespace: str, vmi: str, launcher: Mapping[str, Any]) -> LibvirtView:
        """As `clusters.contract.access.Libvirt.view`."""
        shell = self._shell_of(launcher["spec"]["nodeName"])
        remote = container_scripts.libvirt_socket(container_id(launcher))
        with forwarded(shell, remote, self._sockets) as socket:
            return libvirt_client.ask(socket, f"{namespace}_{vmi}")


class EmbeddedProvider:
    """Clusters of virtual nodes on this host."""

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """As `Provider.up`."""
        return daemon.start(
            MODULE, DESCRIPTION.name, name, spec, directory, progress=progress, detached=detached
        )

    def connect(self, handle: Handle) -> EmbeddedAccess:
        """As `Provider.connect`."""
        return EmbeddedAccess(handle)

    def alive(self, handle: Handle) -> str | None:
        """As `Provider.alive`."""
        return daemon.alive(handle)

    def down(self, handle: Handle) -> None:
        """As `Provider.down`."""
        fleet.down(handle)


PROVIDER: Provider = EmbeddedProvider()
