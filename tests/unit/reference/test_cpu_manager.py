"""The CPU manager never lets two containers own a pCPU, whatever is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from clusters.contract import cpuset
from clusters.contract.shape import CpuManager as Configuration
from clusters.contract.shape import NodeShape
from clusters.reference.faults import NONE
from clusters.reference.kubelet.admission import AdmissionError
from clusters.reference.kubelet.checkpoint import PATH, Checkpoint, CheckpointError
from clusters.reference.kubelet.cpu_manager import CpuManager
from clusters.reference.node_topology import discover
from clusters.reference.pod_resources import with_defaults
from clusters.simulated.machine import SimulatedMachine


def pod(uid: str, cpu: str, inits: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    def container(name: str, amount: str) -> dict[str, Any]:
        limits = {"cpu": amount, "memory": "1Mi"}
        return {"name": name, "resources": {"limits": limits}, **more}

    spec = {
        "containers": [container("main", cpu)],
        "initContainers": [container(f"init-{n}", amount) for n, amount in enumerate(inits)],
    }
    return with_defaults({"metadata": {"uid": uid, "name": uid}, "spec": spec})


async def manager(machine: SimulatedMachine, **configuration: Any) -> CpuManager:
    topology = await discover(machine)
    made = CpuManager(machine, topology, Configuration(**configuration), NONE)
    await made.start()
    return made


def machine() -> SimulatedMachine:
    return SimulatedMachine(NodeShape(2, 3, 2, 2))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


def test_an_exclusive_start_waits_for_a_shared_one_on_its_pcpus() -> None:
    async def test() -> None:
        node = machine()
        cpus = await manager(node)
        order: list[str] = []
        go_on = asyncio.Event()

        async def shared() -> None:
            async with cpus.starting("shared", "main", "id-1") as pool:
                order.append(f"shared on {cpuset.render(pool or ())}")
                await go_on.wait()
            order.append("shared started")

        async def exclusive() -> None:
            await cpus.allocate(pod("own", "2"))
            go_on.set()
            async with cpus.starting("own", "main", "id-2") as own:
                order.append(f"exclusive on {cpuset.render(own or ())}")

        await asyncio.gather(shared(), exclusive())
        assert order[0] == "shared on 0-11"
        assert order[-1] == "exclusive on 2-3"

    run(test())


def test_the_checkpoint_is_written_before_a_container_can_start() -> None:
    async def test() -> None:
        node = machine()
        cpus = await manager(node)
        await cpus.allocate(pod("own", "3"))
        written = Checkpoint.load(node.kernel.read(PATH))
        assert written.entries == {"own": {"main": frozenset({2, 3, 4})}}
        await cpus.release("own")
        assert Checkpoint.load(node.kernel.read(PATH)).entries == {}

    run(test())


def test_containers_of_a_pod_reuse_what_its_init_containers_had() -> None:
    async def test() -> None:
        cpus = await manager(machine())
        await cpus.allocate(pod("own", "2", inits=("4", "2")))
        first, second, main = (cpus.exclusive("own", n) for n in ("init-0", "init-1", "main"))
        assert len(first or ()) == 4
        assert (second or frozenset()) | (main or frozenset()) <= (first or frozenset())
        assert cpus.default == frozenset(range(12)) - (first or frozenset())

    run(test())


def test_fractions_and_burstable_pods_stay_in_the_shared_pool() -> None:
    async def test() -> None:
        cpus = await manager(machine())
        await cpus.allocate(pod("fraction", "1500m"))
        burstable = pod("burstable", "2")
        burstable["status"]["qosClass"] = "Burstable"
        await cpus.allocate(burstable)
        assert cpus.default == frozenset(range(12))

    run(test())


def test_what_does_not_fit_is_refused_and_leaves_nothing() -> None:
    async def test() -> None:
        cpus = await manager(machine())
        with pytest.raises(AdmissionError, match="requested=11, available=10") as refused:
            await cpus.allocate(pod("big", "11", inits=("2",)))
        assert refused.value.reason == "UnexpectedAdmissionError"
        assert not cpus.owns_cpus("big")
        assert cpus.default == frozenset(range(12))

    run(test())


def test_whole_cores_next_to_half_reserved_ones_are_not_handed_out() -> None:
    async def test() -> None:
        options = frozenset({"full-pcpus-only"})
        cpus = await manager(machine(), reserved=frozenset({0, 2}), options=options)
        with pytest.raises(
            AdmissionError, match="available physical CPUs = 8, requested CPUs = 10"
        ):
            await cpus.allocate(pod("big", "10"))
        await cpus.allocate(pod("fits", "8"))
        assert cpus.exclusive("fits", "main") == frozenset(range(4, 12))

    run(test())


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"policy": "none"}, 'configured policy "none" differs'),
        ({"reserved": frozenset({2})}, "not all reserved cpus"),
        ({"options": frozenset({"strict-cpu-reservation"})}, "doesn't match"),
        ({"options": frozenset({"nonsense"})}, "unsupported cpumanager option: nonsense"),
        ({"reserved": frozenset()}, "needs reservedSystemCPUs"),
    ],
)
def test_a_changed_configuration_does_not_fit_the_checkpoint(
    configuration: dict[str, Any], message: str
) -> None:
    async def test() -> None:
        node = machine()
        await (await manager(node)).allocate(pod("own", "2"))
        with pytest.raises(CheckpointError, match=message):
            await manager(node, **configuration)

    run(test())
