"""A virtual cluster, seen by the harness: with and without a KubeVirt on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from clusters.contract.access import AccessError, Capability, Libvirt, LibvirtView
from clusters.contract.provider import Handle
from clusters.existing.provider import ExistingAccess
from clusters.host import rundir
from clusters.kit import libvirt_client
from clusters.kit.launchers import SOCKETS, container_id
from clusters.virtual.control_plane import DIRECTORY
from clusters.virtual.kubelet import Administrator
from clusters.virtual.node_layout import CONTAINERD_LOG, KUBELET_LOG, KUBELET_ROOT
from clusters.virtual_node import fleet
from clusters.virtual_node.hardware import topology
from clusters.virtual_node.shell import Shell, forwarded

NO_KUBEVIRT = "no KubeVirt is deployed on this cluster"

_CAPABILITIES = {
    "node-files": Capability(True, "ssh to the virtual node"),
    "disruption": Capability(True, "the cluster was made for the run"),
    "kubelet-control": Capability(True, "ssh to the virtual node"),
}


def _described(handle: Handle) -> str:
    """Its Kubernetes, in a line."""
    details = handle.details
    return (
        f"Kubernetes {details['kubernetes']} on virtual nodes "
        f"(kubelet {details['kubelet']}, {details['runtime']})"
    )


def _collect_logs(handle: Handle, target: Path) -> None:
    """Copies the logs of the control plane, the machines, the kubelets; makes the directory."""
    fleet.collect_logs(handle, target)
    for log in (Path(handle.directory) / DIRECTORY).glob("*.log"):
        shutil.copy(log, target)
    for node in fleet.names(handle):
        try:
            texts = fleet.shell(handle, node).read((KUBELET_LOG, CONTAINERD_LOG)).files
        except AccessError as error:
            texts = {"/kubelet.log": f"could not be read: {error}\n"}
        for path, text in texts.items():
            (target / f"{node}.{Path(path).name}").write_text(text)


class NoKubeVirt:
    """The libvirt and the consoles of a cluster that has neither."""

    def view(
        self,
        namespace: str,
        vmi: str,
        launcher: Mapping[str, Any],  # noqa: ARG002
    ) -> NoReturn:
        """As `clusters.contract.access.Libvirt.view`."""
        raise AccessError(f"{namespace}/{vmi} has no libvirt: {NO_KUBEVIRT}")

    def text(
        self,
        namespace: str,
        vmi: str,
        enough: Callable[[str], bool],  # noqa: ARG002
    ) -> NoReturn:
        """As `clusters.contract.access.GuestConsole.text`."""
        raise AccessError(f"{namespace}/{vmi} has no console: {NO_KUBEVIRT}")


class VirtualAccess:
    """A virtual cluster without a KubeVirt, over connections of its own."""

    simulation = False
    kubelet_root = KUBELET_ROOT

    def __init__(self, handle: Handle) -> None:
        self.kubeconfig = handle.kubeconfig
        self.nodes = fleet.names(handle)
        self.acceleration = handle.details["acceleration"]
        self.description = f"{_described(handle)} without KubeVirt"
        self.libvirt = self.guest_console = NoKubeVirt()
        self.control = Administrator(Path(handle.directory))
        self._handle = handle

    def node_shell(self, node: str) -> Shell:
        """As `ClusterAccess.node_shell`."""
        return fleet.shell(self._handle, node)

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`."""
        return {
            "libvirt": Capability(False, NO_KUBEVIRT),
            "guest-console": Capability(False, NO_KUBEVIRT),
            **_CAPABILITIES,
            **topology(self.node_shell(node) for node in self.nodes),
        }

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`."""
        _collect_logs(self._handle, Path(destination))

    def close(self) -> None:
        """As `ClusterAccess.close`: every question is a connection of its own."""


class NodeLibvirt:
    """The libvirt of each launcher, through its socket below the node's /proc.

    Args:
        handle: of the cluster.
        sockets: a directory of this process alone, with a short path.
    """

    def __init__(self, handle: Handle, sockets: Path) -> None:
        self._handle = handle
        self._sockets = sockets

    def view(self, namespace: str, vmi: str, launcher: Mapping[str, Any]) -> LibvirtView:
        """As `clusters.contract.access.Libvirt.view`."""
        shell = fleet.shell(self._handle, launcher["spec"]["nodeName"])
        remote = shell.run(socket_script(container_id(launcher))).text.strip()
        if not remote:
            raise AccessError(f"no process of {namespace}/{vmi}'s launcher shows libvirt's socket")
        with forwarded(shell, remote, self._sockets) as socket:
            return libvirt_client.ask_any(socket, f"{namespace}_{vmi}")


def socket_script(container: str) -> str:
    """A script that prints where a node sees the socket of a launcher's libvirt, if it does.

    Args:
        container: id of its compute container; the cgroups of its processes bear it.
    """
    tried = " ".join(f'"${{cgroup%/cgroup}}/root/{place}"' for place in SOCKETS)
    # Nothing here forks: a fork is dear, and processes are many.
    return (
        "for cgroup in /proc/[0-9]*/cgroup; do { read -r line <$cgroup; } 2>/dev/null || continue; "
        f"case $line in *{container}*) for socket in {tried}; do "
        '[ -S "$socket" ] && echo "$socket" && exit; done;; esac; done; true'
    )


class KubeVirtAccess(ExistingAccess):
    """`clusters.contract.access.ClusterAccess` of a virtual cluster that has a KubeVirt."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        details = handle.details
        self.nodes = fleet.names(handle)
        self.acceleration = details["acceleration"]
        self.control = Administrator(Path(handle.directory))
        self.description = f"KubeVirt {details['kubevirt']} on {_described(handle)}"
        self._handle = handle
        self._sockets = rundir.sockets()

    def node_shell(self, node: str) -> Shell:
        """As `ClusterAccess.node_shell`."""
        return fleet.shell(self._handle, node)

    @property
    def libvirt(self) -> Libvirt:
        """As `ClusterAccess.libvirt`."""
        return NodeLibvirt(self._handle, Path(self._sockets.name))

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`."""
        return {
            **super().capabilities(),
            "libvirt": Capability(True, "libvirt-python over the launcher's forwarded socket"),
            **_CAPABILITIES,
            **topology(self.node_shell(node) for node in self.nodes),
        }

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`: of KubeVirt, and of all below it."""
        super().collect_logs(destination)
        _collect_logs(self._handle, Path(destination))

    def close(self) -> None:
        """As `ClusterAccess.close`."""
        super().close()
        self._sockets.cleanup()
