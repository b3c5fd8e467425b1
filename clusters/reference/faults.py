"""Switches that break the stack on purpose, so that checks can be proven.

Each is consulted in exactly one place. All are off in every normal run; a self-proof turns
one on and expects the harness to name the requirement that it violates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Faults:
    """Which behaviours are switched off or spoilt.

    Attributes:
        admit_field: causes for this field are dropped: the API accepts what it must refuse.
        refuse_everything: admission refuses every VMI, for a field of its own.
        qos_broken: the compute container's memory request differs from its limit.
        emulator_cpu_missing: the launcher pod asks for no CPU for the emulator.
        parity_cpu_missing: that for even parity asks for one CPU less.
        sidecar_without_resources: hook sidecars express no resources.
        sidecar_pinned: hook sidecars ask for a whole CPU, so that they get it exclusively.
        quota_kept: exclusive containers keep their CFS quota.
        reserved_handed_out: the CPU manager gives reserved pCPUs to containers.
        overlapping_sets: the CPU manager forgets what it gave away before.
        siblings_scattered: the CPU manager takes one thread of each core first.
        shared_pool_not_updated: running shared containers keep their old cpuset.
        shared_on_exclusive: shared containers start on every pCPU of the node.
        entry_leaked: the checkpoint keeps the entries of pods that are gone.
        assignment_lost_on_restart: a restarted kubelet forgets the assignments.
        vcpu_pinned_to_neighbour: vCPU 0 is pinned where vCPU 1 is.
        vcpus_not_pinned: the domain has no vcpupin at all.
        emulator_not_isolated: no emulatorpin and no housekeeping cgroup.
        housekeeping_missing: threads stay in the container's own cgroup.
        pit_not_affined: the timer of a guest may run anywhere.
        iothreads_on_vcpus: IOThreads are pinned to the vCPUs' pCPUs in spite of isolation.
        pool_on_vcpus: IOThreads of a supplemental pool are pinned to the vCPUs' pCPUs.
        iothreads_on_first_cpu: IOThreads that share the vCPUs' pCPUs are all on the first.
        disks_share_iothreads: disks with an IOThread of their own use the first one as well.
        hint_missing: the domain has no hint-dedicated.
        class_not_copied: a VMI's status has another class than its pod.
        no_room_to_grow: the domain has no room for the sockets of maxSockets.
        guest_topology_flat: the guest sees sockets instead of cores and threads.
        numa_flat: the guest sees one NUMA node, wherever its vCPUs are pinned.
        cells_swapped: the memory of each NUMA cell is bound where that of the next one belongs.
        small_pages: the guest's memory is on pages of the ordinary size.
        realtime_forgotten: no vCPU is scheduled in real time.
        realtime_mask_ignored: every vCPU is, whatever the mask.
        realtime_label_missing: no node is labelled for real time.
        label_missing: the CPU manager labels are never written.
        label_always_true: the labels ignore policy and feature gate.
        selector_missing: dedicated launcher pods go to unlabelled nodes too.
        nodes_overcommitted: the scheduler does not count CPUs.
        waiting_forgotten: the scheduler tries no pod again that it has found no node for.
        sidecars_not_counted: the scheduler counts the compute container alone.
        assignment_lost_with_container: a restarted container has lost its exclusive CPUs.
        manual_label_undone: a label put by hand is removed when the gate is off.
        migrated_domain_unpinned: a domain that migrates arrives without pins.
        waiting_migration_unpins: a VMI loses its pins while its migration waits for room.
        instancetype_ignored: a VirtualMachine's VMI shares its CPUs, whatever its instance type.
        sidecar_gate_ignored: hook sidecars run whether their gate is on or off.
        template_change_unchecked: whatever a VirtualMachine's template is changed to is stored.
        plugged_in_name_only: a VMI says that it has the sockets that it is asked for.
    """

    admit_field: str = ""
    refuse_everything: bool = False
    qos_broken: bool = False
    emulator_cpu_missing: bool = False
    parity_cpu_missing: bool = False
    sidecar_without_resources: bool = False
    sidecar_pinned: bool = False
    quota_kept: bool = False
    reserved_handed_out: bool = False
    overlapping_sets: bool = False
    siblings_scattered: bool = False
    shared_pool_not_updated: bool = False
    shared_on_exclusive: bool = False
    entry_leaked: bool = False
    assignment_lost_on_restart: bool = False
    vcpu_pinned_to_neighbour: bool = False
    vcpus_not_pinned: bool = False
    emulator_not_isolated: bool = False
    housekeeping_missing: bool = False
    pit_not_affined: bool = False
    iothreads_on_vcpus: bool = False
    pool_on_vcpus: bool = False
    iothreads_on_first_cpu: bool = False
    disks_share_iothreads: bool = False
    hint_missing: bool = False
    class_not_copied: bool = False
    no_room_to_grow: bool = False
    guest_topology_flat: bool = False
    numa_flat: bool = False
    cells_swapped: bool = False
    small_pages: bool = False
    realtime_forgotten: bool = False
    realtime_mask_ignored: bool = False
    realtime_label_missing: bool = False
    label_missing: bool = False
    label_always_true: bool = False
    selector_missing: bool = False
    nodes_overcommitted: bool = False
    waiting_forgotten: bool = False
    sidecars_not_counted: bool = False
    assignment_lost_with_container: bool = False
    manual_label_undone: bool = False
    migrated_domain_unpinned: bool = False
    waiting_migration_unpins: bool = False
    instancetype_ignored: bool = False
    sidecar_gate_ignored: bool = False
    template_change_unchecked: bool = False
    plugged_in_name_only: bool = False


NONE = Faults()


SWITCHES = tuple(field.name for field in fields(Faults) if field.type == "bool")
"""Those that are simply on or off."""


def faults_named(names: Iterable[str]) -> Faults:
    """The faults of these names are on, all others off."""
    return Faults(**dict.fromkeys(names, True))  # type: ignore[arg-type]
