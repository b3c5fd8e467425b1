"""A simulated cluster for tests of the reference stack, used through its store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.contract.shape import ClusterSpec, NodeSpec
from clusters.reference.apiserver.resources import NODE, POD, VMI, ResourceType
from clusters.reference.apiserver.store import Object
from clusters.reference.faults import NONE, Faults
from clusters.reference.kubelet import cgroups
from clusters.reference.kubelet.checkpoint import PATH, Checkpoint
from clusters.reference.launcher.launcher import container_id
from clusters.reference.stack import Stack, StackSettings
from clusters.simulated.machine import SimulatedMachine

PATIENCE = 60.0
"""Seconds after which a test that waits in vain fails; no test takes so long otherwise."""


def manifest(name: str = "vm", *, namespace: str = "default", **domain: Any) -> Object:
    """A VMI with the given parts of ``spec.domain``."""
    domain.setdefault("resources", {"limits": {"memory": "64Mi"}})
    domain.setdefault("devices", {})
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"domain": domain},
    }


def dedicated(name: str = "vm", **cpu: Any) -> Object:
    """A VMI with dedicated CPUs."""
    return manifest(name, cpu={"dedicatedCpuPlacement": True, **cpu})


def plain_pod(name: str, **container: Any) -> Object:
    """A pod of one container that sleeps."""
    spec = {"name": "main", "image": "busybox", "command": ["sleep", "infinity"], **container}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [spec], "terminationGracePeriodSeconds": 1},
    }


class SimulatedCluster:
    """The stack on simulated nodes, with the questions that tests ask."""

    def __init__(self, spec: ClusterSpec, faults: Faults = NONE) -> None:
        self.spec = spec
        self.machines = {n.name: SimulatedMachine(n.shape, n.name) for n in spec.nodes}
        self.stack = Stack(
            spec, self.machines, faults=faults, settings=StackSettings(heartbeat_seconds=0.05)
        )
        self.store = self.stack.store

    @property
    def machine(self) -> SimulatedMachine:
        """The only node."""
        (machine,) = self.machines.values()
        return machine

    def create(self, type_: ResourceType, obj: Object) -> Object:
        """As through the API: admitted, then stored."""
        return self.store.create(type_, self.stack.admit(type_, obj, None))

    def vmi(self, name: str = "vm") -> Object:
        return self.store.get(VMI, name, "default")

    def delete_vmi(self, name: str = "vm") -> None:
        self.store.delete(VMI, name, "default")

    async def until(
        self,
        type_: ResourceType,
        name: str,
        holds: Callable[[Object], object],
        namespace: str = "default",
    ) -> Object:
        """Waits until an object fulfils a condition."""

        async def wait() -> Object:
            async for change in self.store.watch([type_]):
                metadata = change.object["metadata"]
                here = metadata["name"] == name and metadata.get("namespace", "") == namespace
                if here and change.type != "DELETED" and holds(change.object):
                    return change.object
            raise AssertionError("a watch never ends")

        async with asyncio.timeout(PATIENCE):
            return await wait()

    async def until_gone(self, type_: ResourceType, name: str, namespace: str = "default") -> None:
        """Waits until an object no longer exists."""
        async with asyncio.timeout(PATIENCE):
            watch = self.store.watch([type_], since=self.store.version)
            while self.store.find(type_, name, namespace) is not None:
                await anext(watch)

    async def until_phase(self, phase: str, name: str = "vm") -> Object:
        return await self.until(VMI, name, lambda vmi: vmi["status"].get("phase") == phase)

    async def run(self, vmi: Object) -> Object:
        """Creates a VMI and waits until it runs."""
        self.create(VMI, vmi)
        return await self.until_phase("Running", vmi["metadata"]["name"])

    def launcher_pod(self, name: str = "vm") -> Object:
        (pod,) = [
            pod
            for pod in self.store.list(POD, "default")
            if pod["metadata"].get("labels", {}).get("vm.kubevirt.io/name") == name
        ]
        return pod

    def checkpoint(self, node: str = "node-1") -> Checkpoint:
        return Checkpoint.load(self.machines[node].kernel.read(PATH))

    def cgroup_of(self, pod: Object, container: str) -> str:
        container = container_id(pod, container)
        return cgroups.container_cgroup(
            pod["metadata"]["uid"], pod["status"]["qosClass"], container
        )

    def cpus_of(self, pod: Object, container: str) -> CpuSet:
        """``cpuset.cpus.effective`` of a container."""
        node = self.machines[pod["spec"]["nodeName"]]
        path = f"{cgroups.MOUNT}{self.cgroup_of(pod, container)}/cpuset.cpus.effective"
        return cpuset.parse(node.kernel.read(path))

    def pod_cgroups(self, node: str = "node-1") -> list[str]:
        pattern = f"{cgroups.MOUNT}/kubepods.slice"
        kernel = self.machines[node].kernel
        names = (f"{pattern}/*pod*.slice", f"{pattern}/kubepods-*.slice/*pod*.slice")
        return [path for name in names for path in kernel.glob(name)]

    def labels(self, node: str = "node-1") -> dict[str, str]:
        labels: dict[str, str] = self.store.get(NODE, node)["metadata"]["labels"]
        return labels


def on_cluster(
    test: Callable[[SimulatedCluster], Coroutine[Any, Any, None]],
    *,
    nodes: Iterable[NodeSpec] = (NodeSpec("node-1"),),
    profile: str = "v1",
    faults: Faults = NONE,
    healthy: bool = True,
) -> None:
    """Runs a test on a fresh simulated cluster and demands that no component complained."""

    async def run() -> None:
        cluster = SimulatedCluster(ClusterSpec(tuple(nodes), profile), faults)
        try:
            async with asyncio.timeout(PATIENCE):
                await cluster.stack.start()
            work = asyncio.ensure_future(test(cluster))
            problem = asyncio.ensure_future(cluster.stack.health.wait_problem())
            awaited = {work, problem} if healthy else {work}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            problem.cancel()
            if not work.done():
                work.cancel()
                raise AssertionError(cluster.stack.health.problems)
            await work
        finally:
            await cluster.stack.stop()
        assert not healthy or cluster.stack.health.problems == {}

    asyncio.run(run())
