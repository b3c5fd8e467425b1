"""The process of a virtual cluster: ``python -m clusters.virtual.daemon DIRECTORY``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError, Progress
from clusters.contract.shape import ClusterSpec
from clusters.host import daemon
from clusters.kit.api import Api
from clusters.kit.certificates import write_private
from clusters.kit.waiting import wait
from clusters.virtual import binaries, kubelet, kubevirt, network, node_image, pki, resident
from clusters.virtual.binaries import Binaries
from clusters.virtual.control_plane import (
    DIRECTORY,
    ControlPlane,
    Ports,
    commands,
    control_plane,
    egress,
)
from clusters.virtual.description import Settings
from clusters.virtual_node import accel, fleet, image
from clusters.virtual_node.accel import Accel
from clusters.virtual_node.machine import PEERS, Machine, free_port
from clusters.virtual_node.shell import Commands

WATCH_SECONDS = 1.0
API_SECONDS = 180.0
NODE_SECONDS = 300.0


@dataclass
class VirtualCluster:
    """What runs; see `clusters.host.daemon.Running`."""

    plane: ControlPlane
    nodes: Mapping[str, Machine]
    details: Mapping[str, str] = field(default_factory=dict)

    def dead(self) -> str | None:
        """What has died, with its last words."""
        for node in self.nodes.values():
            if not node.alive():
                return f"the machine of node {node.name} has died\n{node.last_words()}"
        return self.plane.dead()

    def require_alive(self) -> None:
        """Raises ClusterError when something has died."""
        if dead := self.dead():
            raise ClusterError(dead)

    async def failed(self) -> str:
        """Returns when a machine or a program of the control plane has died."""
        while True:
            if dead := self.dead():
                return dead
            await asyncio.sleep(WATCH_SECONDS)


@contextlib.asynccontextmanager
async def cluster(
    spec: ClusterSpec, directory: Path, progress: Progress
) -> AsyncIterator[VirtualCluster]:
    """Starts the control plane, boots the nodes or restores them, and waits for both."""
    found = binaries.find(Settings(**spec.options).kubernetes, progress)
    version = await asyncio.to_thread(binaries.version, found)
    place = directory / DIRECTORY
    place.mkdir()
    ports = Ports(etcd=free_port(), api=free_port())
    identities = pki.make(place / "pki", ports.api)
    kubeconfig = Path(identities.path("admin.kubeconfig"))
    selector, socket = place / "egress.yaml", place / "egress.sock"
    selector.write_text(egress(socket))
    nodes: dict[str, Machine] = {}
    reached: dict[int, Commands] = {}
    progress(f"starting the control plane of Kubernetes {version}")
    started = commands(found, identities, ports, place / "etcd", selector)
    wire = place / "wire"
    ends = [directory / node.name / PEERS for node in spec.nodes]
    async with (
        network.proxy(socket, reached),
        network.wire(wire, ends),
        control_plane(place, started) as plane,
    ):
        running = VirtualCluster(plane, nodes)
        chosen = accel.choose()
        try:
            between = wire if len(ends) > 1 else None
            await asyncio.to_thread(
                _boot, spec, found, directory, chosen, nodes, wire=between, progress=progress
            )
            await asyncio.to_thread(
                wait,
                "kube-apiserver",
                partial(plane.not_ready, str(kubeconfig)),
                API_SECONDS,
                _unheard,
            )
            for number, node in enumerate(spec.nodes, 1):
                progress(f"starting the kubelet of {node.name}")
                machine = nodes[node.name]
                reached[number] = machine.commands
                await asyncio.to_thread(
                    kubelet.start,
                    machine.shell,
                    node,
                    number,
                    len(ends),
                    identities,
                    api_port=ports.api,
                )
            write_private(directory / "kubeconfig", kubeconfig.read_bytes())
            seen = await asyncio.to_thread(_until_ready, running, kubeconfig, progress)
            if kubevirt.wanted(spec):
                seen["kubevirt"] = await asyncio.to_thread(
                    kubevirt.deploy,
                    str(kubeconfig),
                    spec,
                    emulated=chosen.kind != "kvm",
                    progress=progress,
                    require_alive=running.require_alive,
                )
            running.details = {
                "nodes": ",".join(nodes),
                "acceleration": f"{chosen.kind} ({chosen.reason})",
                "kubernetes": version,
                **seen,
            }
            yield running
        except AccessError as error:
            raise ClusterError(str(error)) from error
        finally:
            for machine in nodes.values():
                machine.stop()


def _boot(
    spec: ClusterSpec,
    found: Binaries,
    directory: Path,
    chosen: Accel,
    nodes: dict[str, Machine],
    *,
    wire: Path | None,
    progress: Progress,
) -> None:
    built = image.build(
        node_image.extra_files(found, Settings(**spec.options).images),
        packages=node_image.PACKAGES,
        progress=progress,
    )
    fleet.boot_each(
        spec.nodes,
        directory,
        built,
        chosen,
        node_image.preparation(),
        progress=progress,
        booted=nodes,
        wire=wire,
    )


def _until_ready(running: VirtualCluster, kubeconfig: Path, progress: Progress) -> dict[str, str]:
    """Waits until every node runs pods; returns what they say of themselves."""
    api = Api(str(kubeconfig))
    items: list[dict[str, Any]] = []

    def nodes() -> str | None:
        running.require_alive()
        items[:] = api.get("/api/v1/nodes")["items"]
        found = {item["metadata"]["name"]: item for item in items}
        waiting = {name: _not_ready(found.get(name)) for name in running.nodes}
        return _line({name: why for name, why in waiting.items() if why}, "is not ready")

    def residents() -> str | None:
        running.require_alive()
        pods = api.get(resident.PODS)["items"]
        return _line(resident.absent(pods, running.nodes), "does not run its first pod")

    try:
        wait("the nodes", nodes, NODE_SECONDS, progress)
        api.create(resident.DAEMON_SETS, resident.daemon_set())
        wait("a pod on every node", residents, NODE_SECONDS, progress)
    finally:
        api.close()
    info = items[0]["status"]["nodeInfo"]
    return {"kubelet": info["kubeletVersion"], "runtime": info["containerRuntimeVersion"]}


def _line(waiting: Mapping[str, str], lacks: str) -> str | None:
    return "; ".join(f"{name} {lacks}: {why}" for name, why in waiting.items()) or None


def _not_ready(node: Mapping[str, Any] | None) -> str | None:
    """Why a node takes no pods, None when it does."""
    if node is None:
        return "its kubelet has not registered it"
    for condition in node["status"].get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] != "True":
            return str(condition.get("message") or condition["status"])
    # They go when the controllers have seen that it is Ready.
    taints = [taint["key"] for taint in node["spec"].get("taints") or ()]
    return f"it is tainted {', '.join(taints)}" if taints else None


def _unheard(_: str) -> None:
    """What a booting API server answers tells nobody anything."""


if __name__ == "__main__":
    daemon.main(cluster)
