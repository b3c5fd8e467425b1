"""Deploys KubeVirt on a virtual cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from clusters.contract.provider import ClusterError, Progress
from clusters.contract.shape import ClusterSpec, NodeSpec
from clusters.existing import node_points
from clusters.host.started import conform
from clusters.kit import kubevirt_deployment
from clusters.kit.api import Api, ApiError
from clusters.kit.kubevirt_deployment import NONE
from clusters.kit.waiting import wait
from clusters.virtual.description import Settings

MEMORY_MIB = 8192
"""Of a node at the least: components ask for 2 GiB, and images lie in memory."""
START_DELAY_SECONDS = 900
"""What a component may take before its liveness is probed. On an emulated node it listens after
80 s, on a busy host after ten minutes; who is killed before begins anew."""
KUBEVIRT_SECONDS = 3000.0
LABELS_SECONDS = 900.0
NOT_NEEDED = ("DecentralizedLiveMigration", "ImageVolume", "Template")
"""Gates that are on by default: the second asks for image volumes, which Debian's containerd
does not have, the others deploy components that have nothing to do with CPUs."""
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
"""Which the operator's affinity asks for."""


def wanted(spec: ClusterSpec) -> bool:
    """Whether the cluster shall have one: nodes without a registry get what is named alone."""
    return Settings(**spec.options).kubevirt not in (None, NONE)


def require_possible(spec: ClusterSpec) -> None:
    """Raises ClusterError when what is asked for cannot be had."""
    if not wanted(spec):
        return
    asked = Settings(**spec.options)
    if not asked.images:
        raise ClusterError(
            "virtual nodes reach no registry: give --images DIR with archives of KubeVirt's "
            f"images and of the guest's (`{conform()} guest-image -o DIR/guest.tar`)"
        )
    if spec.profile != "v1":
        raise ClusterError(
            f"a KubeVirt that is deployed is of profile v1, not {spec.profile}: use --profile v1"
        )
    kubevirt_deployment.require_usable(asked.kubevirt or NONE)


def roomy(nodes: Sequence[NodeSpec]) -> tuple[NodeSpec, ...]:
    """The nodes, with memory for KubeVirt."""
    return tuple(replace(node, shape=node.shape.roomier(MEMORY_MIB)) for node in nodes)


def deploy(
    kubeconfig: str,
    spec: ClusterSpec,
    *,
    emulated: bool,
    progress: Progress,
    require_alive: Callable[[], None],
) -> str:
    """Deploys KubeVirt and waits until it has labelled the nodes; returns its version.

    Args:
        kubeconfig: an administrator's.
        spec: names the source.
        emulated: whether the nodes' CPUs are, and KubeVirt hence takes minutes.
        progress: is told what is waited for.
        require_alive: raises ClusterError when something of the cluster has died.

    Raises:
        ClusterError: it did not become available.
    """
    api = Api(kubeconfig)
    try:
        for node in spec.nodes:
            metadata = {"name": node.name, "labels": {CONTROL_PLANE_LABEL: ""}}
            content = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
            api.apply(f"/api/v1/nodes/{node.name}", content)
        version = kubevirt_deployment.deploy(
            kubeconfig,
            kubevirt_deployment.Settings(
                Settings(**spec.options).kubevirt or NONE,
                start_delay_seconds=START_DELAY_SECONDS if emulated else 0,
                disabled_gates=NOT_NEEDED,
                replicas=1,
                seconds=KUBEVIRT_SECONDS,
            ),
            progress,
            require_alive,
        )
        static = sum(node.cpu_manager.policy == "static" for node in spec.nodes)

        def unlabelled() -> str | None:
            require_alive()
            return node_points.unlabelled(api.get("/api/v1/nodes")["items"], static, "nodes")

        wait("virt-handler", unlabelled, LABELS_SECONDS, progress)
    except ApiError as error:
        raise ClusterError(str(error)) from error
    else:
        return version
    finally:
        api.close()
