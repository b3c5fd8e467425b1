"""The reference stack: every component, on given nodes, in one event loop.

What serves the Kubernetes API over HTTPS gets `Stack.store`, `Stack.admit` and the
`PodAccess` methods from here; nodes are `Machine`s, real or simulated.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from clusters.contract import cpuset
from clusters.contract.shape import ClusterSpec, CpuManager
from clusters.kit.oci_images import Image
from clusters.reference import namespace_controller, pod_resources
from clusters.reference.apiserver.resources import (
    MIGRATION,
    NAMESPACE,
    POD,
    VMI,
    ResourceType,
)
from clusters.reference.apiserver.store import Object, Store
from clusters.reference.cluster_config import CPU_MANAGER_GATE, SIDECAR_GATE, ClusterConfig
from clusters.reference.faults import NONE, Faults
from clusters.reference.job_controller import JobController
from clusters.reference.kubelet import checkpoint, memory_manager
from clusters.reference.kubelet.kubelet import Kubelet
from clusters.reference.kubelet.pod_worker import PodWorker
from clusters.reference.kubelet.workload import Workloads
from clusters.reference.launcher.domain_xml import GuestSettings
from clusters.reference.machine import ExecSession, Machine
from clusters.reference.migrating import Migrating
from clusters.reference.migration_controller import MigrationController
from clusters.reference.migrations_api import MigrationAdmission
from clusters.reference.namespace_controller import NamespaceController
from clusters.reference.owners_api import OWNERS, OwnersAdmission
from clusters.reference.owners_controller import OwnersController
from clusters.reference.reconciling import Health
from clusters.reference.scheduler import Scheduler
from clusters.reference.virt_api import VmiAdmission
from clusters.reference.virt_controller import VirtController
from clusters.reference.virt_handler import VirtHandler
from clusters.reference.virt_operator import VirtOperator


class Component(Protocol):
    """What works in the background."""

    async def start(self) -> None:
        """Begins to work."""
        ...

    async def stop(self) -> None:
        """Stops."""
        ...


@dataclass(frozen=True)
class StackSettings:
    """How the stack is set up.

    Attributes:
        guest: how guests are booted.
        feature_gates: gates that are on at first.
        heartbeat_seconds: time between two heartbeats of a virt-handler; upstream takes one
            to two minutes.
        images: that nodes can run, by name; None where they run no programs at all.
    """

    guest: GuestSettings = field(default_factory=GuestSettings)
    feature_gates: Sequence[str] = (CPU_MANAGER_GATE, SIDECAR_GATE)
    heartbeat_seconds: float = 10.0
    images: Mapping[str, Image] | None = None


class Stack:
    """A whole cluster without its front door.

    Example:
        stack = Stack(spec, {"node-1": SimulatedMachine(NodeShape())})
        await stack.start()
        vmi = stack.store.create(VMI, stack.admit(VMI, manifest, None))
        ...
        await stack.stop()

    Attributes:
        store: every object of the cluster.
        health: problems of the components; `problems` is empty when all is well.
        kubelets: by node.
        handlers: virt-handlers by node.
        workloads: what containers run beside the programs of the stack itself.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        machines: Mapping[str, Machine],
        *,
        settings: StackSettings | None = None,
        faults: Faults = NONE,
    ) -> None:
        settings = settings or StackSettings()
        self.store = Store()
        self.health = Health()
        self.config = ClusterConfig(self.store, spec.profile)
        self.workloads = Workloads(settings.images)
        self._machines = machines
        self._vmi_admission = VmiAdmission(self.config, faults)
        self._owners_admission = OwnersAdmission(self.store, self._vmi_admission.admit, faults)
        self._migration_admission = MigrationAdmission(self.store)
        peers: dict[str, Migrating] = {}
        self.kubelets = {
            node.name: Kubelet(
                node,
                index,
                store=self.store,
                machine=machines[node.name],
                workloads=self.workloads,
                faults=faults,
                health=self.health,
            )
            for index, node in enumerate(spec.nodes)
        }
        self.handlers = {
            node.name: VirtHandler(
                node.name,
                store=self.store,
                machine=machines[node.name],
                config=self.config,
                settings=settings.guest,
                heartbeat_seconds=settings.heartbeat_seconds,
                peers=peers,
                faults=faults,
                health=self.health,
            )
            for node in spec.nodes
        }
        peers.update((name, handler.migrating) for name, handler in self.handlers.items())
        self._operator = VirtOperator(self.store, spec.profile, settings.feature_gates, self.health)
        self._controllers: tuple[Component, ...] = (
            self._operator,
            NamespaceController(self.store, self.health),
            JobController(self.store, self.admit, self.workloads, self.health),
            Scheduler(self.store, faults, self.health),
            VirtController(self.store, self.config, faults, self.health),
            OwnersController(self.store, self.admit, self.config, faults, self.health),
            MigrationController(self.store, self.config, faults, self.health, self._unpin),
        )

    async def start(self) -> None:
        """Starts every component; returns when every node can take VMIs.

        Raises NodeError or CheckpointError when a node cannot be used.
        """
        self._operator.install()
        for component in self._background:
            await component.start()
        await asyncio.gather(*(kubelet.start() for kubelet in self.kubelets.values()))
        await self._operator.wait_deployed()

    async def stop(self) -> None:
        """Stops every component; what runs on the nodes is left to whoever owns them."""
        for component in self._background:
            await component.stop()
        for kubelet in self.kubelets.values():
            await kubelet.stop(abandon=True)

    # what the API server asks

    def admit(self, type_: ResourceType, obj: Object, old: Object | None) -> Object:
        """Defaults and validates what is to be stored. Raises InvalidError."""
        if type_ is VMI:
            return self._vmi_admission.admit(obj, old)
        if type_ in OWNERS:
            return self._owners_admission.admit(type_, obj, old)
        if type_ is MIGRATION:
            return self._migration_admission.admit(obj, old)
        if type_ is POD and old is None:
            return pod_resources.with_defaults(obj)
        if type_ is NAMESPACE and old is None:
            return namespace_controller.with_defaults(copy.deepcopy(obj))
        return obj

    async def log(self, namespace: str, pod: str, container: str) -> str:
        """As `PodAccess.log`."""
        return await self._worker(namespace, pod)[1].log(container)

    async def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, tty: bool
    ) -> ExecSession:
        """As `PodAccess.execute`."""
        node, worker = self._worker(namespace, pod)
        container_id = worker.container_id(container)
        return await self._machines[node].execute(container_id, command, tty=tty)

    async def console(self, namespace: str, vmi: str) -> str:
        """As `PodAccess.console`."""
        instance = self.store.find(VMI, vmi, namespace)
        if instance is None:
            raise KeyError(vmi)
        return await self.handlers[instance["status"]["nodeName"]].console(instance)

    def node_config(self, node: str) -> Object:
        """As `PodAccess.node_config`."""
        return self.kubelets[node].config

    # what an administrator does

    async def stop_kubelet(self, node: str) -> None:
        """systemctl stop kubelet: containers run on, the node becomes not ready."""
        await self.kubelets[node].stop()

    async def start_kubelet(self, node: str) -> None:
        """systemctl start kubelet: takes over what runs. Raises CheckpointError."""
        await self.kubelets[node].start()

    async def restart_kubelet(self, node: str) -> None:
        """systemctl restart kubelet."""
        await self.stop_kubelet(node)
        await self.start_kubelet(node)

    async def configure_cpu_manager(self, node: str, configuration: CpuManager) -> None:
        """Changes the CPU manager as the documentation demands: stop, remove the state, start.

        The node should be drained: what had pCPUs of its own no longer has them on record.
        """
        await self.stop_kubelet(node)
        await self._machines[node].remove([checkpoint.PATH, memory_manager.PATH])
        self.kubelets[node].configuration = configuration
        await self.start_kubelet(node)

    async def _unpin(self, instance: Object) -> None:
        """Takes a VMI's pins away, as no component would."""
        launcher = self.handlers[instance["status"]["nodeName"]].launcher(instance)
        machine = self._machines[instance["status"]["nodeName"]]
        view = await machine.domain_view(launcher.container_id, launcher.domain)
        cpus = cpuset.render(frozenset().union(*view.vcpu_pins.values()))
        for vcpu in view.vcpu_pins:
            command = ["virsh", "vcpupin", launcher.domain, str(vcpu), cpus]
            await machine.execute_to_end(launcher.container_id, command)

    @property
    def _background(self) -> tuple[Component, ...]:
        return (*self._controllers, *self.handlers.values())

    def _worker(self, namespace: str, pod: str) -> tuple[str, PodWorker]:
        for node, kubelet in self.kubelets.items():
            try:
                return node, kubelet.worker(namespace, pod)
            except KeyError:
                continue
        raise KeyError(pod)
