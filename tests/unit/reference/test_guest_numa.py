"""A guest that is told of NUMA nodes is told those of its pCPUs, and its memory is theirs."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from clusters.contract.shape import CpuManager, NodeShape, NodeSpec
from clusters.reference.apiserver.backends import InvalidError
from clusters.reference.apiserver.resources import NODE, VMI
from clusters.reference.faults import NONE, Faults
from clusters.reference.launcher.guest_numa import Cell, cells
from clusters.reference.launcher.pinning import Pinning, PinningError
from clusters.simulated.guest import MARK
from tests.unit.reference.cluster import SimulatedCluster, manifest, on_cluster

MI = 1024 * 1024
PAGE = 2 * MI
NODES = {0: frozenset(range(6)), 1: frozenset(range(6, 12))}
SPREAD = NodeSpec(
    "node-1", cpu_manager=CpuManager(options=frozenset({"distribute-cpus-across-numa"}))
)


def mapped(name: str = "vm", *, memory: str = "96Mi", page: str = "2Mi", **cpu: Any) -> Any:
    """A VMI whose NUMA nodes are mapped."""
    return manifest(
        name,
        cpu={"dedicatedCpuPlacement": True, "numa": {"guestMappingPassthrough": {}}, **cpu},
        memory={"guest": memory, "hugepages": {"pageSize": page}},
        resources={},
    )


async def xml_of(cluster: SimulatedCluster, name: str = "vm") -> ElementTree.Element:
    launcher = cluster.stack.handlers["node-1"].launcher(cluster.vmi(name))
    view = cluster.machine.domain_view_now(launcher.container_id, launcher.domain)
    return ElementTree.fromstring(view.xml)


async def guest_nodes(cluster: SimulatedCluster, name: str = "vm") -> Any:
    text = await cluster.stack.console("default", name)
    return json.loads(text.partition(MARK)[2])["nodes"]


def test_a_cell_for_each_node_that_holds_a_vcpu() -> None:
    pinning = Pinning({0: 2, 1: 6, 2: 3})
    assert cells(pinning, NODES, 96 * MI, PAGE, NONE) == (
        Cell(0, [0, 2], 48 * MI),
        Cell(1, [1], 48 * MI),
    )
    assert cells(Pinning({0: 7, 1: 8}), NODES, 96 * MI, PAGE, NONE) == (Cell(1, [0, 1], 96 * MI),)


def test_a_page_that_is_left_goes_to_the_first() -> None:
    found = cells(Pinning({0: 2, 1: 6}), NODES, 3 * PAGE, PAGE, NONE)
    assert [cell.memory for cell in found] == [2 * PAGE, PAGE]


@pytest.mark.parametrize(
    ("memory", "says"), [(PAGE, "at least one hugepage per numa node"), (2 * PAGE + 1, "divided")]
)
def test_memory_has_to_go_round(memory: int, says: str) -> None:
    with pytest.raises(PinningError, match=says):
        cells(Pinning({0: 2, 1: 6}), NODES, memory, PAGE, NONE)


def test_cpus_from_two_nodes_make_a_guest_of_two() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(mapped(sockets=2, cores=4))
        assert await guest_nodes(cluster) == {"0": "0-3", "1": "4-7"}
        xml = await xml_of(cluster)
        assert [cell.attrib for cell in xml.findall("cpu/numa/cell")] == [
            {"id": "0", "cpus": "0,1,2,3", "memory": str(48 * MI), "unit": "b"},
            {"id": "1", "cpus": "4,5,6,7", "memory": str(48 * MI), "unit": "b"},
        ]
        tune = [element.attrib for element in xml.findall("numatune/*")]
        assert tune == [
            {"mode": "strict", "nodeset": "0,1"},
            {"cellid": "0", "mode": "strict", "nodeset": "0"},
            {"cellid": "1", "mode": "strict", "nodeset": "1"},
        ]
        pages = [page.attrib for page in xml.findall("memoryBacking/hugepages/page")]
        assert pages == [{"size": str(PAGE), "unit": "b", "nodeset": node} for node in ("0", "1")]

    on_cluster(test, nodes=[SPREAD])


def test_cpus_from_one_node_make_a_guest_of_one() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(mapped(sockets=2))
        assert await guest_nodes(cluster) == {"0": "0-1"}

    on_cluster(test, nodes=[SPREAD])


def test_huge_pages_without_numa_are_huge_pages() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = mapped(sockets=2)
        del vmi["spec"]["domain"]["cpu"]["numa"]
        await cluster.run(vmi)
        xml = await xml_of(cluster)
        assert xml.find("memoryBacking/hugepages") is not None
        assert (xml.find("numatune"), xml.find("cpu/numa")) == (None, None)

    on_cluster(test)


def test_a_flat_guest_holds_what_its_host_does_not() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(mapped(sockets=2, cores=4))
        assert await guest_nodes(cluster) == {"0": "0-7"}

    on_cluster(test, nodes=[SPREAD], faults=Faults(numa_flat=True))


def test_the_guests_memory_is_pages_and_the_overhead_is_memory() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(mapped("huge", sockets=1))
        await cluster.run(
            manifest(
                "plain",
                cpu={"dedicatedCpuPlacement": True, "sockets": 1},
                resources={"limits": {"memory": "96Mi"}},
            )
        )
        huge, plain = (
            cluster.launcher_pod(name)["spec"]["containers"][0]["resources"]
            for name in ("huge", "plain")
        )
        assert huge["limits"] == huge["requests"]
        assert huge["limits"]["hugepages-2Mi"] == "96Mi"
        assert cluster.launcher_pod("huge")["status"]["qosClass"] == "Guaranteed"
        difference = in_mib(plain["limits"]["memory"]) - in_mib(huge["limits"]["memory"])
        assert difference == pytest.approx(96, abs=1)

    on_cluster(test)


def in_mib(text: str) -> float:
    units = {"Mi": 1, "Ki": 1 / 1024}
    return int(text[:-2]) * units[text[-2:]] if text[-2:] in units else int(text) / MI


def test_a_node_tells_its_pages_and_gives_out_no_more() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        status = cluster.store.get(NODE, "node-1")["status"]
        assert status["capacity"]["hugepages-2Mi"] == "128Mi"
        assert status["allocatable"]["hugepages-2Mi"] == "128Mi"
        total = in_mib(status["capacity"]["memory"])
        assert total - in_mib(status["allocatable"]["memory"]) == 100 + 128
        await cluster.run(mapped("first", sockets=1))
        cluster.create(VMI, mapped("second", sockets=1))
        vmi = await cluster.until(VMI, "second", lambda vmi: "Unschedulable" in json.dumps(vmi))
        assert "Insufficient hugepages-2Mi" in json.dumps(vmi["status"])

    flat = NodeShape(sockets=1, cores=8, threads=1, numa_nodes=1)
    on_cluster(test, nodes=[NodeSpec("node-1", flat)])


@pytest.mark.parametrize(
    ("page", "memory", "field"),
    [
        ("big", "96Mi", "spec.domain.memory.hugepages.pageSize"),
        ("0", "96Mi", "spec.domain.memory.hugepages.pageSize"),
        ("2Mi", "95Mi", "spec.domain.resources.requests.memory"),
        ("2Mi", "1Mi", "spec.domain.resources.requests.memory"),
    ],
)
def test_pages_that_do_not_fit_the_memory_are_refused(page: str, memory: str, field: str) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        with pytest.raises(InvalidError) as refused:
            cluster.create(VMI, mapped(page=page, memory=memory, sockets=1))
        assert [cause.field for cause in refused.value.causes] == [field]

    on_cluster(test)
