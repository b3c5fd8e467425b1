"""Saboteurs of live migration: what may go wrong on its target, on its way, and on its source."""

from __future__ import annotations

from typing import Any

from conformance.model.vocabulary import COMPUTE
from conformance.proving.of_cpus import cgroup_stays, cpus_leak, entry_stays
from conformance.proving.of_scenarios import NODE, elsewhere
from conformance.proving.saboteur import broken_by, spoils
from conformance.proving.scene import NothingToSpoilError, Scene

_PINS = ("PIN-XML", "PIN-LIVE", "PIN-THREADS")
_SCENARIO, _VAIN = "migration", "migration-no-room"


@spoils(
    *("MIG-PINNED", *_PINS, "PIN-CGROUP"),
    scenario=_SCENARIO,
    moment="target",
    subject="own",
    bug="kubevirt#6821",
)
def keeps_the_sources_pins(scene: Scene) -> Scene:
    """XML and libvirt have pins that are not of the target's CPUs, as they were on the source."""
    for vcpu, cpu in enumerate(elsewhere(scene).values()):
        if vcpu in scene.vcpus:
            scene = scene.pinned(vcpu, str(cpu)).live_vcpu(vcpu, str(cpu))
    return scene


@spoils(
    *("MIG-PINNED", "PIN-LIVE", "PIN-THREADS"),
    scenario=_SCENARIO,
    moment="target",
    subject="own",
    alone=True,
    bug="kubevirt#6200",
)
def libvirt_differs_from_its_xml(scene: Scene) -> Scene:
    """libvirt answers that a vCPU may run on all CPUs of the target pod; the XML pins it."""
    return scene.live_vcpu(min(scene.vcpus), str(scene.owned))


@spoils(
    "MIG-PINNED",
    "PIN-THREADS",
    scenario=_SCENARIO,
    moment="target",
    subject="own",
    alone=True,
)
def thread_arrives_unpinned(scene: Scene) -> Scene:
    """A vCPU thread of the target may run on all CPUs of its pod."""
    return scene.affinity(scene.vcpus[min(scene.vcpus)], scene.owned)


@spoils(
    *("MIG-PINNED", "QOS-POD", "QOS-VMI"),
    scenario=_SCENARIO,
    moment="target",
    subject="own",
    alone=True,
)
def target_is_burstable(scene: Scene) -> Scene:
    """The target pod is of the class Burstable."""
    return scene.pod(lambda pod: pod["status"].update(qosClass="Burstable"))


@spoils("MIG-EXCLUSIVE", scenario=_SCENARIO, moment="sample", subject=NODE, alone=True)
def target_shares_with_somebody(scene: Scene) -> Scene:
    """The checkpoint gives the CPUs of one pod to another one as well."""

    def edit(state: Any) -> None:
        owners = [names for names in state["entries"].values() if COMPUTE in names]
        if len(owners) < 2:
            raise NothingToSpoilError("two owners")
        owners[1][COMPUTE] = owners[0][COMPUTE]

    return scene.checkpoint(edit)


@spoils("MIG-EXCLUSIVE", scenario=_SCENARIO, moment="sample", subject=NODE, alone=True)
def others_are_let_in(scene: Scene) -> Scene:
    """CPUs of the migrating VMI are in the shared pool as well."""
    return scene.default(scene.host.online)


@spoils("MIG-EXCLUSIVE", scenario=_SCENARIO, moment="sample", subject=NODE, alone=True)
def cgroups_overlap(scene: Scene) -> Scene:
    """The cgroup of one owner has the CPUs of another one."""
    owners = [
        each
        for pod in scene.seen.pods
        for each in pod.containers
        if (pod.uid, each.name) in scene.state.entries and each.cgroup and each.cpuset
    ]
    if len(owners) < 2 or scene.raw.torn:
        raise NothingToSpoilError("two owners")
    return scene.cpuset(owners[1].cgroup, owners[0].cpuset or ())


for _change in (entry_stays, cpus_leak, cgroup_stays):
    spoils(
        "MIG-RELEASED",
        "CPU-POOL",
        scenario=_SCENARIO,
        moment="left",
        subject="own",
        alone=True,
    )(_change)


@spoils(
    *("MIG-KEPT", "PIN-LIVE", "PIN-THREADS"),
    scenario=_VAIN,
    moment="waiting",
    subject="own",
    alone=True,
    bug="kubevirt#6200",
)
def source_is_repinned(scene: Scene) -> Scene:
    """libvirt of the source answers other pins while its migration waits for room."""
    return scene.live_vcpu(min(scene.vcpus), str(scene.owned))


@spoils(
    "MIG-KEPT",
    "PIN-THREADS",
    scenario=_VAIN,
    moment="after",
    subject="own",
    alone=True,
)
def thread_is_let_loose(scene: Scene) -> Scene:
    """A vCPU thread may run on all CPUs of its pod when the migration was withdrawn."""
    return scene.affinity(scene.vcpus[min(scene.vcpus)], scene.owned)


@spoils(
    *("MIG-KEPT", "CPU-COUNT", "CPU-EXCLUSIVE", "CPU-POOL"),
    scenario=_VAIN,
    moment="after",
    subject="own",
    alone=True,
)
def loses_its_entry(scene: Scene) -> Scene:
    """The checkpoint has no entry of the VMI when the migration was withdrawn."""
    return scene.entry(None)


broken_by(
    "migrated_domain_unpinned",
    *("MIG-PINNED", *_PINS, "PIN-CGROUP", "PIN-HINT"),
    does="A domain that migrates arrives without pins.",
    run="[migration]",
    profile="current",
    bug="kubevirt#6821",
)
broken_by(
    "overlapping_sets",
    *("MIG-EXCLUSIVE", "CPU-EXCLUSIVE", "CPU-POOL", "CPU-RESERVED", "MIG-RELEASED"),
    does="The kubelet of the target forgets what it gave away before.",
    run="[migration]",
    profile="current",
)
broken_by(
    "entry_leaked",
    *("MIG-RELEASED", "CPU-POOL"),
    does="The checkpoint of the source keeps the entry of the pod that the guest has left.",
    run="[migration]",
    profile="current",
)
broken_by(
    "waiting_migration_unpins",
    *("MIG-KEPT", "PIN-LIVE", "PIN-THREADS", "PIN-CGROUP"),
    does="A VMI loses its pins while its migration waits for room.",
    run="[migration-no-room]",
    profile="current",
    bug="kubevirt#6200",
)
