"""Whether a guest that is told of NUMA nodes is told the truth, and where its memory is."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import Loop, check, dedicated_vmi
from conformance.checks.threads import refuse_swept, threads
from conformance.checks.witnesses import compute, domain, guest, live, silent, topology
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


@check(
    "NUMA-MEMORY",
    moment=RUNNING,
    applies=_mapped,
    look="Compare <cell> and <memnode> of the domain with <vcpupin> and "
    "/sys/devices/system/node/node*/cpulist.",
)
def memory_is_bound_where_the_vcpus_are(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """Each cell's memory is bound to the host's node of its vCPUs, and all of it is the guest's."""
    xml, host = domain(snapshot), topology(snapshot)
    node_of = {cpu.id: cpu.node for cpu in host.cpus}
    source = f"domain XML, {xml.source}"
    if not xml.numa_cells:
        raise Unobserved(f"the domain has no NUMA cell ({xml.source})")
    for cell, vcpus in sorted(xml.numa_cells.items()):
        pinned = CpuSet.union_of(xml.vcpu_pins.get(vcpu, CpuSet()) for vcpu in vcpus)
        if not pinned or not pinned <= node_of.keys():
            seen.missing(f"vCPUs {vcpus} of cell {cell} are pinned to {pinned or 'nothing'} known")
            continue
        under = CpuSet(node_of[cpu] for cpu in pinned)
        bound = xml.memory_nodes.get(cell)
        seen.saw(f"host nodes under the vCPUs of cell {cell}", under, f"<vcpupin>, {source}")
        seen.saw(
            f"host nodes of the memory of cell {cell}", bound or "none", f"<memnode>, {source}"
        )
        if not bound:
            seen.wrong(f"the memory of cell {cell} is bound to no NUMA node of the host ({source})")
        elif bound != under:
            seen.wrong(
                f"the memory of cell {cell} is bound to node {bound} of the host, and its vCPUs "
                f"{vcpus} are pinned to node {under} ({source})"
            )
    total = sum(xml.numa_memory.values())
    if expectation.memory is not None:
        seen.saw("memory of all cells", total, f"<cell memory>, {source}")
        if total != expectation.memory:
            seen.wrong(
                f"the cells have {total} bytes of memory together, and the VMI asks for "
                f"{expectation.memory} ({source})"
            )
    return f"the memory of {len(xml.numa_cells)} cells is bound where their vCPUs are"


@check(
    "NUMA-PAGES",
    moment=RUNNING,
    applies=_mapped,
    look="Look at /proc/PID/numa_maps of QEMU, and at nr_hugepages of each node.",
)
def memory_is_where_the_vcpus_are(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """The kernel has all of the guest's memory on pages as asked for, on the nodes of its vCPUs."""
    container, found, host = compute(snapshot), threads(snapshot), topology(snapshot)
    refuse_swept(found, snapshot, expectation)
    if container.huge is None:
        raise silent(snapshot, "memory", default="no numa_maps of QEMU was read")
    if not found.vcpus:
        raise Unobserved("no vCPU thread was seen, so that nothing says where the vCPUs are")
    if expectation.memory is None or expectation.page is None:
        raise Unobserved("it is not known how much memory the guest has, and on which pages")
    places = CpuSet.union_of(thread.affinity for thread in found.vcpus.values())
    nodes = CpuSet(cpu.node for cpu in host.cpus if cpu.id in places)
    source = "/proc/PID/numa_maps of QEMU"
    seen.saw("nodes of the vCPUs", nodes, "affinities of the threads, /sys/devices/system/node")
    amounts: dict[int, int] = {}
    for (node, page), amount in sorted(container.huge.items()):
        seen.saw(f"pages of {page} bytes on node {node}", amount, source)
        if page == expectation.page:
            amounts[node] = amounts.get(node, 0) + amount
    if (total := sum(amounts.values())) < expectation.memory:
        seen.wrong(
            f"{total} bytes are on pages of {expectation.page} bytes, and the guest has "
            f"{expectation.memory} ({source})"
        )
    if elsewhere := CpuSet(amounts) - nodes:
        seen.wrong(
            f"memory of the guest is on node {elsewhere} of the host, and its vCPUs run on node "
            f"{nodes} ({source})"
        )
    elif amounts and (bare := nodes - CpuSet(amounts)):
        seen.wrong(
            f"vCPUs run on node {bare} of the host, where no memory of the guest is ({source})"
        )
    return f"{total} bytes on pages of {expectation.page} bytes are on node {nodes}, as the vCPUs"
