"""The provider ``virtual``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from clusters import daemon
from clusters.access import AccessError, Capability
from clusters.provider import Handle, Progress, Provider
from clusters.shape import ClusterSpec
from clusters.virtual import binaries
from clusters.virtual.daemon import CONTROL_PLANE
from clusters.virtual.kubelet import Administrator
from clusters.virtual.node_layout import CONTAINERD_LOG, KUBELET_LOG, KUBELET_ROOT
from clusters.virtual_node import fleet
from clusters.virtual_node.hardware import topology
from clusters.virtual_node.shell import Shell

MODULE = "clusters.virtual.daemon"
NO_KUBEVIRT = "no KubeVirt is deployed on this cluster"


class NoKubeVirt:
    """The libvirt and the consoles of a cluster that has neither."""

    def view(self, namespace: str, vmi: str) -> NoReturn:
        """As `clusters.access.Libvirt.view`."""
        raise AccessError(f"{namespace}/{vmi} has no libvirt: {NO_KUBEVIRT}")

    def text(
        self,
        namespace: str,
        vmi: str,
        enough: Callable[[str], bool],  # noqa: ARG002
    ) -> NoReturn:
        """As `clusters.access.GuestConsole.text`."""
        raise AccessError(f"{namespace}/{vmi} has no console: {NO_KUBEVIRT}")


class VirtualAccess:
    """A virtual cluster, seen by the harness over connections of its own."""

    simulation = False
    kubelet_root = KUBELET_ROOT

    def __init__(self, handle: Handle) -> None:
        details = handle.details
        self.kubeconfig = handle.kubeconfig
        self.nodes = fleet.names(handle)
        self.acceleration = details["acceleration"]
        self.description = (
            f"Kubernetes {details['kubernetes']} without KubeVirt on virtual nodes "
            f"(kubelet {details['kubelet']}, {details['runtime']})"
        )
        self.libvirt = self.guest_console = NoKubeVirt()
        self._handle = handle
        self.control = Administrator(Path(handle.directory))

    def node_shell(self, node: str) -> Shell:
        """As `ClusterAccess.node_shell`."""
        return fleet.shell(self._handle, node)

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`."""
        return {
            "libvirt": Capability(False, NO_KUBEVIRT),
            "guest-console": Capability(False, NO_KUBEVIRT),
            "node-files": Capability(True, "ssh to the virtual node"),
            "disruption": Capability(True, "the cluster was made for the run"),
            "kubelet-control": Capability(True, "ssh to the virtual node"),
            **topology(self.node_shell(node) for node in self.nodes),
        }

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`: of the control plane, the machines, the kubelets."""
        target = Path(destination)
        fleet.collect_logs(self._handle, target)
        for log in (Path(self._handle.directory) / CONTROL_PLANE).glob("*.log"):
            shutil.copy(log, target)
        for node in self.nodes:
            try:
                texts = self.node_shell(node).read((KUBELET_LOG, CONTAINERD_LOG)).files
            except AccessError as error:
                texts = {"/kubelet.log": f"could not be read: {error}\n"}
            for path, text in texts.items():
                (target / f"{node}.{Path(path).name}").write_text(text)

    def close(self) -> None:
        """As `ClusterAccess.close`: every question is a connection of its own."""


class VirtualProvider:
    """A Kubernetes of the user's on virtual nodes of this host."""

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """As `Provider.up`."""
        binaries.find(spec.kubernetes)
        progress(f"{NO_KUBEVIRT}: what can be judged is --matrix pods")
        return daemon.start(
            MODULE, "virtual", name, spec, directory, progress=progress, detached=detached
        )

    def connect(self, handle: Handle) -> VirtualAccess:
        """As `Provider.connect`."""
        return VirtualAccess(handle)

    def alive(self, handle: Handle) -> str | None:
        """As `Provider.alive`."""
        return daemon.alive(handle)

    def down(self, handle: Handle) -> None:
        """As `Provider.down`."""
        fleet.down(handle)


PROVIDER: Provider = VirtualProvider()
