"""The provider ``virtual``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clusters.contract.provider import ClusterError, Handle, Progress, Provider
from clusters.contract.shape import ClusterSpec
from clusters.host import daemon
from clusters.kit.api import ApiError
from clusters.virtual import binaries, kubevirt
from clusters.virtual.access import NO_KUBEVIRT, KubeVirtAccess, VirtualAccess
from clusters.virtual.description import DESCRIPTION, Settings
from clusters.virtual_node import fleet

MODULE = "clusters.virtual.daemon"
KUBEVIRT = "kubevirt"
"""In the handle's details: its version, where there is one."""


class VirtualProvider:
    """A Kubernetes of the user's on virtual nodes of this host."""

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """As `Provider.up`."""
        kubevirt.require_possible(spec)
        binaries.find(Settings(**spec.options).kubernetes, progress)
        if kubevirt.wanted(spec):
            spec = replace(spec, nodes=kubevirt.roomy(spec.nodes))
        else:
            progress(
                f"{NO_KUBEVIRT} (--kubevirt and --images would): what can be judged is --matrix "
                "pods"
            )
        return daemon.start(
            MODULE, DESCRIPTION.name, name, spec, directory, progress=progress, detached=detached
        )

    def connect(self, handle: Handle) -> VirtualAccess | KubeVirtAccess:
        """As `Provider.connect`. Raises ClusterError when the API does not answer."""
        if KUBEVIRT not in handle.details:
            return VirtualAccess(handle)
        try:
            return KubeVirtAccess(handle)
        except ApiError as error:
            raise ClusterError(str(error)) from error

    def alive(self, handle: Handle) -> str | None:
        """As `Provider.alive`."""
        return daemon.alive(handle)

    def down(self, handle: Handle) -> None:
        """As `Provider.down`."""
        fleet.down(handle)


PROVIDER: Provider = VirtualProvider()
