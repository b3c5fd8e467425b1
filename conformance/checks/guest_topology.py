"""What the guest itself sees of its CPUs."""

from __future__ import annotations

from conformance.checks.comparison import Comparison
from conformance.checks.registry import Loop, admitted_vmi, check
from conformance.checks.witnesses import guest
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING

_SOURCE = "the guest's console"


@check(
    "GUEST-VCPUS",
    moment=RUNNING,
    applies=admitted_vmi,
    settles=Loop.ARRIVAL,
    look="Look at <vcpu> and <vcpus> of the domain, and at the guest's console.",
)
def guest_sees_its_vcpus(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """The guest's online CPUs are as many as the VMI's vCPUs."""
    online = guest(snapshot).topology.online
    seen.saw("online CPUs of the guest", online, f"{_SOURCE}, online")
    seen.saw("vCPUs asked for", expectation.vcpus, "the VMI's spec")
    if len(online) != expectation.vcpus:
        seen.wrong(f"the guest sees {len(online)} CPUs ({online}) instead of {expectation.vcpus}")
    return f"the guest sees {len(online)} CPUs"


@check(
    "GUEST-TOPOLOGY",
    moment=RUNNING,
    applies=admitted_vmi,
    settles=Loop.ARRIVAL,
    look="Compare <cpu><topology> of the domain with lscpu in the guest.",
)
def guest_sees_its_topology(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """Sockets, cores and threads are those of the spec, and every sibling list agrees."""
    report = guest(snapshot)
    cpus = report.topology
    wanted = (expectation.sockets, expectation.cores, expectation.threads)
    said = (report.sockets, report.cores_per_socket, report.threads_per_core)
    # By siblings: the ids of cores are unique within a die only.
    cores = len(cpus.cores)
    sockets = len(cpus.sockets)
    counted = (sockets, cores / max(sockets, 1), len(cpus.online) / max(cores, 1))
    seen.saw("topology asked for", _shape(wanted), "the VMI's spec")
    seen.saw("topology in the guest", _shape(said), f"{_SOURCE}, sockets and the like")
    seen.saw("topology by its CPUs", _shape(counted), f"{_SOURCE}, cpus")
    if said != wanted:
        seen.wrong(f"the guest sees {_shape(said)} instead of {_shape(wanted)}")
    if counted != wanted:
        seen.wrong(f"the guest's CPUs make {_shape(counted)} instead of {_shape(wanted)}")
    for cpu in cpus.cpus:
        mates = CpuSet(other.id for other in cpus.cpus if other.siblings == cpu.siblings)
        if cpu.siblings != mates:
            seen.wrong(
                f"CPU {cpu.id} of the guest has siblings {cpu.siblings}, and only {mates} say so"
            )
        places = {(each.socket, each.core) for each in cpus.cpus if each.id in cpu.siblings}
        if len(places) > 1:
            seen.wrong(
                f"siblings {cpu.siblings} of the guest are on {len(places)} cores by their ids"
            )
    return f"the guest sees {_shape(said)}, and its siblings agree"


def _shape(numbers: tuple[float, float, float]) -> str:
    sockets, cores, threads = numbers
    return f"{sockets:g} sockets x {cores:g} cores x {threads:g} threads"
