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
    sandboxes = _sandboxes(pods, others) if others else set()
    return tuple(each for each in others if each.cgroup not in sandboxes)


def _plumbing(each: Unlisted) -> bool:
    names = {thread.name for thread in each.processes}
    alone = len(each.processes) == len(each.threads)
    return bool(names) and names <= _PLUMBING and (alone or not names & _IDLE)


def _sandboxes(pods: tuple[Pod, ...], others: list[Unlisted]) -> set[str]:
    """Cgroups of sandboxes that run another program: the same in most pods, once in each."""
    running = {
        uid
        for pod in pods
        if any(each.cgroup for each in pod.containers)
        for uid in (pod.uid, pod.static_uid)
        if uid
    }
    by_pod: dict[tuple[str, str], list[Unlisted]] = defaultdict(list)
    for each in others:
        if each.container_id and each.processes:
            by_pod[each.pod_uid, each.processes[0].name].append(each)
    common = Counter(name for uid, name in by_pod if uid in running)
    usual = {name for name, times in common.items() if times > 1 and 2 * times > _pods(pods)}
    return {
        min(found, key=lambda each: (bool(each.configured), each.processes[0].pid)).cgroup
        for (_uid, name), found in by_pod.items()
        if name in usual
    }


def _pods(pods: tuple[Pod, ...]) -> int:
    return sum(any(each.cgroup for each in pod.containers) for pod in pods)


def called(each: Unlisted) -> str:
    """How it is called in a finding: processes, container, pod, cgroup."""
    names = [f"{thread.name} ({thread.pid})" for thread in each.processes or each.threads]
    more = ", ..." if len(names) > 5 else ""
    container = f"container {each.container_id} of " if each.container_id else ""
    pod = f"pod {each.pod_uid}" if each.pod_uid else "no pod"
    return f"{', '.join(names[:5])}{more} of {container}{pod} ({CGROUPS}{each.cgroup})"
