"""The reference stack behind its front door: what runs inside a cluster's process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from clusters.contract.provider import ClusterError
from clusters.contract.shape import ClusterSpec
from clusters.reference.admin import administered
from clusters.reference.apiserver.resources import served
from clusters.reference.apiserver.server import ApiServer
from clusters.reference.faults import faults_named
from clusters.reference.kubelet.checkpoint import CheckpointError
from clusters.reference.machine import Machine, NodeError
from clusters.reference.options import broken
from clusters.reference.stack import Stack, StackSettings


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
    stack = Stack(spec, machines, settings=settings, faults=faults_named(broken(spec)))
    server = ApiServer(stack.store, admission=stack, pods=stack, types=served(spec.profile))
    try:
        await server.start()
        stack.workloads.api = server.for_pods()
        server.kubeconfig(directory / "kubeconfig")
        await stack.start()
        async with administered(stack, directory):
            yield stack
    except (NodeError, CheckpointError) as error:
        raise ClusterError(str(error)) from error
    finally:
        await stack.stop()
        await server.stop()
