"""Whoever runs below kubepods without the API's knowledge: sandboxes, and those who may not.

A pod's sandbox is a container of the runtime's own, which the API does not show and to which
the kubelet gives no cpuset. Mostly it runs ``pause``; where it runs something else, it is the
same in most pods of the node.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from conformance.checks.witnesses import CGROUPS
from conformance.model.evidence import Checkpoint, Pod, Snapshot, Unlisted

_IDLE = frozenset({"pause", "catatonit"})
"""Programs of a sandbox: they have one thread, which sleeps for good."""
_PLUMBING = _IDLE | {"conmon", "conmonrs", "containerd-shim"}
"""Processes with which a runtime holds a pod or a container; a name has 15 characters."""


def strangers(snapshot: Snapshot) -> tuple[Unlisted, ...]:
    """Those that the API does not show, without what a runtime holds its pods with."""
    return snapshot.around.once(_strangers)


def _strangers(
    pods: tuple[Pod, ...], _state: Checkpoint | None, unlisted: tuple[Unlisted, ...]
) -> tuple[Unlisted, ...]:
    others = [each for each in unlisted if not _plumbing(each)]
    held = {each.pod_uid for each in unlisted if _plumbing(each) and _names(each) & _IDLE}
    sandboxes = _sandboxes(pods, others, held) if others else set()
    return tuple(each for each in others if each.cgroup not in sandboxes)


def _names(each: Unlisted) -> set[str]:
    return {thread.name for thread in each.processes}


def _plumbing(each: Unlisted) -> bool:
    names = _names(each)
    alone = len(each.processes) == len(each.threads)
    return bool(names) and names <= _PLUMBING and (alone or not names & _IDLE)


def _sandboxes(pods: tuple[Pod, ...], others: list[Unlisted], held: set[str]) -> set[str]:
    """Cgroups of sandboxes that run another program: the same in most pods, once in each.

    A pod has one sandbox, the first of all that runs there. Of those that are held by an idle
    program already nobody else is one, and whom the kubelet gave a cpuset was a container.
    """
    running = {
        uid
        for pod in pods
        if any(each.cgroup for each in pod.containers)
        for uid in (pod.uid, pod.static_uid)
        if uid
    }
    by_pod: dict[str, list[Unlisted]] = defaultdict(list)
    for each in others:
        if each.container_id and each.processes and not each.configured:
            by_pod[each.pod_uid].append(each)
    common = Counter(
        name for uid, found in by_pod.items() if uid in running for name in set(map(_first, found))
    )
    usual = {name for name, times in common.items() if times > 1 and 2 * times > _pods(pods)}
    candidates = [
        sorted((each for each in found if _first(each) in usual), key=_began)
        for uid, found in by_pod.items()
        if uid not in held
    ]
    oldest = Counter(_first(found[0]) for found in candidates if found)
    program = max(oldest, key=lambda name: oldest[name], default=None)
    return {
        next(each.cgroup for each in found if _first(each) == program)
        for found in candidates
        if any(_first(each) == program for each in found)
    }


def _first(each: Unlisted) -> str:
    """The program of its first process."""
    return each.processes[0].name


def _began(each: Unlisted) -> int:
    """Ids of processes grow, but for where they begin anew: most pods of a node tell."""
    return each.processes[0].pid


def _pods(pods: tuple[Pod, ...]) -> int:
    return sum(any(each.cgroup for each in pod.containers) for pod in pods)


def called(each: Unlisted) -> str:
    """How it is called in a finding: processes, container, pod, cgroup."""
    names = [f"{thread.name} ({thread.pid})" for thread in each.processes or each.threads]
    more = ", ..." if len(names) > 5 else ""
    container = f"container {each.container_id} of " if each.container_id else ""
    pod = f"pod {each.pod_uid}" if each.pod_uid else "no pod"
    return f"{', '.join(names[:5])}{more} of {container}{pod} ({CGROUPS}{each.cgroup})"
