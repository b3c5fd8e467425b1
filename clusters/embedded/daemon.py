"""The process of an embedded cluster: ``python -m clusters.embedded.daemon DIRECTORY``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

from clusters.contract.provider import Progress
from clusters.contract.shape import ClusterSpec
from clusters.embedded import node_image
from clusters.embedded.qemu_machine import QemuMachine
from clusters.host import daemon
from clusters.kit.oci_images import images
from clusters.kit.options import IMAGES
from clusters.reference.details import details
from clusters.reference.serving import serving
from clusters.reference.stack import Stack, StackSettings
from clusters.virtual_node import accel, fleet, image
from clusters.virtual_node.machine import Machine

WATCH_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0


class EmbeddedCluster:
    """What runs; see `clusters.host.daemon.Running`."""

    def __init__(self, spec: ClusterSpec, nodes: Mapping[str, Machine], acceleration: str) -> None:
        self._nodes = nodes
        self.details: Mapping[str, str] = {
            **details(spec),
            "acceleration": acceleration,
        }

    async def failed(self) -> str:
        """Returns when the machine of a node has died, with its last words."""
        while True:
            for node in self._nodes.values():
                if not node.alive():
                    return f"the machine of node {node.name} has died\n{node.last_words()}"
            await asyncio.sleep(WATCH_SECONDS)


@contextlib.asynccontextmanager
async def cluster(
    spec: ClusterSpec, directory: Path, progress: Progress
) -> AsyncIterator[EmbeddedCluster]:
    """Boots the nodes, or restores them, and brings the stack up on them."""
    nodes: dict[str, Machine] = {}
    machines: dict[str, QemuMachine] = {}
    given = spec.options.get(IMAGES.name)
    found = images(Path(given)) if given else {}
    chosen = accel.choose()
    built = image.build(node_image.extra_files(), progress=progress)
    try:
        fleet.boot_each(
            spec.nodes,
            directory,
            built,
            chosen,
            node_image.preparation(),
            progress=progress,
            booted=nodes,
        )
        for name, node in nodes.items():
            sockets = directory / f"{name}.d"
            sockets.mkdir()
            machines[name] = QemuMachine(node, sockets)
        settings = StackSettings(
            guest=node_image.guest_settings(next(iter(nodes.values())).shell),
            heartbeat_seconds=HEARTBEAT_SECONDS,
            images=found,
        )
        progress("starting the pinning stack")
        async with serving(spec, machines, directory, settings) as stack:
            if found:
                _let_pods_reach_the_api(nodes.values(), stack)
            yield EmbeddedCluster(spec, nodes, f"{chosen.kind} ({chosen.reason})")
    finally:
        for name, virtual in nodes.items():
            if name in machines:
                await machines[name].close()
            virtual.stop()


def _let_pods_reach_the_api(nodes: Iterable[Machine], stack: Stack) -> None:
    """By the address that the API has on this host: pods have the network of their node."""
    api = stack.workloads.api
    assert api is not None, "the API is served"
    for node in nodes:
        node.shell.reverse(api.host, api.port, api.port)


if __name__ == "__main__":
    daemon.main(cluster)
