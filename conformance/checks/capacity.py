"""Whether a node takes as much as it has room for: waiting, starting, giving again."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import told
from conformance.checks.starting import waits_for_room
from conformance.checks.storytelling import (
    at,
    free_milli,
    labelled,
    nodes_at,
    owned,
    phase,
    running,
    runs,
    waits_for_cpus,
)
from conformance.checks.witnesses import checkpoint, compute, launcher, node
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot, Story

SCHEDULED_LATER = "a later pod was scheduled"
"""What the story notes when it has seen the scheduler at work since CPUs were given back."""


@told(
    "LIFE-PENDING",
    "node-full",
    look="Look at the conditions of the VMI and of its pod, and at what the node has allocated.",
)
def waits_and_starts(story: Story, seen: Comparison) -> str:
    """The second VMI waits with a reason while the first runs, and runs once that has gone."""
    second = at(story, "full", "second")
    wanted = launcher(second).cpu_milli
    room = [
        _room_for(second, each, seen) for each in nodes_at(story, "full") if labelled(each, story)
    ]
    if not room or max(room) >= wanted:
        raise Unobserved(
            f"{max(room, default=0)}m were free, and it wants {wanted}m: no need to wait"
        )
    runs(at(story, "full", "first"), seen)
    waits_for_cpus(second, seen)
    freed = at(story, "freed", "second")
    _not_forgotten(freed, seen)
    runs(freed, seen)
    return "the second VMI waited for CPUs, and started when the first had given them back"


def _not_forgotten(freed: Snapshot, seen: Comparison) -> None:
    """Objects when a later pod was given a node since there is room, and this one was not.

    The scheduler tries in order of age; what it has put back it tries again whenever a pod goes
    (kubernetes pkg/scheduler/internal/queue).
    """
    witness = [words for words in freed.done if SCHEDULED_LATER in words]
    if phase(freed) != "Running" and witness and waits_for_room(freed):
        seen.saw("scheduled since", witness[-1], "the run's own record")
        seen.wrong(
            f"{freed.subject} still waits for a node, although CPUs were given back and "
            f"{witness[-1]}: {launcher(freed).reason or 'no reason is given'}"
        )


@told(
    "LIFE-REUSED",
    "node-full",
    look="Look at the kubelet's checkpoint: a CPU that is in no set has leaked.",
)
def freed_cpus_are_given_again(story: Story, seen: Comparison) -> str:
    """The first VMI's CPUs are in the pool or given again, and the second one has its own."""
    full = running(story, "full", "first", seen)
    freed = running(story, "freed", "second", seen)
    former = owned(full, seen)
    if node(full).name != node(freed).name:
        raise Unobserved(f"they ran on {node(full).name} and on {node(freed).name}")
    if not former:
        raise Unobserved("the first VMI had no exclusive CPUs to give back")
    state, own = checkpoint(freed), owned(freed, seen)
    gone, uid = launcher(full).uid, launcher(freed).uid
    kept = CpuSet.union_of(cpus for (pod, _), cpus in state.entries.items() if pod == gone)
    others = CpuSet.union_of(cpus for (pod, _), cpus in state.entries.items() if pod != uid)
    seen.saw("shared pool", state.default, f"{state.path} defaultCpuSet, moment “freed”")
    if kept:
        seen.wrong(f"the checkpoint still gives {kept} to the pod of the deleted first VMI")
    if lost := former - state.default - own - others:
        seen.wrong(f"pCPU {lost} of the first VMI is neither in the shared pool nor given again")
    if not own:
        seen.wrong("the second VMI got no exclusive CPUs")
    if own & (others | state.default):
        seen.wrong(f"pCPU {own & (others | state.default)} of the second VMI is not its alone")
    return f"{former} was given back; the second VMI owns {own}"


@told(
    "SIDE-CAPACITY",
    "sidecar-edge",
    look="Add up the requests of all containers of the pod, and compare kubectl describe node.",
)
def sidecar_decides(story: Story, seen: Comparison) -> str:
    """It waits where only compute has room, and runs where all of it has, exactly."""
    measure = at(story, "measured", "measure")
    measured = launcher(measure)
    cost, alone = measured.cpu_milli, compute(measure).requests.cpu_milli
    seen.saw("cost of the pod", f"{cost}m", f"pod {measured.name}, requests of all containers")
    seen.saw("cost of compute", f"{alone}m", f"pod {measured.name}, requests of compute")
    if alone is None or not alone < cost:
        seen.wrong(f"the pod costs {cost}m and compute {alone}m: its sidecar is not counted")
        return ""
    edge = at(story, "short", "edge")
    room = [
        _room_for(edge, each, seen) for each in nodes_at(story, "short") if labelled(each, story)
    ]
    if not room or not alone <= max(room) < cost:
        raise Unobserved(f"{max(room, default=0)}m were free, not between {alone}m and {cost}m")
    waits_for_cpus(edge, seen)
    runs(at(story, "exact", "edge"), seen)
    left = [free_milli(each, seen) for each in nodes_at(story, "exact")]
    if min(left) != 0:
        seen.missing(f"{min(left)}m were left when it ran: that was not the edge")
    return f"with {max(room)}m free a VMI of {cost}m waited; with {cost}m it ran"


def _room_for(subject: Snapshot, place: Snapshot, seen: Comparison) -> int:
    """CPU that was free on a node for a VMI which may have taken it already."""
    uid = subject.pod.uid if subject.pod else ""
    own = sum(pod.cpu_milli for pod in place.pods if pod.uid == uid)
    return free_milli(place, seen) + own
