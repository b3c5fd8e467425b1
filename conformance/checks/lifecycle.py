"""What is left of a workload after it was deleted: nothing that has CPUs."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import Loop, admitted, check
from conformance.checks.witnesses import checkpoint
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Former, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import DELETED, ENDED


@check(
    "LIFE-RELEASED",
    moment=DELETED,
    applies=admitted,
    settles=Loop.REMOVAL,
    look="Look at the kubelet's log of the pod's termination and at its checkpoint.",
)
def nothing_is_left(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """No pod that runs, no cgroup, no checkpoint entry; its CPUs belong to the pool or to others.

    A pod that has ended has no CPUs (kubernetes pkg/api/v1/pod, IsPodTerminal: neither scheduler
    nor kubelet counts it), and its own cgroup goes with it: whoever still takes its volumes apart
    keeps nothing from anybody.
    """
    former = snapshot.former
    if former is None:
        raise Unobserved("nobody noted what the workload was before its deletion")
    name = f"{former.pod_namespace}/{former.pod_name}"
    for layer in ("pod", "pods", "cgroups"):
        if layer in snapshot.not_observed:
            seen.missing(f"{layer}: {snapshot.not_observed[layer]}")
    for why in snapshot.unreadable.items():
        if former.pod_uid in why[0] or former.pod_uid.replace("-", "_") in why[0]:
            seen.missing(": ".join(why))
    there = next((pod for pod in snapshot.pods if pod.uid == former.pod_uid), snapshot.pod)
    seen.saw("pod", there.phase or "present" if there else "none", f"API, pod {name}")
    ended = there is not None and there.phase in ENDED
    if there is not None and ended:
        seen.note(f"pod {name} has ended ({there.phase}) and is still taken apart")
    elif there is not None:
        seen.wrong(f"pod {name} is still there ({there.phase or 'without a phase'})")
    seen.saw("cgroups", ", ".join(snapshot.leftovers) or "none", f"cgroups of pod {former.pod_uid}")
    left = [path for path in snapshot.leftovers if not ended or _of_container(path, former)]
    if left:
        seen.wrong(f"cgroups of pod {name} are still there: {', '.join(left)}")
    _cpus_are_back(snapshot, former, seen)
    return f"nothing is left of pod {name}, and its CPUs {former.exclusive or '(none)'} are free"


def _of_container(path: str, former: Former) -> bool:
    return any(each in path for each in former.container_ids)


def _cpus_are_back(snapshot: Snapshot, former: Former, seen: Comparison) -> None:
    state = checkpoint(snapshot)
    own = {n: c for (uid, n), c in state.entries.items() if uid == former.pod_uid}
    others = CpuSet.union_of(
        (
            *(cpus for (uid, _name), cpus in state.entries.items() if uid != former.pod_uid),
            *state.pods.values(),
        )
    )
    source = f"{state.path} entries.{former.pod_uid}"
    seen.saw("checkpoint entries", ", ".join(f"{n} {c}" for n, c in own.items()) or "none", source)
    for name, cpus in own.items():
        seen.wrong(f"the checkpoint still gives {cpus} to {name} ({source})")
    if former.exclusive:
        try:
            had = CpuSet.parse(former.exclusive)
        except ValueError as error:
            raise Unobserved(f"what it had before is not known: {error}") from error
        lost = had - state.default - others
        seen.saw("its former CPUs", had, "checkpoint before the deletion")
        seen.saw("shared pool", state.default, f"{state.path} defaultCpuSet")
        if lost and not own:
            seen.wrong(
                f"pCPU {lost} has left the checkpoint: it is neither in the shared pool "
                f"{state.default} nor given to another container ({state.path})"
            )
