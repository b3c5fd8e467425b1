"""Whether the compute container owns its pCPUs, alone."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable
from conformance.checks.registry import check, dedicated
from conformance.checks.witnesses import (
    CGROUPS,
    COMPUTE,
    checkpoint,
    compute,
    cpuset_source,
    entry,
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


@check(
    "CPU-COUNT",
    moment="running",
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
        seen.wrong(f"compute is limited to {limit}m CPU instead of {asked}", doubt=doubt)
    for name, cpus in (
        ("the kubelet's checkpoint gives", saw_entry(snapshot, seen)),
        ("its cpuset holds", saw_cpuset(snapshot, seen)),
    ):
        if len(cpus) != wanted:
            # What the kubelet and the kernel give must be what the limit says, whatever was asked.
            own = None if len(cpus) * 1000 != limit else doubt
            seen.wrong(f"{name} compute {len(cpus)} pCPUs ({cpus}) instead of {asked}", doubt=own)
    return f"compute owns {wanted} pCPUs ({entry(snapshot)}), as asked"


@check(
    "CPU-EXCLUSIVE",
    moment="running",
    applies=dedicated,
    # Containers of the shared pool leave CPUs that become exclusive when the kubelet reconciles
    # next, every cpuManagerReconcilePeriod (10 s): pkg/kubelet/cm/cpumanager/cpu_manager.go.
    # What the kubelet gave, and to whom, has no such time.
    settles=True,
    look="Look at the kubelet's cpu_manager_state and at the cpusets below "
    f"{CGROUPS}/kubepods.slice on the node.",
)
def nobody_else_may_run_there(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The checkpoint's entry is the cpuset, and no other container can reach it."""
    state, pod = checkpoint(snapshot), launcher(snapshot)
    own = saw_entry(snapshot, seen)
    cpuset = saw_cpuset(snapshot, seen)
    if not own:
        seen.wrong(
            f"the kubelet gave compute of pod {pod.name} no exclusive CPUs: {state.path} has no "
            f"entry for {pod.uid} {COMPUTE} under policy {state.policy or 'unknown'}",
            final=True,
        )
    elif own != cpuset:
        seen.wrong(
            f"the kubelet gave compute {own} ({state.path}), but its cgroup has {cpuset} "
            f"({cpuset_source(compute(snapshot))})",
            final=True,
        )
    own = own or cpuset
    _no_other_entry(snapshot, own, seen)
    number = _no_other_container(snapshot, own, seen)
    return f"{own} is in the checkpoint and the cpuset of compute and of none of {number} others"


def _no_other_entry(snapshot: Snapshot, own: CpuSet, seen: Comparison) -> None:
    state, uid = checkpoint(snapshot), launcher(snapshot).uid
    others = {key: cpus for key, cpus in state.entries.items() if key != (uid, COMPUTE)}
    together = CpuSet.union_of(others.values())
    seen.saw(f"exclusive CPUs of {len(others)} others", together, f"{state.path} entries")
    for (other, name), cpus in sorted(others.items()):
        if not cpus.isdisjoint(own):
            source = f"{state.path} entries.{other}.{name}"
            seen.saw(f"exclusive CPUs of {name} of pod {other}", cpus, source)
            seen.wrong(
                f"pCPU {cpus & own} of compute is also given to {name} ({source})", final=True
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


@check(
    "CPU-RESERVED",
    moment="running",
    applies=dedicated,
    look="Look at reservedSystemCPUs in the kubelet's configuration and at its checkpoint.",
)
def reserved_is_left_alone(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """No exclusive pCPU is reserved for the system."""
    kubelet = node(snapshot).kubelet
    own = saw_entry(snapshot, seen) | saw_cpuset(snapshot, seen)
    if kubelet is None:
        why = snapshot.not_observed.get("kubelet", "the kubelet's configuration was not read")
        seen.missing(why)
        return ""
    if kubelet.reserved is None:
        raise NotApplicable(
            f"{kubelet.source} names no reservedSystemCPUs: a number of CPUs is reserved, no set"
        )
    seen.saw("reserved CPUs", kubelet.reserved, f"{kubelet.source} reservedSystemCPUs")
    if own & kubelet.reserved:
        seen.wrong(
            f"pCPU {own & kubelet.reserved} of compute ({own}) is reserved for the system: "
            f"reservedSystemCPUs {kubelet.reserved} ({kubelet.source})"
        )
    return f"{own} is disjoint from the reserved {kubelet.reserved}"


@check(
    "CPU-QUOTA",
    moment="running",
    applies=dedicated,
    look="Look at cpu.max of the container and at the kubelet's version and cpuCFSQuota.",
)
def owner_has_no_quota(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """``cpu.max`` of the compute container is ``max``."""
    container = compute(snapshot)
    if container.cpu_max is None:
        why = snapshot.not_observed.get("cgroups", "its cgroup was not found")
        seen.missing(f"cpu.max of compute was not read: {why}")
        return ""
    source = f"{CGROUPS}{container.cgroup}/cpu.max"
    seen.saw("quota of compute", container.cpu_max, source)
    if container.cpu_max.split()[:1] != ["max"]:
        version = node(snapshot).kubelet_version
        seen.wrong(
            f"compute owns its CPUs and is throttled all the same: cpu.max is "
            f"{container.cpu_max} instead of max ({source}, kubelet {version or 'unknown'})",
            known=True,
        )
    return f"compute has no quota (cpu.max {container.cpu_max})"
