"""The embedded stack behind its front door: what runs inside a cluster's process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from clusters.access import Capability
from clusters.api import Api
from clusters.embedded.admin import administered
from clusters.embedded.apiserver.resources import served
from clusters.embedded.apiserver.server import ApiServer, ApiServerError
from clusters.embedded.faults import faults_named
from clusters.embedded.kubelet.checkpoint import CheckpointError
from clusters.embedded.machine import Machine, MachineError
from clusters.embedded.stack import Stack, StackSettings
from clusters.hugepages import hugepages
from clusters.provider import ClusterError, Handle
from clusters.shape import ClusterSpec


@contextlib.asynccontextmanager
async def serving(
    spec: ClusterSpec,
    machines: Mapping[str, Machine],
    directory: Path,
    settings: StackSettings | None = None,
) -> AsyncIterator[Stack]:
    """The whole stack on these machines, its API served on loopback, its kubeconfig written.

    Raises:
        ClusterError: a component could not be started.
    """
    stack = Stack(spec, machines, settings=settings, faults=faults_named(spec.faults))
    server = ApiServer(stack.store, admission=stack, pods=stack, types=served(spec.profile))
    try:
        await server.start()
        server.kubeconfig(directory / "kubeconfig")
        await stack.start()
        async with administered(stack, directory):
            yield stack
    except (ApiServerError, MachineError, CheckpointError) as error:
        raise ClusterError(str(error)) from error
    finally:
        await stack.stop()
        await server.stop()


def details(spec: ClusterSpec) -> dict[str, str]:
    """What other processes want to know of the cluster: for its handle."""
    static = [node.name for node in spec.nodes if node.cpu_manager.policy == "static"]
    return {
        "nodes": ",".join(node.name for node in spec.nodes),
        "static": ",".join(static),
        "faults": ",".join(spec.faults),
    }


def stack_description(handle: Handle) -> str:
    """The reference stack in one line, with whatever it does wrong on purpose."""
    faults = handle.details["faults"]
    broken = f", broken on purpose ({faults})" if faults else ""
    return f"the embedded reference stack{broken}"


def stack_capabilities(handle: Handle) -> Mapping[str, Capability]:
    """What a run may do with a cluster that was made for it. Raises ApiError."""
    nodes, static = (set(handle.details[key].split(",")) for key in ("nodes", "static"))
    rest = ", ".join(sorted(nodes - static))
    every = "every node has a CPU manager (--shape policy-none makes one without)"
    with contextlib.closing(Api(handle.kubeconfig)) as api:
        pages = hugepages(api)
    return {
        "hugepages": pages,
        "disruption": Capability(True, "the cluster was made for the run"),
        "kubelet-control": Capability(True, "the kubelets live in the cluster's process"),
        "unlabelled-node": Capability(bool(rest), f"{rest} has policy none" if rest else every),
    }
