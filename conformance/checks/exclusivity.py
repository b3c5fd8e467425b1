"""Whether the compute container owns its pCPUs, alone."""

from __future__ import annotations

from conformance.checks.allocators import allocator, untold
from conformance.checks.comparison import Comparison
from conformance.checks.registry import Loop, check, dedicated
from conformance.checks.strangers import called, strangers
from conformance.checks.watched import nobody_came, saw_first_cpuset
from conformance.checks.watched_checkpoint import checkpoint_stayed
from conformance.checks.witnesses import (
    CGROUPS,
    checkpoint,
    compute,
    cpuset_source,
    entry,
    in_use,
    incomplete,
    launcher,
    neighbours,
    node,
    saw_cpuset,
    saw_entry,
    thread_source,
    title,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Container, Pod, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import COMPUTE, RUNNING


@check(
    "CPU-COUNT",
    moment=RUNNING,
    applies=dedicated,
    look="Look at the CPU limit of compute, then at the kubelet's log of the allocation.",
)
def count_is_as_asked(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """Checkpoint entry, cpuset, CPU limit and expectation agree in number."""
    container, pod = compute(snapshot), launcher(snapshot)
    limit = container.limits.cpu_milli
    doubt = expectation.doubts.get("emulator") if expectation.emulator_cpus else None
    wanted = expectation.compute_cpus
    parts = [f"{expectation.vcpus} vCPUs"] if expectation.guest else ["by its limit"]
    if expectation.emulator_cpus:
        parts.append(f"{expectation.emulator_cpus} for the emulator")
    if expectation.supplemental_iothreads:
        parts.append(f"{expectation.supplemental_iothreads} for IOThreads")
    asked = f"{wanted} ({' + '.join(parts)})"
    seen.saw("CPUs asked for", asked, "the VMI's spec")
    seen.saw("CPU limit of compute", f"{limit}m", f"pod {pod.name} .spec, compute, limits.cpu")
    if limit != wanted * 1000:
        seen.wrong(
            f"compute is limited to {limit}m CPU instead of {asked}",
            doubt=doubt,
            known=_pool_counts_twice(expectation, limit or 0),
        )
    for name, cpus in (
        ("the kubelet's checkpoint gives compute", saw_entry(snapshot, seen)),
        ("the cpuset of compute holds", saw_cpuset(snapshot, seen)),
    ):
        if len(cpus) != wanted:
            # What the kubelet and the kernel give must be what the limit says, whatever was asked.
            own = (doubt if len(cpus) * 1000 == limit else None) or untold(snapshot)
            if own is None and pod.resizing:
                own = f"the resources of pod {pod.name} are being changed in place"
            seen.wrong(
                f"{name} {len(cpus)} pCPUs ({cpus}) instead of {asked}",
                doubt=own,
                known=_pool_counts_twice(expectation, len(cpus) * 1000),
            )
    return f"compute owns {wanted} pCPUs ({entry(snapshot)}), as asked"


def _pool_counts_twice(expectation: Expectation, milli: int) -> bool:
    """Whether a number is that of releases whose even parity counts the pool of IOThreads twice.

    With an odd pool they take two CPUs for the emulator where one makes the sum even, and one
    where it takes two.
    """
    if not (expectation.even_parity and expectation.supplemental_iothreads % 2):
        return False
    others = expectation.compute_cpus - expectation.emulator_cpus
    twice = {1: 2, 2: 1}.get(expectation.emulator_cpus)
    return twice is not None and milli == (others + twice) * 1000


@check(
    "CPU-EXCLUSIVE",
    moment=RUNNING,
    applies=dedicated,
    # Containers of the shared pool leave CPUs that become exclusive when the kubelet reconciles
    # next, every cpuManagerReconcilePeriod (10 s): pkg/kubelet/cm/cpumanager/cpu_manager.go.
    # What the kubelet gave, and to whom, has no such time.
    settles=Loop.RECONCILE,
    look="Look at the kubelet's cpu_manager_state and at the cpusets below "
    f"{CGROUPS}/kubepods.slice on the node.",
)
def nobody_else_may_run_there(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The checkpoint's entry is the cpuset, and nobody else below kubepods can reach it."""
    state, pod = checkpoint(snapshot), launcher(snapshot)
    own = saw_entry(snapshot, seen)
    cpuset = saw_cpuset(snapshot, seen)
    if not own:
        seen.wrong(
            f"the kubelet gave compute of pod {pod.name} no exclusive CPUs: {state.path} has no "
            f"entry for {pod.uid} {COMPUTE} under policy {state.policy or 'unknown'}",
            final=True,
            doubt=untold(snapshot),
        )
    elif own != cpuset:
        seen.wrong(
            f"the kubelet gave compute {own} ({state.path}), but its cgroup has {cpuset} "
            f"({cpuset_source(compute(snapshot))})",
            final=not pod.resizing,
            doubt=untold(snapshot),
        )
    if allocator(snapshot) or not own:
        own = cpuset
    _tell(snapshot, own, seen)
    _no_other_entry(snapshot, own, seen)
    number = _no_other_container(snapshot, own, seen) + _nobody_unlisted(snapshot, own, seen)
    saw_first_cpuset(snapshot, own, seen)
    nobody_came(snapshot, own, seen)
    checkpoint_stayed(snapshot, own, seen)
    for why in incomplete(snapshot):
        seen.missing(f"somebody else may run there who was not seen: {why}")
    return f"{own} is in the checkpoint and the cpuset of compute and of none of {number} others"


def _tell(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> None:
    """Notes what nobody promised away: an odd checkpoint or partition, processes of the node."""
    found, state = node(snapshot), checkpoint(snapshot)
    for remark in state.remarks:
        seen.note(remark)
    for cgroup, partition in compute(snapshot).partitions.items():
        if "invalid" in partition:
            seen.note(f"{CGROUPS}{cgroup}/cpuset.cpus.partition is {partition}")
    where = "/proc/PID/status, Cpus_allowed_list"
    if found.host is None:
        seen.saw("processes of the node itself", "not looked at", where)
        return
    given = state.given | own
    pinned = [each for each in found.host if each.affinity & own and each.affinity <= given]
    names = ", ".join(f"{each.name} ({each.pid})" for each in pinned)
    seen.saw("processes of the node itself that are pinned there", names or "none", where)
    for each in pinned:
        seen.note(
            f"process {each.name} ({each.pid}) of the node itself, in {each.cgroup or 'no cgroup'}"
            f", is pinned to {each.affinity}, of which {each.affinity & own} is compute's"
        )


def _no_other_entry(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> None:
    state, pod = checkpoint(snapshot), launcher(snapshot)
    others = {key: cpus for key, cpus in in_use(snapshot).items() if key != (pod.uid, COMPUTE)}
    together = CpuSet.union_of(others.values())
    what = f"exclusive CPUs of {len(others)} others"
    seen.saw(what, together or "none", f"{state.path} entries")
    for (other, name), cpus in sorted(others.items()):
        if not cpus.isdisjoint(own):
            source = f"{state.path} entries.{other}.{name}"
            seen.saw(f"exclusive CPUs of {name} of pod {other}", cpus, source)
            beside = pod.container(name) if other == pod.uid else None
            seen.wrong(
                f"pCPU {cpus & own} of compute is also given to {name} ({source})",
                # An init container that still runs by the API may have ended since.
                final=beside is None or beside.role != "init",
            )
    for other, cpus in sorted(state.pods.items()):
        if other != pod.uid and not cpus.isdisjoint(own):
            source = f"{state.path} podEntries.{other}"
            seen.saw(f"exclusive CPUs of pod {other}", cpus, source)
            seen.wrong(
                f"pCPU {cpus & own} of compute is also given to pod {other} ({source})", final=True
            )


def _no_other_container(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> int:
    """Objects to everybody else who may run there; the number of those who were looked at."""
    number, uid = 0, launcher(snapshot).uid
    for cpus, containers in neighbours(snapshot).items():
        number += len(containers)
        if cpus is None or not cpus.isdisjoint(own):
            for pod, container in containers:
                if (pod.uid, container.name) == (uid, COMPUTE):
                    number -= 1
                else:
                    _stays_away(pod, container, own, seen)
    where = f"{CGROUPS}, cpuset.cpus.effective; /proc, Cpus_allowed_list"
    seen.saw("other containers compared with", number, where)
    return number


def _stays_away(pod: Pod, container: Container, own: CpuSet, seen: Comparison) -> None:
    name = title(pod, container)
    if container.cpuset is None:
        seen.missing(f"the cpuset of {name} was not read, so that it may share pCPUs")
        return
    if container.cpuset & own:
        source = cpuset_source(container)
        seen.saw(f"cpuset of {container.name} of {pod.name}", container.cpuset, source)
        seen.wrong(
            f"pCPU {container.cpuset & own} of compute is also in the cpuset "
            f"{container.cpuset} of {name} ({source})"
        )
    if not container.threads:
        seen.missing(f"no thread of {name} was read, so that its affinity is not known")
    for thread in container.threads:
        if thread.affinity & own:
            seen.wrong(
                f"pCPU {thread.affinity & own} of compute is also in the affinity "
                f"{thread.affinity} of thread {thread.name!r} of {name} "
                f"({thread_source(thread)})"
            )
            break


def _nobody_unlisted(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> int:
    """Objects to whoever runs below kubepods without the API's knowledge; their number."""
    number = 0
    doubt = None
    if "pods" in snapshot.not_observed:
        doubt = f"the pods of the node are not all known: {snapshot.not_observed['pods']}"
    for each in strangers(snapshot):
        number += 1
        name = called(each)
        if each.cpuset is None:
            seen.missing(f"the cpuset of {name} was not read, so that it may share pCPUs")
        reach = CpuSet.union_of((each.cpuset or (), *(t.affinity for t in each.threads)))
        if reach & own:
            source = f"{CGROUPS}{each.cgroup}/cpuset.cpus.effective; /proc, Cpus_allowed_list"
            seen.saw(f"where {name} may run", reach, source)
            seen.wrong(
                f"pCPU {reach & own} of compute is open to {name} too, which the API does not "
                f"show: it may run on {reach}",
                doubt=doubt,
            )
    seen.saw("others that the API does not show", number, f"{CGROUPS}, cgroup.threads")
    return number
