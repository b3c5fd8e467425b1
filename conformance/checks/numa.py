"""Whether a guest that is told of NUMA nodes is told the truth."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import Loop, check, dedicated_vmi
from conformance.checks.witnesses import guest, live, topology
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING


def _mapped(expectation: Expectation) -> bool:
    return dedicated_vmi(expectation) and expectation.numa_passthrough


@check(
    "NUMA-MAPPED",
    moment=RUNNING,
    applies=_mapped,
    settles=Loop.ARRIVAL,
    look="Compare <numa> of the domain, vcpupin and /sys/devices/system/node of guest and node.",
)
def guest_nodes_mirror_the_hosts(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """vCPUs share a NUMA node of the guest exactly when their pCPUs share one of the host."""
    pins, host, inside = live(snapshot).vcpu_pins, topology(snapshot), guest(snapshot).topology
    node_of = {cpu.id: cpu.node for cpu in host.cpus}
    under: dict[int, set[int]] = {}
    if unpinned := inside.online - pins.keys():
        raise Unobserved(f"libvirt names no pin of vCPU {CpuSet(unpinned)}")
    for vcpu, cpus in pins.items():
        if unknown := cpus - node_of.keys():
            raise Unobserved(f"vCPU {vcpu} is pinned to {unknown}, which the node does not show")
        places = {node_of[cpu] for cpu in cpus}
        if len(places) != 1:
            seen.saw(f"vCPU {vcpu}", cpus, "vcpupin")
            seen.wrong(f"vCPU {vcpu} may run on {cpus}, on {len(places)} NUMA nodes of the host")
            continue
        under.setdefault(places.pop(), set()).add(vcpu)
    told: dict[int, set[int]] = {}
    for cpu in inside.cpus:
        told.setdefault(cpu.node, set()).add(cpu.id)
    for node, vcpus in sorted(under.items()):
        source = "vcpupin, and /sys/devices/system/node of the node"
        seen.saw(f"vCPUs on node {node} of the host", CpuSet(vcpus), source)
    for node, vcpus in sorted(told.items()):
        seen.saw(f"vCPUs on node {node} of the guest", CpuSet(vcpus), "the guest's console")
    host_groups = {frozenset(group) for group in under.values()}
    guest_groups = {frozenset(group) for group in told.values()}
    if host_groups != guest_groups:
        seen.wrong(
            f"the guest's NUMA nodes hold vCPUs {_shown(guest_groups)}, and those of the host "
            f"hold {_shown(host_groups)}"
        )
    return f"the guest's {len(told)} NUMA nodes are those of its pCPUs"


def _shown(groups: set[frozenset[int]]) -> str:
    return " and ".join(str(CpuSet(group)) for group in sorted(groups, key=sorted))
