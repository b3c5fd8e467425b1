"""The shared pool: everybody without exclusive CPUs lives on what is left."""

from __future__ import annotations

from conformance.checks.allocators import allocator, claimed
from conformance.checks.comparison import Comparison, NotApplicable
from conformance.checks.node_labels import require_labelled
from conformance.checks.registry import Loop, admitted, check
from conformance.checks.reservation import STRICT, reserved_number, unconfigured
from conformance.checks.witnesses import (
    CGROUPS,
    awaited,
    checkpoint,
    cpuset_source,
    held,
    incomplete,
    node,
    sharers,
    title,
    topology,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Checkpoint, Container, Pod, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING


@check(
    "CPU-POOL",
    moment=RUNNING,
    applies=admitted,
    # The kubelet moves running containers when it reconciles, every ten seconds.
    settles=Loop.RECONCILE,
    whole_nodes=True,
    node_alone=True,
    look="Look at defaultCpuSet in the kubelet's checkpoint and at its log of reconciling.",
)
def pool_holds_what_is_left(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """Pool and entries divide the online CPUs; nobody else leaves the pool."""
    require_labelled(snapshot, expectation)
    state = checkpoint(snapshot)
    if state.policy != "static":
        raise NotApplicable(f"{state.path} says policy {state.policy}: there is no shared pool")
    kept = _kept_out(snapshot, state)
    _divides(snapshot, state, kept, seen)
    number = _confined(snapshot, state, kept, seen)
    if not number:
        seen.missing("no container without exclusive CPUs was seen on the node")
    for remark in state.remarks:
        seen.note(remark)
    for why in incomplete(snapshot):
        seen.missing(f"there may be containers that were not seen: {why}")
    return f"{number} containers without exclusive CPUs live within the shared pool {state.default}"


def _divides(snapshot: Snapshot, state: Checkpoint, kept: CpuSet, seen: Comparison) -> None:
    online, given = topology(snapshot).online, state.given
    pool = f"{state.path} defaultCpuSet"
    seen.saw("shared pool", state.default, pool)
    seen.saw("all exclusive CPUs", given, f"{state.path} entries")
    seen.saw("online CPUs", online, "/sys/devices/system/cpu/online")
    if state.default & given:
        seen.wrong(f"pCPU {state.default & given} is in the shared pool ({pool}) and given away")
    lost = online - state.default - given - kept
    if lost and _came_later(snapshot, online - lost):
        seen.note(
            f"pCPU {lost} is online and unknown to the kubelet, which reads them when it starts: "
            f"node {node(snapshot).name} has no more than {len(online - lost)} CPUs in its capacity"
        )
    elif lost:
        seen.wrong(
            f"online pCPU {lost} is neither in the shared pool {state.default} nor given to "
            f"anybody ({given}): it has leaked ({state.path})",
            # A strict kubelet keeps the reserved CPUs out.
            doubt=unconfigured(node(snapshot).kubelet),
        )
    strange = (state.default | given) - online
    if strange:
        seen.wrong(f"pCPU {strange} is in {state.path} and not online ({online})")


def _came_later(snapshot: Snapshot, known: CpuSet) -> bool:
    """Whether the kubelet has told the API of just as many CPUs as it accounts for."""
    return node(snapshot).capacity_cpu_milli == len(known) * 1000


def _kept_out(snapshot: Snapshot, state: Checkpoint) -> CpuSet:
    """Reserved CPUs that a policy option keeps out of the pool: a set, or as many as a number."""
    found = node(snapshot)
    if found.kubelet is None or not found.kubelet.enables(STRICT):
        return CpuSet()
    if found.kubelet.reserved is not None:
        return found.kubelet.reserved
    outside = topology(snapshot).online - state.default - state.given
    number, _source = reserved_number(found)
    return outside if number is None or len(outside) <= number else CpuSet()


def _confined(snapshot: Snapshot, state: Checkpoint, kept: CpuSet, seen: Comparison) -> int:
    """Objects to whoever leaves the pool; the number of containers that live in it."""
    number = 0
    # A pCPU whose new owner has not started yet is being cleared, and disturbs nobody meanwhile.
    allowed = topology(snapshot).online - held(snapshot) - kept
    cleared = awaited(snapshot)
    free = allowed - cleared
    for cpus, others in sharers(snapshot).items():
        if cpus is not None and cpus <= free:
            number += len(others)
        else:
            number += sum(
                _stays_in(*each, allowed, cleared, state.default, allocator(snapshot), seen)
                for each in others
            )
    where = f"{CGROUPS}, cpuset.cpus.effective of each"
    seen.saw("containers without exclusive CPUs", number, where)
    return number


def _stays_in(  # noqa: PLR0917 - the sets of one look, in one place
    pod: Pod,
    container: Container,
    allowed: CpuSet,
    cleared: CpuSet,
    pool: CpuSet,
    elsewhere: str | None,
    seen: Comparison,
) -> bool:
    """Whether its cpuset was seen; objects when that leaves the pool."""
    name = title(pod, container)
    if container.cpuset is None:
        seen.missing(f"the cpuset of {name} was not read")
        return False
    if not container.cpuset <= allowed:
        source = cpuset_source(container)
        seen.saw(f"cpuset of {container.name} of {pod.name}", container.cpuset, source)
        seen.wrong(
            f"{name} may run on {container.cpuset - allowed}, outside of the shared pool "
            f"{pool}: its cpuset is {container.cpuset} ({source})",
            doubt=claimed(pod) or elsewhere,
        )
    elif container.cpuset & cleared:
        seen.note(
            f"{name} may still run on {container.cpuset & cleared}, which the kubelet has given "
            "to somebody who has not started yet"
        )
    return True
