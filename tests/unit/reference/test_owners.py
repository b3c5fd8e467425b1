"""The reference stack makes VMIs of VirtualMachines, replica sets and pools."""

from __future__ import annotations

import pytest

from clusters.reference.apiserver.backends import InvalidError
from clusters.reference.apiserver.resources import (
    EVENT,
    INSTANCETYPE,
    POOL,
    REPLICA_SET,
    VIRTUAL_MACHINE,
    VMI,
)
from clusters.reference.apiserver.store import Object
from clusters.reference.faults import Faults
from tests.unit.reference.cluster import SimulatedCluster, manifest, on_cluster

LABELS = {"app": "x"}


def machine(strategy: str = "Always", **spec: object) -> Object:
    template = {"metadata": {"labels": LABELS}, "spec": {"domain": {"devices": {}}}}
    return {
        "metadata": {"name": "vm", "namespace": "default"},
        "spec": {"runStrategy": strategy, "template": template, **spec},
    }


def many(replicas: int) -> Object:
    template = {"metadata": {"labels": LABELS}, "spec": manifest(cpu={"cores": 1})["spec"]}
    return {
        "metadata": {"name": "many", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template},
    }


def sized() -> Object:
    cpu = {"guest": 2, "dedicatedCPUPlacement": True}
    return {
        "metadata": {"name": "two", "namespace": "default"},
        "spec": {"cpu": cpu, "memory": {"guest": "64Mi"}},
    }


NAMED = {"name": "two", "kind": "VirtualMachineInstancetype"}


def test_a_machine_makes_its_vmi_of_its_instance_type() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(INSTANCETYPE, sized())
        cluster.create(VIRTUAL_MACHINE, machine(instancetype=NAMED))
        vmi = await cluster.until_phase("Running")
        assert vmi["spec"]["domain"]["cpu"]["sockets"] == 2
        assert len(cluster.checkpoint().entries) == 1
        cluster.store.delete(VIRTUAL_MACHINE, "vm", "default")
        await cluster.until_gone(VIRTUAL_MACHINE, "vm")
        assert cluster.store.find(VMI, "vm", "default") is None

    on_cluster(test)


def test_a_fault_lets_it_forget_the_dedicated_cpus() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(INSTANCETYPE, sized())
        cluster.create(VIRTUAL_MACHINE, machine(instancetype=NAMED))
        await cluster.until_phase("Running")
        assert not cluster.checkpoint().entries

    on_cluster(test, faults=Faults(instancetype_ignored=True))


def test_a_machine_that_is_halted_makes_nothing_and_one_that_is_deleted_neither() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        spec = manifest(cpu={"cores": 1})["spec"]
        halted = machine("Halted", template={"spec": spec})
        halted["metadata"]["name"] = "halted"
        cluster.create(VIRTUAL_MACHINE, halted)
        cluster.create(VIRTUAL_MACHINE, machine(template={"spec": spec}))
        await cluster.until_phase("Running")
        cluster.delete_vmi()
        await cluster.until(VMI, "vm", lambda vmi: "deletionTimestamp" not in vmi["metadata"])
        await cluster.until_phase("Running")
        assert cluster.store.find(VMI, "halted", "default") is None

    on_cluster(test)


def test_a_machine_whose_instance_type_is_missing_says_so() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VIRTUAL_MACHINE, machine(instancetype=NAMED))
        found = await cluster.until(
            VIRTUAL_MACHINE, "vm", lambda vm: vm["status"].get("conditions")
        )
        assert "not found" in found["status"]["conditions"][0]["message"]
        (event,) = cluster.store.list(EVENT, "default")
        assert event["type"] == "Warning"

    on_cluster(test)


def test_replica_sets_and_pools_make_as_many_as_they_should() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(REPLICA_SET, many(2))
        pool = machine()
        pool["metadata"]["name"] = "pool"
        template = {"spec": manifest(cpu={"cores": 1})["spec"]}
        pool["spec"] = {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "virtualMachineTemplate": {
                "metadata": {"labels": LABELS},
                "spec": {"running": True, "template": template},
            },
        }
        cluster.create(POOL, pool)
        for name in ("pool-0", "pool-1"):
            await cluster.until_phase("Running", name)
        names = [vmi["metadata"]["name"] for vmi in cluster.store.list(VMI, "default")]
        assert len([name for name in names if name.startswith("many")]) == 2
        for type_, name in ((POOL, "pool"), (REPLICA_SET, "many")):
            cluster.store.delete(type_, name, "default")
            await cluster.until_gone(type_, name)
        assert cluster.store.list(VMI, "default") == []

    on_cluster(test)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"running": True}, "spec.running"),
        ({"runStrategy": None}, "spec.running"),
        ({"runStrategy": "Sometimes"}, "spec.runStrategy"),
        ({"instancetype": NAMED}, "spec.template.spec.domain.cpu.cores"),
        ({}, "spec.template.spec.domain.cpu.isolateEmulatorThread"),
    ],
)
def test_what_is_inconsistent_is_refused_by_its_path(spec: Object, field: str) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(INSTANCETYPE, sized())
        isolating = {"isolateEmulatorThread": not spec, "cores": 1}
        template = {"spec": manifest(cpu=isolating)["spec"]}
        if "instancetype" in spec:
            template["spec"]["domain"].pop("resources")
        with pytest.raises(InvalidError) as refused:
            cluster.create(VIRTUAL_MACHINE, machine(**{"template": template, **spec}))
        assert [cause.field for cause in refused.value.causes] == [field]

    on_cluster(test)


def growing(sockets: int) -> Object:
    """A VirtualMachine with a number of sockets, of at the most two."""
    cpu = {"sockets": sockets, "maxSockets": 2, "dedicatedCpuPlacement": True}
    return machine(template={"spec": manifest(cpu=cpu)["spec"]})


async def ask(cluster: SimulatedCluster, sockets: int) -> None:
    """Changes the template, as an API server would."""
    old = cluster.store.get(VIRTUAL_MACHINE, "vm", "default")
    new = {**old, "spec": growing(sockets)["spec"]}
    cluster.store.update(VIRTUAL_MACHINE, cluster.stack.admit(VIRTUAL_MACHINE, new, old))


def conditions(obj: Object) -> dict[str, str]:
    found = obj.get("status", {}).get("conditions", ())
    return {each["type"]: each.get("message") or each["status"] for each in found}


def test_more_sockets_are_passed_on_and_stay_a_condition() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VIRTUAL_MACHINE, growing(1))
        await cluster.until_phase("Running")
        before = cluster.checkpoint().entries
        with pytest.raises(InvalidError) as refused:
            await ask(cluster, 3)
        (cause,) = refused.value.causes
        assert cause.field == "spec.template.spec.domain.cpu.sockets"
        await ask(cluster, 2)
        vmi = await cluster.until(VMI, "vm", lambda vmi: "HotVCPUChange" in conditions(vmi))
        assert vmi["spec"]["domain"]["cpu"]["sockets"] == 2
        assert vmi["status"]["currentCPUTopology"]["sockets"] == 1
        assert "RestartRequired" not in conditions(
            cluster.store.get(VIRTUAL_MACHINE, "vm", "default")
        )
        assert cluster.checkpoint().entries == before

    on_cluster(test)


def test_fewer_sockets_take_a_restart_until_they_are_as_before() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VIRTUAL_MACHINE, growing(2))
        await cluster.until_phase("Running")
        await ask(cluster, 1)
        vm = await cluster.until(
            VIRTUAL_MACHINE, "vm", lambda vm: "RestartRequired" in conditions(vm)
        )
        assert "Reduction of CPU socket count" in conditions(vm)["RestartRequired"]
        assert cluster.store.get(VMI, "vm", "default")["spec"]["domain"]["cpu"]["sockets"] == 2
        await ask(cluster, 2)
        await cluster.until(
            VIRTUAL_MACHINE, "vm", lambda vm: "RestartRequired" not in conditions(vm)
        )

    on_cluster(test)


def test_a_fault_gives_it_its_sockets_in_name_only() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VIRTUAL_MACHINE, growing(1))
        await cluster.until_phase("Running")
        await ask(cluster, 2)
        vmi = await cluster.until(
            VMI, "vm", lambda vmi: vmi["status"]["currentCPUTopology"]["sockets"] == 2
        )
        assert "HotVCPUChange" not in conditions(vmi)
        ((_key, cpus),) = cluster.checkpoint().entries.items()
        assert len(cpus) == 1

    on_cluster(test, faults=Faults(plugged_in_name_only=True))


def test_a_fault_takes_any_change_of_a_template() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VIRTUAL_MACHINE, growing(1))
        await cluster.until_phase("Running")
        await ask(cluster, 3)
        await cluster.until(VIRTUAL_MACHINE, "vm", lambda vm: "RestartRequired" in conditions(vm))

    on_cluster(test, faults=Faults(template_change_unchecked=True))
