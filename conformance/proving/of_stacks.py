"""Saboteurs of a cluster: faults of the reference stack, each with a run that shows it.

What they do they do for real, on nodes that are simulated or emulated: the evidence is that of a
cluster which behaves so.
"""

from __future__ import annotations

from conformance.model.vocabulary import CURRENT, V1ALPHA2
from conformance.proving.saboteur import broken_by

_NOT_GIVEN = ("CPU-COUNT", "CPU-EXCLUSIVE", "CPU-QUOTA", "PIN-XML", "PIN-THREADS")
"""What a container without exclusive CPUs lacks."""

broken_by(
    "qos_broken",
    *("QOS-CONTAINERS", "QOS-POD", "QOS-VMI", *_NOT_GIVEN),
    does="The launcher pod's compute container requests less memory than it is limited to.",
    run="[limits-2]",
)
broken_by(
    "sidecar_without_resources",
    *("SIDE-RESOURCES", "QOS-POD", "QOS-VMI", "QOS-CONTAINERS", *_NOT_GIVEN),
    does="Hook sidecars express no resources, so that the pod is Burstable.",
    run="[hook]",
    bug="kubevirt#10005",
)
broken_by(
    "emulator_cpu_missing",
    *("RUN-STARTED", "CPU-COUNT", "EMU-ISOLATED"),
    does="The launcher pod asks for no CPU for the isolated emulator thread.",
    run="[isolate]",
)
broken_by(
    "quota_kept",
    "CPU-QUOTA",
    does="Containers with exclusive CPUs keep their quota.",
    run="[limits-2]",
    bug="kubernetes#70585",
)
broken_by(
    "reserved_handed_out",
    "CPU-RESERVED",
    does="The CPU manager gives reserved CPUs to containers.",
    run="[limits-2]",
)
broken_by(
    "shared_on_exclusive",
    *("CPU-EXCLUSIVE", "CPU-POOL", "SIDE-UNPINNED"),
    does="Containers without exclusive CPUs start on every CPU of the node.",
    run="[hook]",
)
broken_by(
    "entry_leaked",
    *("LIFE-RELEASED", "CPU-POOL"),
    does="The checkpoint keeps the entries of pods that are gone.",
    run="[limits-2]",
    bug="kubernetes#112228",
)
broken_by(
    "vcpu_pinned_to_neighbour",
    *("PIN-XML", "PIN-THREADS", "SMT-SIBLINGS", "NUMA-MAPPED", "NUMA-MEMORY", "NUMA-PAGES"),
    does="The launcher pins the first vCPU where the second one is.",
    run="[limits-2]",
)
broken_by(
    "vcpus_not_pinned",
    *("PIN-XML", "PIN-LIVE", "PIN-THREADS", "PIN-CGROUP"),
    does="The launcher pins no vCPU.",
    run="[limits-2]",
)
broken_by(
    "emulator_not_isolated",
    *("EMU-ISOLATED", "EMU-HOUSEKEEPING", "IOT-ISOLATED"),
    does="There is neither a pin of the emulator nor a housekeeping cgroup.",
    run="[isolate]",
)
broken_by(
    "housekeeping_missing",
    *("EMU-HOUSEKEEPING", "PIN-CGROUP", "EMU-ISOLATED"),
    does="virt-handler moves no thread to a housekeeping cgroup.",
    run="[isolate]",
    bug="kubevirt#8233",
)
broken_by(
    "pit_not_affined",
    "EMU-PIT",
    does="virt-handler binds no timer of a guest.",
    run="[isolate]",
    profile=CURRENT,
)
broken_by(
    "iothreads_on_vcpus",
    *("IOT-ISOLATED", "PIN-LIVE"),
    does="IOThreads are pinned to the pCPUs of vCPUs although the emulator is isolated.",
    run="[isolate-io]",
    bug="kubevirt#3103",
)
broken_by(
    "parity_cpu_missing",
    *("EMU-PARITY", "RUN-STARTED", "CPU-COUNT", "EMU-ISOLATED"),
    does="The launcher pod asks for one CPU less than makes the sum even.",
    run="[even-parity]",
    profile=CURRENT,
    bug="kubevirt#10593",
)
broken_by(
    "cells_swapped",
    *("NUMA-MEMORY", "NUMA-PAGES"),
    does="The memory of each NUMA cell is bound to the node of the next one.",
    run="[numa]",
    profile=CURRENT,
)
broken_by(
    "small_pages",
    "NUMA-PAGES",
    does="The guest's memory is on ordinary pages.",
    run="[numa]",
    profile=CURRENT,
)
broken_by(
    "realtime_forgotten",
    "RT-SCHED",
    does="virt-handler schedules no vCPU in real time.",
    run="[realtime]",
    profile=CURRENT,
)
broken_by(
    "realtime_mask_ignored",
    "RT-SCHED",
    does="virt-handler schedules every vCPU in real time, whatever the mask.",
    run="[realtime]",
    profile=CURRENT,
)
broken_by(
    "class_not_copied",
    "QOS-VMI",
    does="virt-controller writes a class into the VMI's status that its pod does not have.",
    run="[limits-2]",
    profile=CURRENT,
)
broken_by(
    "hint_missing",
    "PIN-HINT",
    does="The launcher gives the guest no hint.",
    run="[limits-2]",
    profile=CURRENT,
)
broken_by(
    "pool_on_vcpus",
    *("IOT-POOL", "PIN-LIVE"),
    does="IOThreads of a supplemental pool are pinned to the pCPUs of vCPUs.",
    run="[io-pool]",
    profile=CURRENT,
)
broken_by(
    "iothreads_on_first_cpu",
    "IOT-SPREAD",
    does="Every IOThread is pinned to the first pCPU.",
    run="[io-own]",
    profile=CURRENT,
)
broken_by(
    "disks_share_iothreads",
    "IOT-DISKS",
    does="Disks with an IOThread of their own share it with others.",
    run="[io-own]",
    profile=CURRENT,
)
broken_by(
    "guest_topology_flat",
    *("GUEST-TOPOLOGY", "SMT-SIBLINGS"),
    does="The guest sees sockets instead of cores and threads.",
    run="[smt-1x2x2]",
    bug="kubevirt#6159",
)
broken_by(
    "selector_missing",
    "NODE-SELECT",
    does="Launcher pods do not select the label.",
    run="[limits-2]",
)
broken_by(
    "label_missing",
    *("NODE-LABEL", "NODE-SELECT"),
    does="The labels of the CPU manager are never written.",
    run="[cores-2]",
)

_STORIES = (
    (
        "shared_pool_not_updated",
        "LIFE-SHARED",
        "shared-beside-dedicated",
        "CPU-EXCLUSIVE CPU-POOL",
        "Running containers keep the CPUs that others are given.",
    ),
    (
        "entry_leaked",
        "LIFE-ABORTED",
        "deleted-while-starting",
        "CPU-POOL",
        "The checkpoint keeps the entries of VMIs that were deleted while they started.",
    ),
    (
        "overlapping_sets",
        "LIFE-CHURN",
        "coming-and-going",
        "CPU-EXCLUSIVE CPU-POOL CPU-RESERVED",
        "The CPU manager forgets what it gave away before.",
    ),
    (
        "assignment_lost_with_container",
        "LIFE-RESTART",
        "container-restart",
        "CPU-EXCLUSIVE CPU-COUNT CPU-POOL CPU-QUOTA PIN-XML PIN-THREADS",
        "A restarted container has lost its exclusive CPUs.",
    ),
    (
        "assignment_lost_on_restart",
        "LIFE-KUBELET",
        "kubelet-restart",
        "CPU-EXCLUSIVE CPU-COUNT CPU-POOL",
        "A restarted kubelet forgets what it gave away.",
    ),
    (
        "nodes_overcommitted",
        "LIFE-PENDING",
        "node-full",
        "RUN-STARTED LIFE-REUSED CPU-EXCLUSIVE",
        "The scheduler does not count CPUs.",
    ),
    (
        "waiting_forgotten",
        "LIFE-PENDING",
        "node-full",
        "RUN-STARTED LIFE-REUSED",
        "The scheduler tries no pod again that it has found no node for.",
    ),
    (
        "sidecars_not_counted",
        "SIDE-CAPACITY",
        "sidecar-edge",
        "RUN-STARTED",
        "The scheduler counts the compute container alone.",
    ),
    (
        "label_always_true",
        "NODE-GATE",
        "gate-off",
        "NODE-LABEL NODE-MANUAL",
        "Nodes are labelled whatever the feature gate and the policy are.",
    ),
    (
        "sidecar_gate_ignored",
        "SIDE-GATE",
        "sidecar-gate",
        "",
        "Hook sidecars run whether their gate is on or off.",
    ),
    (
        "selector_missing",
        "NODE-ONLY",
        "labelled-only",
        "NODE-SELECT RUN-STARTED CPU-COUNT CPU-EXCLUSIVE CPU-QUOTA",
        "Dedicated VMIs go to nodes without the label.",
    ),
)
for _fault, _requirement, _scenario, _also, _does in _STORIES:
    broken_by(_fault, _requirement, *_also.split(), does=_does, run=f"[{_scenario}]")

broken_by(
    "label_always_true",
    *("NODE-UNLABEL", "NODE-LABEL", *_NOT_GIVEN),
    does="The label outlives the static policy.",
    run="[cpu-manager-stops]",
)
broken_by(
    "entry_leaked",
    *("LIFE-REUSED", "LIFE-PENDING", "CPU-POOL", "RUN-STARTED"),
    does="The CPUs of the VMI that has gone are not given again.",
    run="[node-full]",
)
broken_by(
    "manual_label_undone",
    *("NODE-MANUAL", "NODE-LABEL"),
    does="A label that an administrator put is removed.",
    run="[gate-off]",
    profile=V1ALPHA2,
)
