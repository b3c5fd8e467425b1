"""The process of a simulated cluster: ``python -m clusters.simulated.daemon DIRECTORY``."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from clusters.contract.provider import Progress
from clusters.contract.shape import ClusterSpec
from clusters.host import daemon
from clusters.reference.details import details
from clusters.reference.serving import serving
from clusters.reference.stack import StackSettings
from clusters.simulated import backdoor
from clusters.simulated.machine import SimulatedMachine

HEARTBEAT_SECONDS = 0.5
START_SECONDS = "SIMULATED_START_SECONDS"
"""Environment variable: how long each launcher takes to start, as on a real node."""
BEATS_A_SECOND = 10
"""Of all nodes together: a hundred of them would otherwise do nothing else."""


class SimulatedCluster:
    """What runs; see `clusters.host.daemon.Running`."""

    def __init__(self, spec: ClusterSpec) -> None:
        self.details: Mapping[str, str] = details(spec)

    async def failed(self) -> str:
        """Never returns: nodes in memory do not die."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never


@contextlib.asynccontextmanager
async def cluster(
    spec: ClusterSpec, directory: Path, progress: Progress
) -> AsyncIterator[SimulatedCluster]:
    """Brings the stack up on nodes in memory."""
    progress(f"simulating {len(spec.nodes)} nodes in memory: nothing of this cluster is real")
    seconds = float(os.environ.get(START_SECONDS, "0"))
    machines = {
        node.name: SimulatedMachine(node.shape, node.name, start_seconds=seconds)
        for node in spec.nodes
    }
    apart = max(HEARTBEAT_SECONDS, len(spec.nodes) / BEATS_A_SECOND)
    settings = StackSettings(heartbeat_seconds=apart)
    async with serving(spec, machines, directory, settings) as stack:
        server = await backdoor.serve(directory / backdoor.SOCKET, machines, stack.store)
        async with server:
            yield SimulatedCluster(spec)


if __name__ == "__main__":
    daemon.main(cluster)
