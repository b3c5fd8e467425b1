"""What must be as before when a container or a kubelet was restarted."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import Loop, told
from conformance.checks.storytelling import all_at, at, owned, require_done, running, runs
from conformance.checks.witnesses import checkpoint, compute, compute_cpuset, launcher
from conformance.model.evidence import Snapshot, Story

OWN = "own"


@told(
    "LIFE-RESTART",
    "container-restart",
    look="Look at the kubelet's log of the container's start and at its checkpoint.",
)
def container_has_its_cpus_again(story: Story, seen: Comparison) -> str:
    """Another container in the same pod, with the same exclusive CPUs in checkpoint and cpuset."""
    before = running(story, "before", OWN, seen)
    after = running(story, "after", OWN, seen)
    old, new = compute(before), compute(after)
    seen.saw("container before", old.id or "none", "pod .status.containerStatuses")
    seen.saw("container after", new.id or "none", f"restarted {new.restarts} times")
    if old.id == new.id or new.restarts <= old.restarts:
        raise Unobserved(f"container {old.id} was not restarted, so that nothing was shown")
    had = owned(before, seen)
    if not had:
        raise Unobserved("it had no exclusive CPUs before it was killed")
    _same_pod(before, after, seen)
    _same_cpus(before, after, seen)
    return f"the restarted container has {had} again, in checkpoint and cpuset"


@told(
    "LIFE-KUBELET",
    "kubelet-restart",
    "kubelet-restart-pods",
    look="Look at the kubelet's log of its start: what it read from cpu_manager_state.",
    settles=Loop.RECONCILE,
)
def kubelet_restart_changes_nothing(story: Story, seen: Comparison) -> str:
    """The same pods, containers, assignments, cpusets and shared pool.

    After the restart CPUs were given to another pod and taken back: the pool settles, nothing
    else may ever differ.
    """
    subjects = [each.subject for each in all_at(story, "before") if each.subject]
    if OWN not in subjects:
        raise Unobserved("nothing with exclusive CPUs was recorded before the restart")
    require_done(at(story, "after", OWN), "kubelet restarted", seen)
    for subject in dict.fromkeys(subjects):
        before, after = at(story, "before", subject), at(story, "after", subject)
        runs(after, seen)
        _same_pod(before, after, seen)
        ids = {each.name: (each.id, each.restarts) for each in launcher(before).containers}
        for container in launcher(after).containers:
            if container.role == "ephemeral":
                continue
            if ids.get(container.name) != (container.id, container.restarts):
                seen.wrong(f"container {container.name} of {subject} was started anew", final=True)
    had = owned(at(story, "before", OWN), seen)
    if not had:
        raise Unobserved("nobody had exclusive CPUs before the restart")
    _same_cpus(at(story, "before", OWN), at(story, "after", OWN), seen)
    pools = [checkpoint(at(story, moment, OWN)).default for moment in ("before", "after")]
    seen.saw("shared pool before", pools[0], "checkpoint, defaultCpuSet")
    seen.saw("shared pool after", pools[1], "checkpoint, defaultCpuSet")
    if pools[0] != pools[1]:
        seen.wrong(f"the shared pool was {pools[0]} before the restart and is {pools[1]} after it")
    return f"{len(set(subjects))} pods run on, and {OWN} has {had} as before"


def _same_pod(before: Snapshot, after: Snapshot, seen: Comparison) -> None:
    uids = launcher(before).uid, launcher(after).uid
    seen.saw(f"pod of {before.subject}", " then ".join(dict.fromkeys(uids)), ".metadata.uid")
    if uids[0] != uids[1]:
        seen.wrong(f"the pod of {before.subject} was {uids[0]} and is now {uids[1]}", final=True)


def _same_cpus(before: Snapshot, after: Snapshot, seen: Comparison) -> None:
    had, has = owned(before, seen), owned(after, seen)
    cpuset = compute_cpuset(after)
    seen.saw(f"cpuset of {after.subject}", cpuset, f"moment “{after.moment}”")
    if has != had:
        clause = f"{after.subject} had {had} by the checkpoint and has {has} after the restart"
        seen.wrong(clause, final=True)
    if cpuset != had:
        clause = f"{after.subject} had {had} and its cpuset is {cpuset} after the restart"
        seen.wrong(clause, final=True)
