"""The CPU manager: who owns which pCPU of the node.

kubernetes pkg/kubelet/cm/cpumanager (policy_static.go, cpu_manager.go). Two things are stricter
than upstream, whose reconcile loop lets containers overlap for some seconds: a shared container
leaves a pCPU before the exclusive container that was given it starts, and the checkpoint is on
disk before either happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.contract.shape import CpuManager as Configuration
from clusters.reference import pod_resources
from clusters.reference.apiserver.store import Object
from clusters.reference.faults import Faults
from clusters.reference.kubelet.admission import AdmissionError, unexpected
from clusters.reference.kubelet.allocation import (
    DISTRIBUTE_ACROSS_CORES,
    DISTRIBUTE_ACROSS_NUMA,
    FULL_PCPUS_ONLY,
    PREFER_UNCORE_CACHE,
    AllocationError,
    take,
)
from clusters.reference.kubelet.checkpoint import PATH, Checkpoint, CheckpointError
from clusters.reference.kubelet.topology_manager import Hint, Hints, masks
from clusters.reference.machine import Machine
from clusters.reference.node_topology import NodeTopology

STATIC = "static"
STRICT_RESERVATION = "strict-cpu-reservation"
ALIGN_BY_SOCKET = "align-by-socket"
_EXCLUDED = (
    (FULL_PCPUS_ONLY, DISTRIBUTE_ACROSS_CORES),
    (DISTRIBUTE_ACROSS_NUMA, DISTRIBUTE_ACROSS_CORES),
    (PREFER_UNCORE_CACHE, DISTRIBUTE_ACROSS_CORES),
    (PREFER_UNCORE_CACHE, DISTRIBUTE_ACROSS_NUMA),
)
"""Options that a kubelet does not start with together."""

OPTIONS = frozenset(
    {
        ALIGN_BY_SOCKET,
        DISTRIBUTE_ACROSS_CORES,
        DISTRIBUTE_ACROSS_NUMA,
        FULL_PCPUS_ONLY,
        PREFER_UNCORE_CACHE,
        STRICT_RESERVATION,
    }
)

Placement = Callable[[Object], CpuSet | None]
"""NUMA nodes from which a container's pCPUs are taken first, None for any."""


class CpuManager:
    """Hands out pCPUs, keeps the checkpoint and the cpusets of running containers right."""

    def __init__(
        self,
        machine: Machine,
        topology: NodeTopology,
        configuration: Configuration,
        faults: Faults,
    ) -> None:
        self._machine = machine
        self._topology = topology
        self._configuration = configuration
        self._faults = faults
        self._default: CpuSet = frozenset()
        self._entries: dict[str, dict[str, CpuSet]] = {}
        self._reusable: tuple[str, CpuSet] = ("", frozenset())
        self._shared: set[str] = set()
        self._starting: dict[str, tuple[CpuSet, asyncio.Event]] = {}
        self._saving = asyncio.Lock()
        self._updating = asyncio.Lock()

    @property
    def static(self) -> bool:
        """Whether the policy is ``static``."""
        return self._configuration.policy == STATIC

    @property
    def default(self) -> CpuSet:
        """The shared pool."""
        return self._default

    async def start(self) -> None:
        """Takes up the state of the checkpoint, or begins anew.

        Raises CheckpointError when the file does not fit the policy or the node, as a
        kubelet that refuses to start does.
        """
        configuration = self._configuration
        if unknown := configuration.options - OPTIONS:
            raise CheckpointError(f"unsupported cpumanager option: {', '.join(sorted(unknown))}")
        for first, second in _EXCLUDED:
            if {first, second} <= configuration.options:
                raise CheckpointError(
                    f"static policy options {first} and {second} can not be used at the same time"
                )
        topology = self._topology
        if ALIGN_BY_SOCKET in configuration.options and (
            len(topology.sockets) > len(topology.numa_nodes)
        ):
            raise CheckpointError(
                "Align by socket is not compatible with hardware where number of sockets are more "
                "than number of NUMA"
            )
        if self.static and not configuration.reserved:
            raise CheckpointError("the static policy needs reservedSystemCPUs to be set")
        text = (await self._machine.read([PATH])).files.get(PATH)
        if text is not None:
            self._restore(Checkpoint.load(text))
        elif self.static:
            self._default = self._pool
        await self._save()

    async def allocate(self, pod: Object, placement: Placement = lambda _: None) -> None:
        """Gives every container of the pod that asks for whole CPUs its own, at admission.

        Args:
            pod: with its QoS class.
            placement: called for each container in turn, also for those that get none.

        Raises AdmissionError; the pod then owns nothing.
        """
        uid = pod["metadata"]["uid"]
        try:
            for container in pod_resources.all_containers(pod["spec"]):
                nodes = placement(container)
                if number := self._whole_cpus(pod, container):
                    self._allocate(pod, container, number, nodes)
        except AllocationError as error:
            self._give_back(uid)
            raise unexpected(error) from error
        except AdmissionError:
            self._give_back(uid)
            raise
        if uid in self._entries:
            await self._save()

    def hints(self, pod: Object, container: Object) -> Hints:
        """On which NUMA nodes the container's pCPUs could be."""
        return self._hints(pod, self._whole_cpus(pod, container))

    def pod_hints(self, pod: Object) -> Hints:
        """On which NUMA nodes all pCPUs of the pod could be (podGuaranteedCPUs)."""
        spec = pod["spec"]
        sidecars = peak = 0
        for container in spec.get("initContainers") or ():
            number = self._whole_cpus(pod, container)
            if pod_resources.is_sidecar(container):
                sidecars += number
            else:
                peak = max(peak, sidecars + number)
        mains = sum(self._whole_cpus(pod, container) for container in spec["containers"])
        return self._hints(pod, max(peak, sidecars + mains))

    def exclusive(self, uid: str, container: str) -> CpuSet | None:
        """The container's own pCPUs, None when it runs in the shared pool."""
        return self._entries.get(uid, {}).get(container)

    def owns_cpus(self, uid: str) -> bool:
        """Whether any container of the pod has pCPUs of its own."""
        return uid in self._entries

    @asynccontextmanager
    async def starting(
        self, uid: str, container: str, container_id: str
    ) -> AsyncIterator[CpuSet | None]:
        """Surrounds the start of a container; yields its cpuset, None to inherit.

        An exclusive container only starts when every shared one has left its pCPUs.
        """
        exclusive = self.exclusive(uid, container)
        if not self.static:
            yield None
        elif exclusive is not None:
            while waiting := [done for cpus, done in self._starting.values() if cpus & exclusive]:
                await waiting[0].wait()
            await self.update_shared()
            yield exclusive
        else:
            cpus = self._shared_pool
            started = asyncio.Event()
            self._starting[container_id] = (cpus, started)
            try:
                yield cpus
                self._shared.add(container_id)
            finally:
                del self._starting[container_id]
                started.set()
            if cpus != self._shared_pool:
                await self.update_shared()

    def adopt(self, uid: str, container: str, container_id: str) -> None:
        """Takes a running container over after a restart of the kubelet."""
        if self.static and self.exclusive(uid, container) is None:
            self._shared.add(container_id)

    def forget(self, container_id: str) -> None:
        """A container of the shared pool has ended."""
        self._shared.discard(container_id)

    async def release(self, uid: str) -> None:
        """The containers of the pod are gone: its pCPUs return to the shared pool."""
        if uid not in self._entries or self._faults.entry_leaked:
            return
        self._give_back(uid)
        await self._save()
        await self.update_shared()

    async def keep_only(self, uids: Collection[str]) -> None:
        """Takes back what belongs to pods that no longer exist."""
        for uid in [uid for uid in self._entries if uid not in uids]:
            await self.release(uid)

    async def update_shared(self) -> None:
        """Moves every running shared container to the shared pool as it is now."""
        async with self._updating:
            if self._shared and not self._faults.shared_pool_not_updated:
                await self._machine.set_cpusets(dict.fromkeys(self._shared, self._shared_pool))

    @property
    def _shared_pool(self) -> CpuSet:
        """Where containers without pCPUs of their own run."""
        return self._topology.all if self._faults.shared_on_exclusive else self._default

    @property
    def _reserved(self) -> CpuSet:
        """pCPUs that no container may own."""
        return frozenset() if self._faults.reserved_handed_out else self._configuration.reserved

    @property
    def _pool(self) -> CpuSet:
        """Everything that this manager administers."""
        if STRICT_RESERVATION in self._configuration.options:
            return self._topology.all - self._reserved
        return self._topology.all

    def _restore(self, checkpoint: Checkpoint) -> None:
        policy = self._configuration.policy
        if checkpoint.policy != policy:
            raise CheckpointError(
                f'configured policy "{policy}" differs from state checkpoint policy '
                f'"{checkpoint.policy}"; please drain this node and delete {PATH} before '
                "restarting the kubelet"
            )
        if not self.static:
            return
        if self._faults.assignment_lost_on_restart:
            self._default = self._pool
            return
        self._default = checkpoint.default
        self._entries = {uid: dict(owned) for uid, owned in checkpoint.entries.items()}
        owned = [cpus for owned in self._entries.values() for cpus in owned.values()]
        known = self._default.union(*owned)
        reserved = self._reserved & self._pool
        if not reserved <= self._default:
            raise CheckpointError(
                f'not all reserved cpus: "{cpuset.render(reserved)}" are present in '
                f'defaultCpuSet: "{cpuset.render(self._default)}"'
            )
        if known != self._pool:
            raise CheckpointError(
                f'current set of available CPUs "{cpuset.render(self._pool)}" doesn\'t match '
                f'with CPUs in state "{cpuset.render(known)}"'
            )

    def _whole_cpus(self, pod: Object, container: Object) -> int:
        """How many pCPUs the container is to own: whole CPUs of a Guaranteed pod only."""
        if not self.static or pod["status"]["qosClass"] != pod_resources.GUARANTEED:
            return 0
        milli = pod_resources.requests_of(container).get(pod_resources.CPU, 0)
        return 0 if milli % 1000 else milli // 1000

    def _hints(self, pod: Object, number: int) -> Hints:
        if not number:
            return ()
        owner, reusable = self._reusable
        kept = reusable if owner == pod["metadata"]["uid"] else frozenset()
        available = self._default - self._reserved
        nodes = self._topology.numa_nodes
        fewest = len(nodes)
        possible = []
        for mask in masks(frozenset(nodes)):
            inside = frozenset().union(*(nodes[node] for node in mask))
            if len(inside) >= number:
                fewest = min(fewest, len(mask))
            if kept <= inside and len(kept) + len(available & inside) >= number:
                possible.append(mask)
        return [
            [Hint(mask, len(mask) == fewest or self._by_socket(mask, fewest)) for mask in possible]
        ]

    def _by_socket(self, nodes: CpuSet, fewest: int) -> bool:
        """Whether align-by-socket prefers these NUMA nodes: they span no socket too many."""
        if ALIGN_BY_SOCKET not in self._configuration.options:
            return False
        a_socket = len(self._topology.numa_nodes) // len(self._topology.sockets)
        return len(self._sockets_of(nodes)) == -(-fewest // a_socket)

    def _sockets_of(self, nodes: CpuSet) -> CpuSet:
        return frozenset(cpu.socket for cpu in self._topology.cpus.values() if cpu.numa in nodes)

    def _near(self, nodes: CpuSet) -> CpuSet:
        """The pCPUs of these NUMA nodes, or of their sockets under align-by-socket."""
        cpus = self._topology.cpus.values()
        if ALIGN_BY_SOCKET in self._configuration.options:
            sockets = self._sockets_of(nodes)
            return frozenset(cpu.id for cpu in cpus if cpu.socket in sockets)
        return frozenset(cpu.id for cpu in cpus if cpu.numa in nodes)

    def _allocate(self, pod: Object, container: Object, number: int, nodes: CpuSet | None) -> None:
        uid, name = pod["metadata"]["uid"], container["name"]
        options = self._configuration.options
        if FULL_PCPUS_ONLY in options:
            self._require_whole_cores(number)
        owner, reusable = self._reusable
        unowned = self._topology.all if self._faults.overlapping_sets else self._default
        available = unowned - self._reserved
        if owner == uid:
            available |= reusable
        if self._faults.siblings_scattered:
            options = frozenset({DISTRIBUTE_ACROSS_CORES})
            available = _one_thread_of_each_core(self._topology, available, number)
        taken: CpuSet = frozenset()
        if nodes is not None:
            near = available & self._near(nodes)
            taken = take(self._topology, near, min(number, len(near)), options)
        taken |= take(self._topology, available - taken, number - len(taken), options)
        self._default -= taken
        self._entries.setdefault(uid, {})[name] = taken
        self._remember_reusable(pod, container, taken)

    def _require_whole_cores(self, number: int) -> None:
        threads = self._topology.threads_per_core
        if number % threads:
            raise AdmissionError(
                "SMTAlignmentError",
                f"SMT Alignment Error: requested {number} cpus not multiple cpus per core = "
                f"{threads}",
            )
        free = len(self._default - self._topology.siblings(self._reserved))
        if number > free:
            raise AdmissionError(
                "SMTAlignmentError",
                "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = "
                f"{free}, requested CPUs = {number}, CPUs per core = {threads}",
            )

    def _remember_reusable(self, pod: Object, container: Object, taken: CpuSet) -> None:
        """What an init container used may go to the containers of the pod that follow it."""
        uid = pod["metadata"]["uid"]
        owner, reusable = self._reusable
        if owner != uid:
            reusable = frozenset()
        inits = pod["spec"].get("initContainers") or ()
        passing = any(
            c["name"] == container["name"] and not pod_resources.is_sidecar(c) for c in inits
        )
        self._reusable = (uid, reusable | taken if passing else reusable - taken)

    def _give_back(self, uid: str) -> None:
        owned: Mapping[str, CpuSet] = self._entries.pop(uid, {})
        self._default = self._default.union(*owned.values())

    async def _save(self) -> None:
        async with self._saving:
            content = Checkpoint(self._configuration.policy, self._default, self._entries).dump()
            await self._machine.write({PATH: content})


def _one_thread_of_each_core(topology: NodeTopology, available: CpuSet, number: int) -> CpuSet:
    """As many pCPUs as possible that are no siblings of each other."""
    lone = [min(cpus) for cpus in topology.grouped(available, lambda cpu: cpu.core).values()]
    rest = sorted(available - set(lone))
    return frozenset((lone + rest)[:number])
