"""The kubelet of one node: registers it and runs the pods that are bound to it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping

import yaml

from clusters.contract import cpuset
from clusters.contract.shape import CpuManager as Configuration
from clusters.contract.shape import NodeSpec
from clusters.reference import quantity
from clusters.reference.apiserver.resources import NODE, POD
from clusters.reference.apiserver.store import Change, Object, Store, now
from clusters.reference.conditions import set_condition
from clusters.reference.faults import Faults
from clusters.reference.kubelet.container_manager import ContainerManager
from clusters.reference.kubelet.cpu_manager import CpuManager
from clusters.reference.kubelet.memory_manager import MemoryManager
from clusters.reference.kubelet.pod_status import Addresses
from clusters.reference.kubelet.pod_worker import PodWorker, container_ids
from clusters.reference.kubelet.workload import Workloads
from clusters.reference.machine import ContainerState, Machine, NodeError
from clusters.reference.node_topology import NodeTopology, discover
from clusters.reference.reconciling import Health, Tasks, follow
from clusters.reference.release import VERSION

CONFIG_PATH = "/var/lib/kubelet/config.yaml"
MAX_PODS = 110
RESERVED_MEMORY = 100 * 1024 * 1024
"""Kept from pods: the default eviction threshold of memory.available."""

_HUGEPAGES_ROOT = "/sys/kernel/mm/hugepages/"
_HUGEPAGES = f"{_HUGEPAGES_ROOT}hugepages-"
_NUMA_NODE = "/sys/devices/system/node/node"
_NUMA_HUGEPAGES = f"{_NUMA_NODE}*/hugepages"
_FACTS = (
    *("/proc/meminfo", "/proc/sys/kernel/osrelease", "/etc/os-release", "/etc/machine-id"),
    f"{_HUGEPAGES}*/nr_hugepages",
)


class Kubelet:
    """One node's kubelet. `start` and `stop` may be repeated: containers live on."""

    def __init__(
        self,
        spec: NodeSpec,
        index: int,
        *,
        store: Store,
        machine: Machine,
        workloads: Workloads,
        faults: Faults,
        health: Health,
    ) -> None:
        self.node = spec.name
        self.configuration: Configuration = spec.cpu_manager
        self._spec = spec
        self._address = f"192.168.100.{10 + index}"
        self._pod_network = f"10.244.{index}"
        self._pods_seen = 1
        self._store = store
        self._machine = machine
        self._workloads = workloads
        self._faults = faults
        self._health = health
        self._tasks = Tasks(health)
        self._workers: dict[str, PodWorker] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._alive: dict[str, ContainerState] = {}
        self._managers: ContainerManager | None = None
        self.starts = 0
        """How often it was started."""

    @property
    def config(self) -> Object:
        """The KubeletConfiguration in force."""
        memory = self._managers.memory if self._managers else None
        reserved = memory.reserved if memory and memory.static else []
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "systemd",
            "cpuManagerPolicy": self.configuration.policy,
            "cpuManagerPolicyOptions": dict.fromkeys(sorted(self.configuration.options), "true"),
            # What upstream does once in a period happens here at once, with each change.
            "cpuManagerReconcilePeriod": "1s",
            "reservedSystemCPUs": cpuset.render(self.configuration.reserved),
            "topologyManagerPolicy": self._spec.topology_manager.policy,
            "topologyManagerScope": self._spec.topology_manager.scope,
            "memoryManagerPolicy": self._spec.memory_manager_policy,
            **({"reservedMemory": reserved} if reserved else {}),
            "maxPods": MAX_PODS,
        }

    async def start(self) -> None:
        """Starts the CPU manager, registers the node, takes over the pods that run.

        Raises CheckpointError when the CPU manager refuses its checkpoint, NodeError
        when the node does not answer.
        """
        self.starts += 1
        topology = await discover(self._machine)
        cpus = CpuManager(self._machine, topology, self.configuration, self._faults)
        memory = MemoryManager(
            self._machine,
            self._spec.memory_manager_policy,
            await self._resources(topology),
            RESERVED_MEMORY,
        )
        self._managers = ContainerManager(cpus, memory, topology, self._spec.topology_manager)
        await self._managers.start(self.configuration)
        await self._machine.write({CONFIG_PATH: yaml.safe_dump(self.config)})
        await self._register(topology)
        await self._take_over(self._managers)
        self._tasks.start(f"kubelet {self.node}", follow(self._store, [POD], self._on_pod))

    async def stop(self, *, abandon: bool = False) -> None:
        """Stops working; the containers run on, the node is not ready.

        Args:
            abandon: what is being done to a container is not finished, since nobody will
                take the node over.
        """
        await self._tasks.stop()
        for worker in self._workers.values():
            worker.leave()
        running = list(self._running.values())
        for task in running if abandon else ():
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._workers.clear()
        self._running.clear()
        self._set_ready("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")

    def worker(self, namespace: str, pod: str) -> PodWorker:
        """The worker of a pod on this node. Raises KeyError."""
        for worker in self._workers.values():
            if (worker.namespace, worker.name) == (namespace, pod):
                return worker
        raise KeyError(pod)

    def _on_pod(self, change: Change) -> None:
        pod = change.object
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid].wake()
        elif change.type != "DELETED" and pod["spec"].get("nodeName") == self.node:
            self._run(pod)

    def _run(self, pod: Object) -> None:
        assert self._managers is not None, "a kubelet runs pods only after it was started"
        uid = pod["metadata"]["uid"]
        self._pods_seen += 1
        address = pod.get("status", {}).get("podIP") or f"{self._pod_network}.{self._pods_seen}"
        worker = PodWorker(
            pod,
            store=self._store,
            machine=self._machine,
            managers=self._managers,
            addresses=Addresses(self._address, address),
            workloads=self._workloads,
            faults=self._faults,
            health=self._health,
        )
        self._workers[uid] = worker
        name = f"kubelet {self.node} pod {worker.namespace}/{worker.name}"
        self._running[uid] = asyncio.create_task(self._work(worker, name), name=name)

    async def _work(self, worker: PodWorker, name: str) -> None:
        try:
            await worker.run(self._alive)
        except NodeError as error:
            self._health.report(name, error)
            self._set_ready("Unknown", "NodeStatusUnknown", str(error))
        except Exception as error:
            self._health.report(name, error)
        finally:
            self._workers.pop(worker.uid, None)
            self._running.pop(worker.uid, None)

    async def _take_over(self, managers: ContainerManager) -> None:
        """Adopts the containers of pods that still exist and ends all others."""
        pods = [p for p in self._store.list(POD) if p["spec"].get("nodeName") == self.node]
        known = {container_id for pod in pods for container_id in container_ids(pod).values()}
        self._alive = dict(await self._machine.containers())
        for stray in self._alive.keys() - known:
            await self._machine.stop_container(stray, grace_seconds=0)
        await managers.keep_only({pod["metadata"]["uid"] for pod in pods})
        for pod in pods:
            self._run(pod)
        await asyncio.sleep(0)
        await managers.cpus.update_shared()

    async def _resources(self, topology: NodeTopology) -> Mapping[int, Mapping[str, int]]:
        """Bytes of memory and of huge pages by NUMA node."""
        files = (await self._machine.read([f"{_NUMA_HUGEPAGES}/hugepages-*kB/nr_hugepages"])).files
        pages: dict[int, dict[str, str]] = {}
        for path, text in files.items():
            number, _, rest = path.removeprefix(_NUMA_NODE).partition("/hugepages/")
            pages.setdefault(int(number), {})[f"{_HUGEPAGES_ROOT}{rest}"] = text
        return {
            number: {"memory": amount, **_hugepages(pages.get(number, {}))}
            for number, amount in topology.memory.items()
        }

    async def _register(self, topology: NodeTopology) -> None:
        facts = (await self._machine.read(_FACTS)).files
        kilobytes = int(facts["/proc/meminfo"].split("MemTotal:")[1].split()[0])
        huge = _hugepages(facts)
        memory = kilobytes * 1024 - RESERVED_MEMORY - sum(huge.values())
        reserved = len(self.configuration.reserved & topology.all)
        capacity = {
            "cpu": str(len(topology.cpus)),
            "ephemeral-storage": "10Gi",
            **{name: quantity.render_bytes(amount) for name, amount in huge.items()},
            "memory": f"{kilobytes}Ki",
            "pods": str(MAX_PODS),
        }
        allocatable = {
            **capacity,
            "cpu": str(len(topology.cpus) - reserved),
            "memory": f"{memory // 1024}Ki",
        }
        os_image = facts.get("/etc/os-release", "").partition('PRETTY_NAME="')[2].partition('"')[0]
        info = {
            "architecture": "amd64",
            "operatingSystem": "linux",
            "kernelVersion": facts.get("/proc/sys/kernel/osrelease", "").strip(),
            "osImage": os_image or "Linux",
            "containerRuntimeVersion": "embedded://crun",
            "kubeletVersion": VERSION,
            "kubeProxyVersion": "",
            "machineID": facts.get("/etc/machine-id", "").strip(),
            "systemUUID": str(uuid.uuid5(uuid.NAMESPACE_DNS, self.node)),
            "bootID": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"boot {self.node}")),
        }

        def change(node: Object) -> None:
            status = node.setdefault("status", {})
            status["capacity"] = {**status.get("capacity", {}), **capacity}
            status["allocatable"] = {**status.get("allocatable", {}), **allocatable}
            status["nodeInfo"] = info
            status["addresses"] = [
                {"type": "InternalIP", "address": self._address},
                {"type": "Hostname", "address": self.node},
            ]
            status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": 10250}}
            for pressure in ("MemoryPressure", "DiskPressure", "PIDPressure"):
                set_condition(status, pressure, "False", reason=f"KubeletHasNo{pressure}")
            _set_ready(status, "True", "KubeletReady", "kubelet is posting ready status")

        if self._store.find(NODE, self.node) is None:
            labels = {
                "kubernetes.io/hostname": self.node,
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
            }
            spec = {"podCIDR": f"{self._pod_network}.0/24"}
            self._store.create(
                NODE, {"metadata": {"name": self.node, "labels": labels}, "spec": spec}
            )
        self._store.mutate(NODE, self.node, "", change)

    def _set_ready(self, value: str, reason: str, message: str) -> None:
        if self._store.find(NODE, self.node) is not None:
            self._store.mutate(
                NODE, self.node, "", lambda n: _set_ready(n["status"], value, reason, message)
            )


def _hugepages(facts: Mapping[str, str]) -> dict[str, int]:
    """Bytes by resource, such as ``hugepages-2Mi``, of every size that the node knows."""
    amounts = {}
    for path, text in facts.items():
        if path.startswith(_HUGEPAGES):
            page = int(path.removeprefix(_HUGEPAGES).partition("kB")[0]) * 1024
            amounts[f"hugepages-{quantity.render_bytes(page)}"] = page * int(text)
    return amounts


def _set_ready(status: Object, value: str, reason: str, message: str) -> None:
    set_condition(status, "Ready", value, reason=reason, message=message)
    for condition in status["conditions"]:
        condition["lastHeartbeatTime"] = now()
        condition.pop("lastProbeTime", None)
