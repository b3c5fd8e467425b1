"""The reference kubelet places pods by uncore cache, socket and NUMA node as upstream does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from clusters.contract import cpuset
from clusters.contract.shape import CpuManager as Configuration
from clusters.contract.shape import NodeShape, TopologyManager
from clusters.contract.shape_file import nodes
from clusters.reference.faults import NONE
from clusters.reference.kubelet.admission import AdmissionError
from clusters.reference.kubelet.allocation import take
from clusters.reference.kubelet.checkpoint import CheckpointError
from clusters.reference.kubelet.container_manager import ContainerManager
from clusters.reference.kubelet.cpu_manager import CpuManager
from clusters.reference.kubelet.memory_manager import PATH, MemoryManager
from clusters.reference.node_topology import Cpu, NodeTopology, discover
from clusters.reference.pod_resources import with_defaults
from clusters.simulated.machine import SimulatedMachine

GIB = 2**30

# Topologies and answers of kubernetes pkg/kubelet/cm/cpumanager (1.36), cpu_assignment_test.go.
FLAT = {n: Cpu(n, n, 0, 0, n // 4) for n in range(16)}
TWO_SOCKETS = {n: Cpu(n, n, n // 8, 0, n // 4) for n in range(16)}
TWO_NODES = {n: Cpu(n, n, 0, n // 8, n // 4) for n in range(16)}
SMT = {n: Cpu(n, n % 8, 0, 0, n % 8 // 4) for n in range(16)}


@pytest.mark.parametrize(
    ("cpus", "available", "number", "taken"),
    [
        (FLAT, "1-15", 10, "1-2,4-11"),
        (TWO_SOCKETS, "0-15", 4, "0-3"),
        (TWO_SOCKETS, "2-15", 6, "2-7"),
        (TWO_SOCKETS, "8-15", 4, "8-11"),
        (TWO_NODES, "3-8,12", 2, "4-5"),
        (SMT, "2-7,10-15", 6, "4-6,12-14"),
        (SMT, "1-7,9-15", 10, "1,4-7,9,12-15"),
    ],
)
def test_uncore_caches_are_filled_as_upstream_fills_them(
    cpus: Mapping[int, Cpu], available: str, number: int, taken: str
) -> None:
    option = {"prefer-align-cpus-by-uncorecache"}
    found = take(NodeTopology(cpus), cpuset.parse(available), number, option)
    assert cpuset.render(found) == taken


def guaranteed_pod(uid: str, cpus: Sequence[int], *, memory: int) -> dict[str, Any]:
    """A pod whose containers c0, c1, ... ask for so many CPUs, and so many bytes each."""
    containers = [
        {"name": f"c{n}", "resources": {"limits": {"cpu": str(cpu), "memory": str(memory)}}}
        for n, cpu in enumerate(cpus)
    ]
    return with_defaults(
        {"metadata": {"uid": uid, "name": uid}, "spec": {"containers": containers}}
    )


THREES = ["1-3", "4-6", "8-10", "12-14"]
"""Three CPUs on each of the four nodes, of which CPU 0 is reserved."""
FOUR_NODES = NodeShape(sockets=2, cores=8, threads=1, numa_nodes=4, memory_mib=8192)


async def manager(
    machine: SimulatedMachine,
    policy: str,
    *options: str,
    scope: str = "container",
    memory: str = "None",
    reserved: str = "0",
) -> ContainerManager:
    topology = await discover(machine)
    configuration = Configuration("static", cpuset.parse(reserved), frozenset(options))
    resources = {node: {"memory": amount} for node, amount in topology.memory.items()}
    made = ContainerManager(
        CpuManager(machine, topology, configuration, NONE),
        MemoryManager(machine, memory, resources, 0),
        topology,
        TopologyManager(policy, scope),
    )
    await made.start(configuration)
    return made


async def _placed(managers: ContainerManager, *wanted: int, gib: float = 0.001) -> list[str]:
    """CPUs of pods of one container each, or the reason of a rejection."""
    said = []
    for number, cpus in enumerate(wanted):
        pod = guaranteed_pod(f"uid-{number}", [cpus], memory=int(gib * GIB))
        try:
            await managers.admit(pod)
        except AdmissionError as error:
            said.append(error.reason)
        else:
            said.append(cpuset.render(managers.cpus.exclusive(f"uid-{number}", "c0") or ()))
    return said


@pytest.mark.parametrize(
    ("policy", "options", "wanted", "expected"),
    [
        # Node 0 has three CPUs left: the smallest mask that holds the request comes first.
        ("single-numa-node", (), (4, 3, 5), ["4-7", "1-3", "TopologyAffinityError"]),
        ("restricted", (), (2, 2, 2, 2, 5), ["1-2", "4-5", "6-7", "8-9", "3,12-15"]),
        # One node could hold two, but none has them free any more.
        ("restricted", (), (3, 3, 3, 3, 2), [*THREES, "TopologyAffinityError"]),
        ("best-effort", (), (3, 3, 3, 3, 2), [*THREES, "7,11"]),
        # CPUs of the whole socket are as good, and those of its fullest node come first.
        ("restricted", ("align-by-socket",), (3, 3, 3, 3, 2), [*THREES[:3], "11-13", "14-15"]),
    ],
)
def test_policies(
    policy: str, options: tuple[str, ...], wanted: tuple[int, ...], expected: list[str]
) -> None:
    async def test() -> None:
        managers = await manager(SimulatedMachine(FOUR_NODES), policy, *options)
        assert await _placed(managers, *wanted) == expected

    asyncio.run(test())


@pytest.mark.parametrize("scope", ["container", "pod"])
def test_the_scope_says_what_is_kept_together(scope: str) -> None:
    async def test() -> None:
        machine = SimulatedMachine(FOUR_NODES)
        managers = await manager(machine, "single-numa-node", scope=scope)
        pod = guaranteed_pod("two", [3, 2], memory=1024)
        if scope == "pod":
            with pytest.raises(AdmissionError, match="Topology locality"):
                await managers.admit(pod)
            assert managers.cpus.default == frozenset(range(16)), "it owns nothing then"
            return
        await managers.admit(pod)
        assert [managers.cpus.exclusive("two", name) for name in ("c0", "c1")] == [
            frozenset({1, 2, 3}),
            frozenset({4, 5}),
        ]

    asyncio.run(test())


def test_the_memory_manager_binds_memory_and_keeps_its_checkpoint() -> None:
    async def test() -> None:
        machine = SimulatedMachine(FOUR_NODES)
        managers = await manager(machine, "single-numa-node", memory="Static")
        assert await _placed(managers, 2, 2, gib=1.5) == ["1-2", "4-5"]
        assert [managers.memory.nodes_of(f"uid-{n}", "c0") for n in (0, 1)] == [
            frozenset({0}),
            frozenset({1}),
        ]
        state = json.loads(machine.kernel.read(PATH))
        assert state["policyName"] == "Static"
        (block,) = state["entries"]["uid-0"]["c0"]
        assert block == {"numaAffinity": [0], "type": "memory", "size": int(1.5 * GIB)}
        table = state["machineState"]["0"]["memoryMap"]["memory"]
        assert table["reserved"] == block["size"]
        assert table["free"] == table["allocatable"] - block["size"]
        again = await manager(machine, "single-numa-node", memory="Static")
        assert again.memory.nodes_of("uid-1", "c0") == frozenset({1}), (
            "a restarted kubelet knows it"
        )
        await again.release("uid-0")
        state = json.loads(machine.kernel.read(PATH))
        assert list(state["entries"]) == ["uid-1"]
        assert state["machineState"]["0"]["numberOfAssignments"] == 0

    asyncio.run(test())


def test_memory_that_no_single_node_has_is_refused_by_the_policy_alone() -> None:
    async def test(policy: str) -> list[str]:
        managers = await manager(SimulatedMachine(FOUR_NODES), policy, memory="Static")
        return await _placed(managers, 2, gib=3)

    assert asyncio.run(test("single-numa-node")) == ["TopologyAffinityError"]
    assert asyncio.run(test("none")) == ["1-2"]


@pytest.mark.parametrize(
    ("shape", "policy", "options", "said"),
    [
        (NodeShape(2, 10, 1, 20), "restricted", (), "more than 8 NUMA Nodes"),
        (FOUR_NODES, "single-numa-node", ("align-by-socket",), "is incompatible with"),
        (NodeShape(2, 4, 1, 1), "restricted", ("align-by-socket",), "number of sockets are more"),
        (
            FOUR_NODES,
            "none",
            ("full-pcpus-only", "distribute-cpus-across-cores"),
            "can not be used at the same time",
        ),
        (
            FOUR_NODES,
            "none",
            ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
            "can not be used at the same time",
        ),
    ],
)
def test_what_a_kubelet_does_not_start_with(
    shape: NodeShape, policy: str, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        asyncio.run(manager(SimulatedMachine(shape), policy, *options))


def test_on_a_hybrid_node_nothing_that_is_taken_is_taken_again() -> None:
    document: Any = {
        "nodes": [
            {
                "packages": [{"cores": [{"count": 2, "threads": 2}, {"count": 4}]}],
                "kubelet": {"cpuManagerPolicy": "static", "reservedSystemCPUs": "0"},
            }
        ]
    }
    (node,) = nodes(document)

    async def test() -> None:
        managers = await manager(SimulatedMachine(node.shape), "none")
        said = await _placed(managers, 1, 2, 2, 2)
        given = [cpu for each in said for cpu in cpuset.parse(each)]
        assert len(given) == len(set(given)) == 7
        assert 0 not in given

    asyncio.run(test())
