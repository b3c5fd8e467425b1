"""The container manager: what the CPU, memory and topology managers decide together for a pod.

kubernetes pkg/kubelet/cm/container_manager_linux.go and topologymanager/scope_*.go.
"""

from __future__ import annotations

from collections.abc import Collection

from clusters.contract.cpuset import CpuSet
from clusters.contract.shape import CpuManager as CpuConfiguration
from clusters.contract.shape import TopologyManager
from clusters.reference import pod_resources
from clusters.reference.apiserver.store import Object
from clusters.reference.kubelet.admission import AdmissionError, unexpected
from clusters.reference.kubelet.checkpoint import CheckpointError
from clusters.reference.kubelet.cpu_manager import ALIGN_BY_SOCKET, CpuManager
from clusters.reference.kubelet.memory_manager import MemoryManager, NoMemoryError
from clusters.reference.kubelet.topology_manager import (
    MOST_NODES,
    NONE,
    POD_SCOPE,
    SINGLE_NUMA_NODE,
    Hint,
    Hints,
    merge,
)
from clusters.reference.node_topology import NodeTopology

_UNASKED = Hint(None, False)
"""What the managers are told where there is no topology manager."""


class ContainerManager:
    """Admits pods: gives their containers CPUs and memory, near each other as the policy says."""

    def __init__(
        self,
        cpus: CpuManager,
        memory: MemoryManager,
        topology: NodeTopology,
        settings: TopologyManager,
    ) -> None:
        self.cpus = cpus
        self.memory = memory
        self._nodes = frozenset(topology.numa_nodes) | frozenset(topology.memory)
        self._settings = settings

    async def start(self, cpu_manager: CpuConfiguration) -> None:
        """Starts the managers. Raises CheckpointError when they refuse their configuration."""
        policy = self._settings.policy
        if policy != NONE and len(self._nodes) > MOST_NODES:
            raise CheckpointError(f"unsupported on machines with more than {MOST_NODES} NUMA Nodes")
        if policy == SINGLE_NUMA_NODE and ALIGN_BY_SOCKET in cpu_manager.options:
            raise CheckpointError(
                f"Topology manager {policy} policy is incompatible with CPUManager "
                f"{ALIGN_BY_SOCKET} policy option"
            )
        await self.cpus.start()
        await self.memory.start()

    async def admit(self, pod: Object) -> None:
        """Gives the containers of the pod what is theirs.

        Raises AdmissionError; the pod then owns nothing.
        """
        whole: Hint | None = None
        if self._settings.scope == POD_SCOPE and self._settings.policy != NONE:
            amounts = pod_resources.effective_requests(pod["spec"])
            whole = self._merged(self.cpus.pod_hints(pod), self.memory.hints(amounts, pod))

        def place(container: Object) -> CpuSet | None:
            hint = whole or self._hint(pod, container)
            try:
                self.memory.allocate(pod, container, hint)
            except NoMemoryError as error:
                raise unexpected(error) from error
            return hint.nodes

        try:
            await self.cpus.allocate(pod, place)
        except AdmissionError:
            self.memory.give_back(pod["metadata"]["uid"])
            raise
        await self.memory.save()

    async def release(self, uid: str) -> None:
        """The containers of the pod are gone."""
        await self.cpus.release(uid)
        self.memory.give_back(uid)
        await self.memory.save()

    async def keep_only(self, uids: Collection[str]) -> None:
        """Takes back what belongs to pods that no longer exist."""
        await self.cpus.keep_only(uids)
        self.memory.keep_only(uids)
        await self.memory.save()

    def _hint(self, pod: Object, container: Object) -> Hint:
        if self._settings.policy == NONE:
            return _UNASKED
        amounts = pod_resources.requests_of(container)
        return self._merged(self.cpus.hints(pod, container), self.memory.hints(amounts, pod))

    def _merged(self, *hints: Hints) -> Hint:
        hint, admitted = merge(self._settings.policy, self._nodes, hints)
        if not admitted:
            raise AdmissionError(
                "TopologyAffinityError", "Resources cannot be allocated with Topology locality"
            )
        return hint
