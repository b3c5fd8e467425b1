"""The requested shape of a node: its CPU topology and its kubelet's CPU manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from clusters.contract.hardware import LOCAL, REMOTE, Cpu, Hardware, NumaNode

KUBELET_ROOT = "/var/lib/kubelet"
"""Where a kubelet keeps its files unless it is told otherwise."""


@dataclass(frozen=True)
class NodeShape:
    """CPU topology and memory of one node.

    Attributes:
        sockets: CPU packages.
        cores: cores in each socket.
        threads: hardware threads in each core (2 is SMT).
        numa_nodes: NUMA nodes; sockets are spread over them evenly, or a socket is
            divided evenly between them when there are more nodes than sockets.
        memory_mib: memory of the whole node in MiB.

    CPU ids count threads first, then cores, then sockets: with ``2x3x2`` CPUs 0 and 1
    are the siblings of the first core, CPUs 6 to 11 the second socket.
    """

    sockets: int = 2
    cores: int = 3
    threads: int = 2
    numa_nodes: int = 2
    memory_mib: int = 3072

    def __post_init__(self) -> None:
        if min(self.sockets, self.cores, self.threads, self.numa_nodes) < 1:
            raise ValueError(f"a node shape counts from 1: {self}")
        if self.sockets * self.cores % self.numa_nodes:
            raise ValueError(f"the cores of {self} cannot be divided evenly among NUMA nodes")

    @property
    def cpus(self) -> int:
        """Number of logical CPUs."""
        return self.sockets * self.cores * self.threads

    @cached_property
    def hardware(self) -> Hardware:
        """The same CPU by CPU: one die and one L3 cache in each socket."""
        a_socket = self.cores * self.threads
        a_node = self.cpus // self.numa_nodes
        share, rest = divmod(self.memory_mib, self.numa_nodes)
        nodes = range(self.numa_nodes)
        return Hardware(
            tuple(
                Cpu(n, n // self.threads, n // a_socket, 0, n // a_socket, n // a_node)
                for n in range(self.cpus)
            ),
            tuple(
                NumaNode(
                    node,
                    share + (rest if node == 0 else 0),
                    tuple(LOCAL if other == node else REMOTE for other in nodes),
                )
                for node in nodes
            ),
        )

    def roomier(self, memory_mib: int) -> NodeShape:
        """The same with so much memory at the least."""
        return replace(self, memory_mib=max(self.memory_mib, memory_mib))

    def __str__(self) -> str:
        return f"{self.sockets}x{self.cores}x{self.threads} ({self.numa_nodes} NUMA)"


@dataclass(frozen=True)
class CpuManager:
    """What the kubelet of a node is told about CPUs.

    Attributes:
        policy: ``static`` or ``none``.
        reserved: ids of ``reservedSystemCPUs``.
        options: names of the enabled policy options, such as ``full-pcpus-only``.
    """

    policy: str = "static"
    reserved: frozenset[int] = frozenset({0, 1})
    options: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TopologyManager:
    """What the kubelet of a node is told about NUMA.

    Attributes:
        policy: ``none``, ``best-effort``, ``restricted`` or ``single-numa-node``.
        scope: ``container`` or ``pod``.
    """

    policy: str = "none"
    scope: str = "container"


@dataclass(frozen=True)
class NodeSpec:
    """One requested node.

    Attributes:
        memory_manager_policy: ``None`` or ``Static``.
    """

    name: str
    shape: NodeShape | Hardware = NodeShape()
    cpu_manager: CpuManager = CpuManager()
    topology_manager: TopologyManager = TopologyManager()
    memory_manager_policy: str = "None"


@dataclass(frozen=True)
class ClusterSpec:
    """A requested cluster: its nodes and the KubeVirt generation that it serves.

    Attributes:
        nodes: at least one; names are unique. A cluster that is there already has its own.
        profile: version of the API: ``v1`` (KubeVirt CR) or ``v1alpha2`` (ConfigMap
            ``kubevirt-config``).
        options: values of the provider's own options (`Description.options`) by their names;
            what is not in it is as its default says.
        run: id of the run that it is for; empty for one that its user keeps.
    """

    nodes: tuple[NodeSpec, ...] = field(default_factory=lambda: (NodeSpec("node-1"),))
    profile: str = "v1"
    options: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""


def _one(shape: NodeShape, *options: str, reserved: frozenset[int] = frozenset({0, 1})) -> NodeSpec:
    return NodeSpec("node-1", shape, CpuManager("static", reserved, frozenset(options)))


_LARGE = NodeShape()
_FLAT = NodeShape(sockets=1, cores=8, threads=1, numa_nodes=1)

SHAPES: Mapping[str, tuple[NodeSpec, ...]] = {
    "default": (_one(_LARGE),),
    "no-smt": (_one(NodeShape(sockets=2, cores=6, threads=1)),),
    "one-socket": (_one(NodeShape(sockets=1, cores=6, numa_nodes=1)),),
    "two-nodes": (NodeSpec("node-1"), NodeSpec("node-2", _FLAT)),
    "full-pcpus-only": (_one(_LARGE, "full-pcpus-only"),),
    "strict-cpu-reservation": (_one(_LARGE, "strict-cpu-reservation"),),
    "distribute-cpus-across-numa": (_one(_LARGE, "distribute-cpus-across-numa"),),
    "policy-none": (NodeSpec("node-1"), NodeSpec("node-2", _FLAT, CpuManager("none"))),
}
"""The clusters that a run can ask for by name: hardware shapes, then CPU manager options, then
a node without a CPU manager beside one that has it."""
