"""Hardware threads: what the guest takes for siblings are siblings of the host."""

from __future__ import annotations

from datetime import datetime

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import check, dedicated_vmi
from conformance.checks.reservation import reserved_number, unconfigured
from conformance.checks.watched_checkpoint import pool_before
from conformance.checks.witnesses import (
    checkpoint,
    compute,
    compute_cpuset,
    guest,
    launcher,
    live,
    node,
    topology,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Checkpoint, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.topology import Topology
from conformance.model.vocabulary import RUNNING


@check(
    "SMT-SIBLINGS",
    moment=RUNNING,
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
    wanted = min(len(pairs), len(owned) // host.threads_per_core)
    if len(whole) < wanted and host.uniform:
        _none_was_free(snapshot, owned, wanted, seen)
    required = min(len(pairs), len(whole))
    if not required:
        raise NotApplicable(f"the allocation {owned} holds no whole host core to sit on")
    seated = []
    if unpinned := CpuSet.union_of(pairs) - pins.vcpu_pins.keys():
        raise Unobserved(f"libvirt names no pin of vCPU {unpinned} ({pins.source})")
    for pair in pairs:
        cpus = CpuSet.union_of(pins.vcpu_pins.get(vcpu, CpuSet()) for vcpu in pair)
        cores = CpuSet.union_of(host.by_id[cpu].siblings for cpu in cpus if cpu in host.by_id)
        seen.saw(f"guest siblings {pair} on pCPUs", cpus, f"guest's console, {pins.source}")
        seen.saw(f"host siblings of {cpus}", cores, "host thread_siblings_list")
        # A core of four threads holds two pairs.
        if len(cpus) >= len(pair) and any(cpus <= core for core in host.cores):
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


_SPREAD = (
    "distribute-cpus-across-cores",
    "distribute-cpus-across-numa",
    "prefer-align-cpus-by-uncorecache",
)
"""Policy options under which something else may be preferred to whole cores."""
_FRESH_SECONDS = 3600
"""How long ago a container may have started for the shared pool of now to tell what was free:
others come and go."""


def _none_was_free(snapshot: Snapshot, owned: CpuSet, wanted: int, seen: Comparison) -> None:
    """Objects when the node gave single threads although it had whole cores to give.

    The static policy takes whole cores first (kubernetes
    pkg/kubelet/cm/cpumanager/cpu_assignment.go, takeFullCores). What was free then is what a
    watcher saw in the shared pool just before; where none did, it is what is there now and what
    the container has itself. What is reserved was never free.
    """
    found, state, host = node(snapshot), checkpoint(snapshot), topology(snapshot)
    kubelet = found.kubelet
    if kubelet is None:
        why = snapshot.not_observed.get("kubelet", "the kubelet's configuration was not read")
        raise Unobserved(f"whether the node had whole cores to give is not known: {why}")
    if any(map(kubelet.enables, _SPREAD)):
        return
    number = 0 if kubelet.reserved is not None else reserved_number(found)[0]
    if number is None:
        raise Unobserved("whether the node had whole cores to give is not known: what is reserved?")
    reserved = kubelet.reserved or CpuSet()
    pool = pool_before(snapshot, launcher(snapshot).uid, compute(snapshot).name)
    if pool is not None:
        free, where = pool[0] - reserved, f"{pool[1]}, just before"
    else:
        free, where = state.default - reserved | owned, state.path
    if kubelet.topology_policy not in (None, "none"):
        # Then only the NUMA nodes that it was given CPUs of are known to have been asked.
        nodes = {cpu.node for cpu in host.cpus if cpu.id in owned}
        free = free & CpuSet(cpu.id for cpu in host.cpus if cpu.node in nodes)
    whole, cores = len(host.whole_cores(owned)), host.whole_cores(free)
    # CPUs that are reserved by number are some of the pool, each on a core of its own at worst.
    possible = min(wanted, len(cores) - number)
    told = " and ".join(str(core) for core in sorted(cores, key=min))
    seen.saw("free cores", told, where)
    if whole >= possible:
        return
    clause = f"compute was given {owned} with {whole} whole cores, although {told} were to be had"
    if pool is not None:
        clause += f", by {where}"
        doubt = unconfigured(kubelet)
    else:
        clause += f": its own, or free by the shared pool {state.default} of the same {where}"
        doubt = unconfigured(kubelet) or _since(snapshot) or _elsewhere(host, state, owned)
    if doubt:
        raise Unobserved(f"{clause}; but {doubt}")
    seen.wrong(clause)


def _elsewhere(host: Topology, state: Checkpoint, owned: CpuSet) -> str | None:
    """Why the whole cores may have been given back since, by somebody who left no trace.

    The other threads of the cores that compute has in part tell: where all of them are free, it
    could have been given whole ones. Where others have them, the node was crowded then.
    """
    partly = [core for core in host.cores if core & owned and not core <= owned]
    taken = CpuSet.union_of(partly) - owned - state.default
    if not taken:
        return None
    return (
        f"pCPU {taken}, the other threads of its cores, belong to others, so that the node was "
        "crowded then, and who has left since is not known"
    )


def _since(snapshot: Snapshot) -> str | None:
    """Why the pool may have been another one when compute started; None when nothing says so."""
    started = compute(snapshot).started
    for each in snapshot.given_back:
        if not started or _seconds(started, each.partition(" ")[0]) >= 0:
            return f"another VMI of the run has given CPUs back since then ({each})"
    for pod in snapshot.pods:
        if pod.leaving:
            return f"pod {pod.name} is going, and what it had when compute started is not known"
        for container in pod.containers:
            late = started and container.ended and container.ended > started
            if late and container.role != "init":
                return f"container {container.name} of pod {pod.name} has ended since then"
    if started and _seconds(started, snapshot.began) > _FRESH_SECONDS:
        return f"compute runs since {started}, and others may have come and gone"
    return None


def _seconds(since: str, until: str) -> float:
    try:
        begin, end = (datetime.fromisoformat(each) for each in (since, until))
        return (end - begin).total_seconds()
    except (ValueError, TypeError):
        return 0.0
