"""The provider ``embedded``."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from clusters import daemon, processes
from clusters.access import AccessError, Capability, LibvirtView
from clusters.api import Api
from clusters.console import ApiConsole
from clusters.embedded import libvirt_client
from clusters.embedded.admin import Administrator
from clusters.embedded.serving import stack_capabilities, stack_description
from clusters.launchers import container_id, launcher_pod
from clusters.provider import Handle, Progress, Provider
from clusters.shape import KUBELET_ROOT, ClusterSpec
from clusters.virtual_node import machine
from clusters.virtual_node.hardware import topology
from clusters.virtual_node.shell import Shell

ShellOf = Callable[[str], Shell]
MODULE = "clusters.embedded.daemon"


class EmbeddedAccess:
    """An embedded cluster, seen by the harness over connections of its own."""

    simulation = False
    kubelet_root = KUBELET_ROOT

    def __init__(self, handle: Handle) -> None:
        self.kubeconfig = handle.kubeconfig
        self.nodes = tuple(handle.details["nodes"].split(","))
        self.description = (
            f"{stack_description(handle)} (it proves the harness, never KubeVirt) on virtual nodes"
        )
        self.control = Administrator(Path(handle.directory))
        self._handle = handle
        self.acceleration = handle.details["acceleration"]
        self._directory = Path(handle.directory)
        self.guest_console = ApiConsole(handle.kubeconfig)
        # Below /tmp in any case: a socket's path must be short.
        self._sockets = tempfile.TemporaryDirectory(prefix="conform-")

    @functools.cached_property
    def libvirt(self) -> ForwardedLibvirt:
        """As `ClusterAccess.libvirt`."""
        return ForwardedLibvirt(Api(self.kubeconfig), self.node_shell, Path(self._sockets.name))

    def node_shell(self, node: str) -> Shell:
        """As `ClusterAccess.node_shell`."""
        found = machine.load(self._directory / node) if node in self.nodes else None
        if found is None:
            raise AccessError(f"there is no node {node}, only {', '.join(self.nodes)}")
        return found.shell

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`."""
        return {
            "libvirt": Capability(True, "libvirt-python over a forwarded socket"),
            "node-files": Capability(True, "ssh to the virtual node"),
            "guest-console": Capability(True, "KubeVirt's console subresource"),
            **topology(self.node_shell(node) for node in self.nodes),
            **stack_capabilities(self._handle),
        }

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`: of the stack, and of each machine."""
        target = Path(destination)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._directory / daemon.LOG, target)
        for node in self.nodes:
            for name in (machine.SERIAL_LOG, machine.QEMU_LOG):
                log = self._directory / node / name
                if log.exists():
                    shutil.copy(log, target / f"{node}.{name}")

    def close(self) -> None:
        """As `ClusterAccess.close`."""
        self._sockets.cleanup()


class ForwardedLibvirt:
    """The libvirt of each launcher, through its own socket and libvirt-python."""

    def __init__(self, api: Api, shell_of: ShellOf, sockets: Path) -> None:
        self._api = api
        self._shell_of = shell_of
        self._sockets = sockets

    def view(self, namespace: str, vmi: str) -> LibvirtView:
        """As `clusters.access.Libvirt.view`."""
        pod = launcher_pod(self._api, namespace, vmi)
        return libvirt_client.view(
            self._shell_of(pod["spec"]["nodeName"]),
            container_id(pod, "compute"),
            f"{namespace}_{vmi}",
            self._sockets,
        )


class EmbeddedProvider:
    """Clusters of virtual nodes on this host."""

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """As `Provider.up`."""
        return daemon.start(
            MODULE, "embedded", name, spec, directory, progress=progress, detached=detached
        )

    def connect(self, handle: Handle) -> EmbeddedAccess:
        """As `Provider.connect`."""
        return EmbeddedAccess(handle)

    def alive(self, handle: Handle) -> str | None:
        """As `Provider.alive`."""
        return daemon.alive(handle)

    def down(self, handle: Handle) -> None:
        """As `Provider.down`; machines that their process left behind are ended as well."""
        for directory in sorted(Path(handle.directory).glob("*/")):
            left = machine.load(directory)
            if left is not None and not processes.alive(handle.details["process"]):
                left.stop()
        daemon.stop(handle)


PROVIDER: Provider = EmbeddedProvider()
