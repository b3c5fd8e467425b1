"""Hardware threads: what the guest takes for siblings are siblings of the host."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable
from conformance.checks.registry import check, dedicated_vmi
from conformance.checks.witnesses import compute_cpuset, guest, live, topology
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation


@check(
    "SMT-SIBLINGS",
    moment="running",
    applies=lambda expectation: dedicated_vmi(expectation) and expectation.threads == 2,
    look="Compare lscpu of the guest and of the node through virsh vcpupin.",
)
def siblings_are_siblings(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """As many guest cores as possible sit on whole host cores.

    The allocation may hold fewer whole cores than the guest has: only as many are required.
    """
    host, pins, inside = topology(snapshot), live(snapshot), guest(snapshot).topology
    owned = compute_cpuset(snapshot)
    pairs = sorted((core for core in inside.cores if len(core) > 1), key=min)
    if host.threads_per_core == 1:
        seen.saw("threads of a host core", 1, "/sys/devices/system/cpu/*/topology")
        seen.wrong(
            "the guest has two threads a core, and the host has no SMT: no guest siblings can be "
            "siblings",
            known=True,
        )
        return ""
    if not pairs:
        seen.saw("guest siblings", "none", "the guest's console, siblings")
        seen.wrong("the guest sees no core with two threads, although the VMI asks for them")
        return ""
    whole = [core for core in host.whole_cores(owned) if len(core) > 1]
    required = min(len(pairs), len(whole))
    if not required:
        raise NotApplicable(f"the allocation {owned} holds no whole host core to sit on")
    seated = []
    for pair in pairs:
        cpus = CpuSet.union_of(pins.vcpu_pins.get(vcpu, CpuSet()) for vcpu in pair)
        cores = CpuSet.union_of(host.by_id[cpu].siblings for cpu in cpus if cpu in host.by_id)
        seen.saw(f"guest siblings {pair} on pCPUs", cpus, f"guest's console, {pins.source}")
        seen.saw(f"host siblings of {cpus}", cores, "host thread_siblings_list")
        if cpus in host.cores:
            seated.append(pair)
    if len(seated) < required:
        apart = "; ".join(
            f"{pair} on {CpuSet.union_of(pins.vcpu_pins.get(v, CpuSet()) for v in pair)}"
            for pair in pairs
            if pair not in seated
        )
        seen.wrong(
            f"only {len(seated)} of {required} pairs of guest siblings are host siblings, "
            f"although {owned} holds {len(whole)} whole cores: vCPUs {apart}"
        )
    return f"{len(seated)} of {len(pairs)} pairs of guest siblings are siblings of the host"
