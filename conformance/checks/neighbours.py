"""VMIs beside each other, coming and going: nobody is ever where somebody else is alone."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import Loop, told
from conformance.checks.storytelling import (
    all_at,
    apart,
    nodes_at,
    owned,
    owning_cgroups,
    reach,
    running,
)
from conformance.checks.witnesses import checkpoint, in_use
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot, Story


@told(
    "LIFE-SHARED",
    "shared-beside-dedicated",
    settles=Loop.RECONCILE,
    look="Look at the kubelet's log of reconciling, and at the cpusets of the shared containers.",
)
def shared_make_room(story: Story, seen: Comparison) -> str:
    """A shared VMI leaves the pCPUs of a dedicated one, never enters them, and has them back."""
    own = owned(running(story, "beside", "owner", seen), seen)
    if not own:
        seen.wrong("the dedicated VMI got no exclusive CPUs", final=True)
        return ""
    early = reach(running(story, "alone", "early", seen), seen)
    if not own <= early:
        raise Unobserved(f"early had only {early} before: it need not make room for {own}")
    for moment in ("beside", "joined"):
        cpus = reach(running(story, moment, "early", seen), seen)
        if cpus & own:
            seen.wrong(
                f"early may run on pCPU {cpus & own} of the dedicated VMI ({own}) at the moment "
                f"“{moment}”"
            )
    for each in all_at(story, "joined"):
        # It never had them, so that there is nothing to wait for.
        if each.subject == "late" and not each.torn and reach(each, seen) & own:
            words = f"late came to run on {own} of the dedicated VMI ({each.began})"
            seen.wrong(words, final=True)
    running(story, "joined", "late", seen)
    for subject in ("early", "late"):
        after = running(story, "after", subject, seen)
        given = CpuSet.union_of(checkpoint(after).entries.values())
        if missed := own - given - reach(after, seen):
            seen.wrong(f"{subject} does not have {missed} back after the dedicated VMI has gone")
    return f"{own} was the dedicated VMI's alone while it lived"


@told(
    "LIFE-CHURN",
    "coming-and-going",
    settles=Loop.REMOVAL,
    look="Look at the kubelet's log of allocations around the time of the sample.",
)
def nothing_is_owned_twice(story: Story, seen: Comparison) -> str:
    """In every sample all exclusive sets are apart, in the checkpoint and in the cgroups."""
    samples = [each for each in all_at(story, "sample") if each.node is not None]
    crowded = 0
    for sample in samples:
        state = checkpoint(sample)
        owners = {f"{name} of pod {uid}": cpus for (uid, name), cpus in in_use(sample).items()}
        crowded += len(owners) > 1
        apart(owners, f"{state.path} at {sample.began}", seen)
        shared = CpuSet.union_of(owners.values()) & state.default
        if shared:
            words = f"pCPU {shared} is owned and in the shared pool ({state.path})"
            seen.wrong(words, final=True)
        if not sample.torn:
            apart(owning_cgroups(sample), f"cgroups at {sample.began}", seen)
    seen.saw("samples", len(samples), "node snapshots while VMIs came and went")
    seen.saw("samples with several owners", crowded, "checkpoint entries")
    if not any(owning_cgroups(sample) for sample in samples if not sample.torn):
        seen.missing("of no owner a cpuset was read while nothing changed")
    if not crowded:
        raise Unobserved(f"in none of {len(samples)} samples two VMIs had CPUs at once")
    for node in nodes_at(story, "after"):
        _nobody_is_left(node, seen)
    return f"in {len(samples)} samples no pCPU had two owners"


@told(
    "LIFE-ABORTED",
    "deleted-while-starting",
    settles=Loop.REMOVAL,
    look="Look at the kubelet's log of the pod's termination and at its checkpoint.",
)
def nothing_leaks(story: Story, seen: Comparison) -> str:
    """VMIs that were deleted before they ran left no assignment and no cgroup."""
    aborted = all_at(story, "aborted")
    early = [each for each in aborted if each.vmi is not None and each.vmi.phase != "Running"]
    for each in early:
        seen.saw(f"phase of {each.subject}", each.vmi.phase if each.vmi else "", "when deleted")
    if not early:
        raise Unobserved(f"of {len(aborted)} VMIs none was deleted before it ran")
    for node in nodes_at(story, "after"):
        _nobody_is_left(node, seen)
    return f"{len(early)} VMIs were deleted while they started, and nothing is left of them"


def _nobody_is_left(snapshot: Snapshot, seen: Comparison) -> None:
    """Every assignment and every cgroup belongs to a pod that is there."""
    state, present = checkpoint(snapshot), {pod.uid for pod in snapshot.pods}
    if "pods" in snapshot.not_observed:
        raise Unobserved(snapshot.not_observed["pods"])
    name = snapshot.node.name if snapshot.node else "the node"
    seen.saw("shared pool", state.default, f"{state.path} defaultCpuSet, node {name}")
    for (uid, container), cpus in sorted(state.entries.items()):
        seen.saw(f"exclusive CPUs of {container}", cpus, f"{state.path} entries.{uid}")
        if uid not in present:
            seen.wrong(f"{state.path} on {name} still gives {cpus} to pod {uid}, which has gone")
    for path in snapshot.leftovers:
        seen.wrong(f"{path} on {name} belongs to no pod that is there")
