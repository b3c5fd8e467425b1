"""Live migrations of the reference stack, on simulated nodes."""

from __future__ import annotations

import asyncio

import pytest

from clusters.contract.shape import NodeSpec
from clusters.reference.apiserver.backends import InvalidError
from clusters.reference.apiserver.resources import MIGRATION, POD, VMI
from clusters.reference.apiserver.store import Object
from clusters.reference.faults import faults_named
from clusters.reference.launcher_pod import CREATED_BY
from tests.unit.reference.cluster import SimulatedCluster, dedicated, on_cluster, plain_pod

TWO = (NodeSpec("node-1"), NodeSpec("node-2"))
OWN = {"limits": {"cpu": "2", "memory": "16Mi"}}


def migration(name: str = "move", vmi: str = "vm") -> Object:
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"vmiName": vmi},
    }


async def moved(cluster: SimulatedCluster, name: str = "move", phase: str = "Succeeded") -> Object:
    return await cluster.until(MIGRATION, name, lambda found: found["status"].get("phase") == phase)


def launchers(cluster: SimulatedCluster) -> list[Object]:
    uid = cluster.vmi()["metadata"]["uid"]
    pods = cluster.store.list(POD, "default")
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(CREATED_BY) == uid]


def other(node: str) -> str:
    return {"node-1": "node-2", "node-2": "node-1"}[node]


async def blocked(cluster: SimulatedCluster, node: str) -> None:
    """CPUs of a node are taken, so that its kubelet gives others than on the source."""
    pod = plain_pod("blocker", resources=OWN)
    pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    cluster.create(POD, pod)
    await cluster.until(POD, "blocker", lambda pod: pod["status"]["phase"] == "Running")


def test_a_guest_goes_to_cpus_of_its_own_and_leaves_nothing_behind() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = await cluster.run(dedicated(sockets=2, isolateEmulatorThread=True))
        source = vmi["status"]["nodeName"]
        target = other(source)
        await blocked(cluster, target)
        (before,) = launchers(cluster)
        had = cluster.checkpoint(source).entries[before["metadata"]["uid"]]["compute"]
        cluster.create(MIGRATION, migration())
        await moved(cluster)
        state = cluster.vmi()["status"]
        assert (state["phase"], state["nodeName"]) == ("Running", target)
        told = state["migrationState"]
        assert told["completed"]
        assert "failed" not in told
        assert (told["sourceNode"], told["targetNode"]) == (source, target)
        await cluster.until_gone(POD, before["metadata"]["name"])
        (after,) = launchers(cluster)
        assert after["metadata"]["name"] == told["targetPod"]
        has = cluster.checkpoint(target).entries[after["metadata"]["uid"]]["compute"]
        assert has == cluster.cpus_of(after, "compute") == frozenset(told["targetCPUSet"])
        assert has != had
        launcher = cluster.stack.handlers[target].launcher(cluster.vmi())
        view = cluster.machines[target].domain_view_now(launcher.container_id, launcher.domain)
        pins = [*view.vcpu_pins.values(), view.emulator_pin]
        assert all(len(pin) == 1 for pin in pins)
        assert frozenset().union(*pins) == has
        assert cluster.checkpoint(source).entries == {}
        assert had <= cluster.checkpoint(source).default
        assert "CPU-CONFORMANCE-GUEST {" in await cluster.stack.console("default", "vm")
        cluster.store.delete(MIGRATION, "move", "default")
        await cluster.until_gone(MIGRATION, "move")
        cluster.delete_vmi()
        await cluster.until_gone(VMI, "vm")
        assert cluster.checkpoint(target).entries.keys() == {
            cluster.store.get(POD, "blocker", "default")["metadata"]["uid"]
        }

    on_cluster(test, nodes=TWO)


def test_a_guest_may_come_back() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = await cluster.run(dedicated(cores=2))
        for name in ("there", "back"):
            cluster.create(MIGRATION, migration(name))
            await moved(cluster, name)
        assert cluster.vmi()["status"]["nodeName"] == vmi["status"]["nodeName"]
        assert cluster.vmi()["status"]["phase"] == "Running"

    on_cluster(test, nodes=TWO)


def test_a_target_without_room_leaves_the_source_alone() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=2))
        (before,) = launchers(cluster)
        cluster.create(MIGRATION, migration())

        def waits(pod: Object) -> bool:
            conditions = pod.get("status", {}).get("conditions") or ()
            return any("anti-affinity" in (each.get("message") or "") for each in conditions)

        async with asyncio.timeout(10):
            while not any(map(waits, cluster.store.list(POD, "default"))):
                await asyncio.sleep(0.01)
        assert "migrationState" not in cluster.vmi()["status"]
        cluster.store.delete(MIGRATION, "move", "default")
        await cluster.until_gone(MIGRATION, "move")
        assert [pod["metadata"]["uid"] for pod in launchers(cluster)] == [before["metadata"]["uid"]]
        assert cluster.vmi()["status"]["phase"] == "Running"

    on_cluster(test)


def test_a_vmi_that_is_deleted_while_it_migrates_leaves_nothing() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=2))
        cluster.create(MIGRATION, migration())
        await cluster.until(VMI, "vm", lambda vmi: "migrationState" in vmi["status"])
        cluster.delete_vmi()
        await cluster.until_gone(VMI, "vm")
        await moved(cluster, phase="Failed")
        assert [cluster.checkpoint(node).entries for node in cluster.machines] == [{}, {}]

    on_cluster(test, nodes=TWO)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, 'the VMI "default/vm" does not exist'),
        ("migrating", "in-flight migration detected"),
        ("immobile", "Cannot migrate VMI, Reason: NotMigratable, Message: for some reason"),
        ("nobody", "vmiName is missing"),
    ],
)
def test_what_cannot_migrate_is_refused(state: str | None, words: str) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        if state == "immobile":
            for machine in cluster.machines.values():
                machine.immobile = "for some reason"
        if state:
            await cluster.run(dedicated(cores=2))
        if state == "migrating":
            cluster.create(MIGRATION, migration("other"))
        asked = migration(vmi="") if state == "nobody" else migration()
        with pytest.raises(InvalidError, match=words):
            cluster.create(MIGRATION, asked)

    on_cluster(test)


def test_fault_a_domain_arrives_without_pins() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=2))
        cluster.create(MIGRATION, migration())
        await moved(cluster)
        node = cluster.vmi()["status"]["nodeName"]
        launcher = cluster.stack.handlers[node].launcher(cluster.vmi())
        view = cluster.machines[node].domain_view_now(launcher.container_id, launcher.domain)
        assert "vcpupin" not in view.xml
        assert all(len(pin) > 1 for pin in view.vcpu_pins.values())

    on_cluster(test, nodes=TWO, faults=faults_named(["migrated_domain_unpinned"]))


def test_fault_a_vmi_loses_its_pins_while_it_waits_for_room() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = await cluster.run(dedicated(cores=2))
        cluster.create(MIGRATION, migration())
        launcher = cluster.stack.handlers["node-1"].launcher(vmi)

        def pins() -> set[int]:
            view = cluster.machine.domain_view_now(launcher.container_id, launcher.domain)
            return {len(pin) for pin in view.vcpu_pins.values()}

        async with asyncio.timeout(10):
            while pins() == {1}:
                await asyncio.sleep(0.01)
        assert pins() == {2}

    on_cluster(test, faults=faults_named(["waiting_migration_unpins"]))
