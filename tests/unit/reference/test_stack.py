"""The reference stack, whole, on simulated nodes: what a user does and what comes of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from clusters.contract import cpuset
from clusters.contract.access import LibvirtView
from clusters.contract.shape import CpuManager, NodeShape, NodeSpec
from clusters.reference.apiserver.resources import EVENT, KUBEVIRT, NAMESPACE, NODE, POD, VMI
from clusters.reference.apiserver.store import Object
from clusters.reference.conditions import get_condition
from clusters.reference.kubelet.checkpoint import PATH
from clusters.reference.launcher.launcher import container_id
from tests.unit.reference.cluster import (
    SimulatedCluster,
    dedicated,
    manifest,
    on_cluster,
    plain_pod,
)

HOOK = {"hooks.kubevirt.io/hookSidecars": json.dumps([{"image": "example-hook-sidecar:v1"}])}
CONTAINER_DISK = {"name": "root", "containerDisk": {"image": "cirros-container-disk-demo"}}


def pins(cluster: SimulatedCluster, name: str = "vm") -> LibvirtView:
    vmi = cluster.vmi(name)
    node = vmi["status"]["nodeName"]
    launcher = cluster.stack.handlers[node].launcher(vmi)
    return cluster.machines[node].domain_view_now(launcher.container_id, launcher.domain)


def events_of(cluster: SimulatedCluster, reason: str) -> list[str]:
    return [e["message"] for e in cluster.store.list(EVENT) if e["reason"] == reason]


def test_a_dedicated_vmi_is_pinned_and_leaves_nothing_behind() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        before = cluster.pod_cgroups()
        await cluster.run(dedicated(sockets=2, isolateEmulatorThread=True))
        pod = cluster.launcher_pod()
        assert pod["status"]["qosClass"] == "Guaranteed"
        owned = cluster.checkpoint().entries[pod["metadata"]["uid"]]["compute"]
        assert owned == cluster.cpus_of(pod, "compute") == frozenset({2, 3, 4})
        view = pins(cluster)
        assert view.vcpu_pins == {0: frozenset({2}), 1: frozenset({3})}
        assert view.emulator_pin == frozenset({4})
        root = "/sys/fs/cgroup" + cluster.cgroup_of(pod, "compute")
        kernel = cluster.machine.kernel
        left = kernel.read(f"{root}/cgroup.threads").split()
        assert [kernel.read(f"/proc/{t}/comm") for t in left] == ["CPU 0/KVM\n", "CPU 1/KVM\n"]
        assert kernel.read(f"{root}/housekeeping/cpuset.cpus.effective") == "4\n"
        assert kernel.read(f"{root}/cpu.max") == "max 100000\n"
        assert cluster.checkpoint().default == frozenset(range(12)) - owned

        cluster.delete_vmi()
        await cluster.until_gone(VMI, "vm")
        assert cluster.checkpoint().entries == {}
        assert cpuset.render(cluster.checkpoint().default) == "0-11"
        assert cluster.pod_cgroups() == before

    on_cluster(test)


def test_phases_conditions_and_events_are_as_kubevirt_shows_them() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = await cluster.run(dedicated(cores=2))
        status = vmi["status"]
        phases = [entry["phase"] for entry in status["phaseTransitionTimestamps"]]
        assert phases == ["Pending", "Scheduling", "Scheduled", "Running"]
        pod = cluster.launcher_pod()
        assert status["nodeName"] == "node-1"
        assert status["activePods"] == {pod["metadata"]["uid"]: "node-1"}
        assert status["qosClass"] == "Guaranteed"
        assert (get_condition(status, "Ready") or {})["status"] == "True"
        reasons = {event["reason"] for event in cluster.store.list(EVENT)}
        assert {"SuccessfulCreate", "Scheduled", "SuccessfulHandOver", "Started"} <= reasons
        assert "CPU-CONFORMANCE-GUEST {" in await cluster.stack.console("default", "vm")

    on_cluster(test)


def test_the_guest_sees_its_topology_and_room_to_grow_is_switched_off() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(sockets=1, cores=2, threads=2))
        console = await cluster.stack.console("default", "vm")
        report = json.loads(console.split("CPU-CONFORMANCE-GUEST ")[1])
        assert (report["sockets"], report["cores_per_socket"]) == (1, 2)
        assert (report["threads_per_core"], report["online"]) == (2, "0-3")
        view = pins(cluster)
        tree = ElementTree.fromstring(view.xml)
        enabled = [v.get("id") for v in tree.findall("vcpus/vcpu") if v.get("enabled") == "yes"]
        assert (tree.findtext("vcpu"), enabled) == ("16", ["0", "1", "2", "3"])
        assert len(view.vcpu_pins) == 4

    on_cluster(test)


def test_sidecars_have_resources_and_run_in_the_shared_pool() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = dedicated(cores=2)
        vmi["metadata"]["annotations"] = dict(HOOK)
        vmi["spec"]["volumes"] = [CONTAINER_DISK]
        await cluster.run(vmi)
        pod = cluster.launcher_pod()
        assert pod["status"]["qosClass"] == "Guaranteed"
        containers = {c["name"]: c["resources"] for c in pod["spec"]["containers"]}
        sidecar = {"cpu": "200m", "memory": "64M"}
        assert containers["hook-sidecar-0"] == {"limits": sidecar, "requests": sidecar}
        assert containers["volumeroot"]["limits"] == {"cpu": "10m", "memory": "40M"}
        inits = [c["name"] for c in pod["spec"]["initContainers"]]
        assert inits == ["guest-console-log", "container-disk-binary", "volumeroot-init"]
        owned = cluster.cpus_of(pod, "compute")
        for name in ("hook-sidecar-0", "volumeroot"):
            assert cluster.cpus_of(pod, name) == frozenset(range(12)) - owned
        assert list(cluster.checkpoint().entries[pod["metadata"]["uid"]]) == ["compute"]

    on_cluster(test)


@pytest.mark.parametrize(
    ("domain", "cpu", "expected"),
    [
        ({"ioThreadsPolicy": "auto"}, {"isolateEmulatorThread": True}, {1: "4"}),
        ({"ioThreadsPolicy": "shared"}, {"isolateEmulatorThread": True}, {1: "4"}),
        ({"ioThreadsPolicy": "shared"}, {}, {1: "2-3"}),
        ({"ioThreadsPolicy": "auto"}, {}, {1: "2-3"}),
        (
            {
                "ioThreadsPolicy": "supplementalPool",
                "ioThreads": {"supplementalPoolThreadCount": 2},
            },
            {},
            {1: "4", 2: "5"},
        ),
    ],
)
def test_iothreads_are_pinned(
    domain: Object, cpu: dict[str, Any], expected: dict[int, str]
) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = manifest(cpu={"dedicatedCpuPlacement": True, "sockets": 2, **cpu}, **domain)
        vmi["spec"]["volumes"] = [{"name": "scratch", "emptyDisk": {"capacity": "1Mi"}}]
        await cluster.run(vmi)
        found = pins(cluster).iothread_pins
        assert {n: cpuset.render(cpus) for n, cpus in found.items()} == expected

    on_cluster(test)


def test_auto_iothreads_without_a_disk_fail_the_vmi() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VMI, manifest(ioThreadsPolicy="auto", cpu={"dedicatedCpuPlacement": True}))
        await cluster.until_phase("Failed")
        assert "domain is missing IOThreads" in events_of(cluster, "SyncFailed")[0]

    on_cluster(test)


@pytest.mark.parametrize("shared_first", [True, False])
def test_shared_vmis_never_run_where_a_dedicated_one_does(shared_first: bool) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmis = [manifest("shared", cpu={"cores": 2}), dedicated("own", cores=4)]
        for vmi in vmis if shared_first else vmis[::-1]:
            await cluster.run(vmi)
        shared, own = cluster.launcher_pod("shared"), cluster.launcher_pod("own")
        assert shared["status"]["qosClass"] == "Burstable"
        requests = shared["spec"]["containers"][0]["resources"]["requests"]
        assert requests["cpu"] == "200m"
        owned = cluster.cpus_of(own, "compute")
        assert len(owned) == 4
        assert cluster.cpus_of(shared, "compute") == frozenset(range(12)) - owned
        cluster.delete_vmi("own")
        await cluster.until_gone(VMI, "own")
        assert cluster.cpus_of(shared, "compute") == frozenset(range(12))

    on_cluster(test)


def test_a_full_node_keeps_vmis_waiting_until_cpus_are_free() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated("first", cores=8))
        cluster.create(VMI, dedicated("second", cores=4))
        waiting = await cluster.until(
            VMI, "second", lambda vmi: get_condition(vmi["status"], "PodScheduled")
        )
        condition = get_condition(waiting["status"], "PodScheduled") or {}
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        assert condition["message"] == (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod."
        )
        assert events_of(cluster, "FailedScheduling") == [condition["message"]]
        cluster.delete_vmi("first")
        await cluster.until_phase("Running", "second")

    on_cluster(test)


def test_dedicated_vmis_go_to_labelled_nodes_only() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        assert cluster.labels("node-1")["kubevirt.io/cpumanager"] == "false"
        assert cluster.labels("node-2")["kubevirt.io/cpumanager"] == "true"
        assert cluster.labels("node-2")["cpumanager"] == "true"
        vmi = await cluster.run(dedicated(cores=2))
        assert vmi["status"]["nodeName"] == "node-2"
        shared = await cluster.run(manifest("shared"))
        assert shared["status"]["nodeName"] == "node-1"
        assert json.loads(cluster.machines["node-1"].kernel.read(PATH))["policyName"] == "none"
        assert cluster.cpus_of(cluster.launcher_pod("shared"), "compute") == frozenset(range(12))

    on_cluster(test, nodes=(NodeSpec("node-1", cpu_manager=CpuManager("none")), NodeSpec("node-2")))


def test_the_gate_and_the_policy_decide_the_label() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        def gates(*names: str) -> None:
            developer = {"featureGates": list(names)}
            spec = {"configuration": {"developerConfiguration": developer}}
            cluster.store.mutate(KUBEVIRT, "kubevirt", "kubevirt", lambda kv: kv.update(spec=spec))

        async def label(value: str) -> None:
            await cluster.until(
                NODE,
                "node-1",
                lambda node: node["metadata"]["labels"]["kubevirt.io/cpumanager"] == value,
                "",
            )

        gates("Sidecar")
        await label("false")
        gates("CPUManager")
        await label("true")
        await cluster.stack.stop_kubelet("node-1")
        assert cluster.labels()["kubevirt.io/cpumanager"] == "true"
        await cluster.stack.start_kubelet("node-1")
        await cluster.stack.configure_cpu_manager("node-1", CpuManager("none"))
        await label("false")
        await cluster.stack.configure_cpu_manager("node-1", CpuManager())
        await label("true")

    on_cluster(test)


def test_half_a_core_is_refused_under_full_pcpus_only() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VMI, dedicated(cores=3))
        await cluster.until_phase("Failed")
        rejected = events_of(cluster, "SMTAlignmentError")
        assert rejected == ["SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"]
        status = cluster.launcher_pod()["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "SMTAlignmentError")
        await cluster.run(dedicated("even", cores=2))
        vmi = dedicated("isolated", cores=2, isolateEmulatorThread=True)
        vmi["metadata"]["annotations"] = {
            "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity": ""
        }
        await cluster.run(vmi)
        assert len(cluster.cpus_of(cluster.launcher_pod("isolated"), "compute")) == 4
        assert len(pins(cluster, "isolated").emulator_pin) == 2

    options = frozenset({"full-pcpus-only"})
    on_cluster(test, nodes=(NodeSpec("node-1", cpu_manager=CpuManager(options=options)),))


def test_strict_reservation_keeps_shared_containers_off_the_reserved_cpus() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(manifest())
        assert cpuset.render(cluster.checkpoint().default) == "2-11"
        assert cluster.cpus_of(cluster.launcher_pod(), "compute") == frozenset(range(2, 12))

    options = frozenset({"strict-cpu-reservation"})
    on_cluster(test, nodes=(NodeSpec("node-1", cpu_manager=CpuManager(options=options)),))


def test_distribution_across_numa_nodes() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=8))
        owned = cluster.cpus_of(cluster.launcher_pod(), "compute")
        assert len(owned & frozenset(range(6))) == 4

    options = frozenset({"distribute-cpus-across-numa"})
    on_cluster(test, nodes=(NodeSpec("node-1", cpu_manager=CpuManager(options=options)),))


def test_a_kubelet_restart_keeps_pods_and_assignments() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=3))
        cluster.create(POD, plain_pod("shared"))
        await cluster.until(POD, "shared", lambda pod: pod["status"]["phase"] == "Running")
        before, state = cluster.launcher_pod(), cluster.checkpoint()
        await cluster.stack.restart_kubelet("node-1")
        await cluster.run(dedicated("later", cores=2))
        after = cluster.launcher_pod()
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
        assert state.entries.items() <= cluster.checkpoint().entries.items()
        shared = cluster.store.get(POD, "shared", "default")
        assert cluster.cpus_of(shared, "main") == cluster.checkpoint().default
        assert cluster.vmi()["status"]["phase"] == "Running"

    on_cluster(test)


def test_a_killed_container_comes_back_with_its_cpus() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        amounts = {"cpu": "2", "memory": "64Mi"}
        cluster.create(POD, plain_pod("own", resources={"limits": amounts}))
        pod = await cluster.until(POD, "own", lambda p: p["status"]["phase"] == "Running")
        assert pod["status"]["qosClass"] == "Guaranteed"
        owned = cluster.cpus_of(pod, "main")
        cluster.machine.kill_container(container_id(pod, "main"))
        pod = await cluster.until(
            POD,
            "own",
            lambda p: (
                p["status"]["containerStatuses"][0]["restartCount"] == 1
                and "running" in p["status"]["containerStatuses"][0]["state"]
            ),
        )
        assert cluster.cpus_of(pod, "main") == owned
        assert len(owned) == 2

    on_cluster(test)


def test_a_vmi_deleted_while_it_starts_leaks_nothing() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        before = cluster.pod_cgroups()
        for turns in range(40):
            name = f"vm-{turns}"
            cluster.create(VMI, dedicated(name, cores=2))
            for _ in range(turns):
                await asyncio.sleep(0)
            cluster.delete_vmi(name)
            await cluster.until_gone(VMI, name)
            assert cluster.checkpoint().entries == {}
            assert cluster.pod_cgroups() == before

    on_cluster(test)


def test_no_pcpu_is_ever_owned_twice_while_many_come_and_go() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        for number in range(24):
            if number % 3:
                cluster.create(VMI, dedicated(f"own-{number}", cores=1 + number % 4))
            else:
                cluster.create(VMI, manifest(f"shared-{number}"))
        async for change in cluster.store.watch([VMI, POD]):
            exclusive_and_shared_are_disjoint(cluster)
            vmi = change.object
            runs = change.type == "MODIFIED" and vmi["status"].get("phase") == "Running"
            if runs and change.kind == VMI.kind and "deletionTimestamp" not in vmi["metadata"]:
                cluster.delete_vmi(vmi["metadata"]["name"])
            if not cluster.store.list(VMI):
                break
        assert cluster.checkpoint().entries == {}

    on_cluster(test)


def exclusive_and_shared_are_disjoint(cluster: SimulatedCluster) -> None:
    """Reads the cpuset of every container cgroup of the node at this very moment."""
    kernel = cluster.machine.kernel
    root = "/sys/fs/cgroup/kubepods.slice"
    seen: set[int] = set()
    pool: set[int] = set()
    for pattern in (f"{root}/*.slice/*.scope", f"{root}/*.slice/*.slice/*.scope"):
        for path in kernel.glob(pattern):
            cpus = cpuset.parse(kernel.read(f"{path}/cpuset.cpus.effective"))
            if 0 in cpus:
                pool |= cpus
            else:
                assert not cpus & seen, f"{path} shares {cpus & seen}"
                seen |= cpus
    assert not pool & seen, f"shared containers run on exclusive {pool & seen}"


def test_unknown_images_are_not_pulled() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(POD, plain_pod("odd", image="nobody/knows:this"))
        pod = await cluster.until(POD, "odd", lambda p: p["status"].get("containerStatuses"))
        pod = await cluster.until(POD, "odd", lambda p: waiting_for(p) == "ImagePullBackOff")
        assert pod["status"]["phase"] == "Pending"
        cluster.store.delete(POD, "odd", "default", grace_seconds=1)
        await cluster.until_gone(POD, "odd")

    on_cluster(test)


def waiting_for(pod: Object) -> str:
    statuses = pod["status"].get("containerStatuses") or [{}]
    reason: str = statuses[0].get("state", {}).get("waiting", {}).get("reason", "")
    return reason


def test_a_dying_launcher_fails_its_vmi_and_frees_its_cpus() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=2))
        launcher = cluster.stack.handlers["node-1"].launcher(cluster.vmi())
        cluster.machine.kill_container(launcher.container_id)
        await cluster.until(VMI, "vm", lambda v: v["status"]["phase"] in ("Failed", "Succeeded"))
        cluster.delete_vmi()
        await cluster.until_gone(VMI, "vm")
        assert cluster.checkpoint().entries == {}

    on_cluster(test)


def test_a_guest_that_shuts_down_ends_its_vmi_and_its_pod() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=2))
        launcher = cluster.stack.handlers["node-1"].launcher(cluster.vmi())
        cluster.machine.end_domain(launcher.container_id, launcher.domain)
        await cluster.until_phase("Succeeded")
        await cluster.until_gone(POD, cluster.launcher_pod()["metadata"]["name"])
        assert cluster.checkpoint().entries == {}

    on_cluster(test)


def test_a_deleted_namespace_takes_everything_with_it() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(NAMESPACE, {"metadata": {"name": "short-lived"}})
        vmi = dedicated(cores=2)
        vmi["metadata"]["namespace"] = "short-lived"
        cluster.create(VMI, vmi)
        await cluster.until(
            VMI, "vm", lambda v: v["status"].get("phase") == "Running", "short-lived"
        )
        cluster.store.delete(NAMESPACE, "short-lived")
        await cluster.until_gone(NAMESPACE, "short-lived", "")
        assert cluster.checkpoint().entries == {}

    on_cluster(test)


def test_a_dead_node_is_reported() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.machine.die()
        cluster.create(VMI, manifest())
        await cluster.until(
            NODE,
            "node-1",
            lambda n: (get_condition(n["status"], "Ready") or {})["status"] == "Unknown",
            "",
        )
        assert "does not answer" in str(cluster.stack.health.problems)

    on_cluster(test, healthy=False)


def test_commands_and_logs_reach_the_containers() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        (handler,) = cluster.store.list(POD, "kubevirt")
        name = handler["metadata"]["name"]
        session = await cluster.stack.execute(
            "kubevirt", name, "virt-handler", ["cat", PATH], tty=False
        )
        output = b"".join([data async for _, data in session.output()])
        assert json.loads(output)["policyName"] == "static"
        assert await session.wait() == 0
        with pytest.raises(KeyError):
            await cluster.stack.log("kubevirt", name, "nothing")
        await cluster.run(dedicated())
        pod = cluster.launcher_pod()["metadata"]["name"]
        assert "CPU-CONFORMANCE-GUEST" in await cluster.stack.log(
            "default", pod, "guest-console-log"
        )

    on_cluster(test)


def test_the_old_generation_is_served_too() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        assert "kubevirt.io/cpumanager" not in cluster.labels()
        assert cluster.labels()["cpumanager"] == "true"
        vmi = manifest(
            cpu={"dedicatedCpuPlacement": True},
            resources={"limits": {"cpu": "2", "memory": "64Mi"}},
        )
        vmi["metadata"]["annotations"] = dict(HOOK)
        await cluster.run(vmi)
        pod = cluster.launcher_pod()
        assert pod["spec"]["nodeSelector"]["cpumanager"] == "true"
        assert len(cluster.cpus_of(pod, "compute")) == 2

    on_cluster(test, profile="v1alpha2")


@pytest.mark.parametrize(
    "shape", [NodeShape(1, 8, 1, 1), NodeShape(2, 4, 2, 2), NodeShape(1, 4, 2, 2)]
)
def test_other_shapes_run_the_same(shape: NodeShape) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated(cores=2, threads=shape.threads, isolateEmulatorThread=True))
        owned = cluster.cpus_of(cluster.launcher_pod(), "compute")
        view = pins(cluster)
        pinned = frozenset().union(*view.vcpu_pins.values())
        assert pinned | view.emulator_pin == owned
        assert len(pinned) == 2 * shape.threads

    on_cluster(test, nodes=(NodeSpec("node-1", shape),))
