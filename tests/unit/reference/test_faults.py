"""Every fault changes what it says, and nothing is broken without one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any
from xml.etree import ElementTree

import pytest

from clusters.contract import cpuset
from clusters.contract.shape import CpuManager, NodeSpec
from clusters.reference.apiserver.resources import VMI
from clusters.reference.faults import Faults
from tests.unit.reference.cluster import SimulatedCluster, dedicated, manifest, on_cluster

POD_MEMORY = ("limits", "memory")


async def observe(cluster: SimulatedCluster) -> dict[str, object]:
    """Facts about a shared VMI, a dedicated one with everything, and what they leave."""
    facts: dict[str, object] = {"label": cluster.labels().get("kubevirt.io/cpumanager")}
    await cluster.run(manifest("shared"))
    vmi = dedicated("own", sockets=1, cores=2, threads=1, isolateEmulatorThread=True)
    vmi["metadata"]["annotations"] = {
        "hooks.kubevirt.io/hookSidecars": '[{"image": "sidecar"}]',
    }
    vmi["spec"]["domain"]["ioThreadsPolicy"] = "auto"
    vmi["spec"]["volumes"] = [{"name": "scratch", "emptyDisk": {"capacity": "1Mi"}}]
    cluster.create(VMI, vmi)
    stored = await cluster.until(
        VMI, "own", lambda v: v["status"].get("phase") in ("Running", "Failed")
    )
    facts["phase"] = stored["status"]["phase"]
    if facts["phase"] == "Failed":
        return facts
    pod, shared = cluster.launcher_pod("own"), cluster.launcher_pod("shared")
    facts["qos"] = pod["status"]["qosClass"]
    facts["selector"] = sorted(pod["spec"]["nodeSelector"])
    owned = cluster.cpus_of(pod, "compute")
    facts["owned"] = cpuset.render(owned)
    facts["sidecar"] = cpuset.render(cluster.cpus_of(pod, "hook-sidecar-0"))
    facts["shared"] = cpuset.render(cluster.cpus_of(shared, "compute"))
    launcher = cluster.stack.handlers["node-1"].launcher(stored)
    view = cluster.machine.domain_view_now(launcher.container_id, launcher.domain)
    facts["vcpus"] = [cpuset.render(cpus) for cpus in view.vcpu_pins.values()]
    facts["emulator"] = cpuset.render(view.emulator_pin)
    # As the launcher wrote it: the live pins are what virt-handler's sweep leaves of it.
    pins = ElementTree.fromstring(view.xml).iterfind("cputune/iothreadpin")
    facts["iothreads"] = [pin.get("cpuset") for pin in pins]
    root = "/sys/fs/cgroup" + cluster.cgroup_of(pod, "compute")
    facts["housekeeping"] = cluster.machine.kernel.glob(f"{root}/housekeeping")
    facts["quota"] = cluster.machine.kernel.read(f"{root}/cpu.max")
    facts["guest"] = 'cores_per_socket": 2' in await cluster.stack.console("default", "own")
    await cluster.stack.restart_kubelet("node-1")
    facts["entries"] = len(cluster.checkpoint().entries)
    cluster.delete_vmi("own")
    await cluster.until_gone(VMI, "own")
    facts["left"] = len(cluster.checkpoint().entries)
    facts["hint"] = "hint-dedicated" in view.xml
    facts["class"] = stored["status"]["qosClass"]
    facts["housekeeping"] = bool(facts["housekeeping"])
    return facts


def only(fault: str) -> Faults:
    switches: dict[str, Any] = {fault: True}
    return Faults(**switches)


def facts_with(faults: Faults) -> dict[str, object]:
    found: dict[str, object] = {}

    async def test(cluster: SimulatedCluster) -> None:
        found.update(await observe(cluster))

    on_cluster(test, faults=faults, healthy=False)
    return found


HEALTHY = {
    "label": "true",
    "phase": "Running",
    "qos": "Guaranteed",
    "selector": ["kubernetes.io/arch", "kubevirt.io/cpumanager", "kubevirt.io/schedulable"],
    "owned": "2-4",
    "sidecar": "0-1,5-11",
    "shared": "0-1,5-11",
    "vcpus": ["2", "3"],
    "emulator": "4",
    "iothreads": ["4"],
    "housekeeping": True,
    "quota": "max 100000\n",
    "guest": True,
    "entries": 1,
    "left": 0,
    "hint": True,
    "class": "Guaranteed",
}


def test_without_a_fault_all_is_well() -> None:
    assert facts_with(Faults()) == HEALTHY


@pytest.mark.parametrize(
    ("fault", "changed"),
    [
        ("qos_broken", {"qos"}),
        ("emulator_cpu_missing", {"phase"}),
        ("sidecar_without_resources", {"qos"}),
        ("sidecar_pinned", {"sidecar"}),
        ("quota_kept", {"quota"}),
        ("reserved_handed_out", {"owned"}),
        ("siblings_scattered", {"owned"}),
        ("shared_pool_not_updated", {"shared"}),
        ("shared_on_exclusive", {"shared", "sidecar"}),
        ("entry_leaked", {"left"}),
        ("assignment_lost_on_restart", {"entries"}),
        ("vcpu_pinned_to_neighbour", {"vcpus"}),
        ("vcpus_not_pinned", {"vcpus"}),
        ("emulator_not_isolated", {"emulator", "housekeeping"}),
        ("housekeeping_missing", {"housekeeping"}),
        ("iothreads_on_vcpus", {"iothreads"}),
        ("guest_topology_flat", {"guest"}),
        ("selector_missing", {"selector"}),
        ("hint_missing", {"hint"}),
        ("class_not_copied", {"class"}),
    ],
)
def test_a_fault_shows(fault: str, changed: set[str]) -> None:
    found = facts_with(only(fault))
    different = {name for name, value in found.items() if value != HEALTHY[name]}
    assert changed <= different, f"{fault} shows in {different}, not in {changed}: {found}"


def test_overlapping_sets_give_a_pcpu_twice() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        await cluster.run(dedicated("one", cores=2))
        await cluster.run(dedicated("two", cores=2))
        one, two = (cluster.cpus_of(cluster.launcher_pod(n), "compute") for n in ("one", "two"))
        assert one & two

    on_cluster(test, faults=Faults(overlapping_sets=True))


@pytest.mark.parametrize(
    ("fault", "label"), [("label_missing", None), ("label_always_true", "true")]
)
def test_labels_can_lie(fault: str, label: str | None) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        assert cluster.labels().get("kubevirt.io/cpumanager") == label

    node = NodeSpec("node-1", cpu_manager=CpuManager("none"))
    on_cluster(test, nodes=[node], faults=only(fault))


def test_overcommitted_nodes_reject_what_the_scheduler_sends() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(VMI, dedicated(cores=12))
        await cluster.until_phase("Failed")

    on_cluster(test, faults=Faults(nodes_overcommitted=True))


@pytest.mark.parametrize(
    ("fault", "policy", "pins", "own"),
    [
        ("", "supplementalPool", ["4", "5"], None),
        ("pool_on_vcpus", "supplementalPool", ["2", "2"], None),
        ("", "shared", ["3", "2"], "2"),
        ("iothreads_on_first_cpu", "shared", ["2", "2"], "2"),
        ("disks_share_iothreads", "shared", ["3", "2"], "1"),
    ],
)
def test_iothreads_can_be_in_the_way(
    fault: str, policy: str, pins: list[str], own: str | None
) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        vmi = dedicated("vm", sockets=2, cores=1, threads=1)
        names = ("one", "two")
        vmi["spec"]["volumes"] = [{"name": n, "emptyDisk": {"capacity": "1Mi"}} for n in names]
        vmi["spec"]["domain"] |= {
            "ioThreadsPolicy": policy,
            "ioThreads": {"supplementalPoolThreadCount": 2},
        }
        vmi["spec"]["domain"]["devices"]["disks"] = [
            {"name": n, "disk": {"bus": "virtio"}, "dedicatedIOThread": n == "two"} for n in names
        ]
        stored = await cluster.run(vmi)
        launcher = cluster.stack.handlers["node-1"].launcher(stored)
        view = cluster.machine.domain_view_now(launcher.container_id, launcher.domain)
        root = ElementTree.fromstring(view.xml)
        assert [each.get("cpuset") for each in root.iterfind("cputune/iothreadpin")] == pins
        assert root.findall("devices/disk/driver")[1].get("iothread") == own

    on_cluster(test, faults=only(fault) if fault else Faults())


def test_every_fault_is_off_by_default() -> None:
    assert not any(getattr(Faults(), field.name) for field in fields(Faults))
