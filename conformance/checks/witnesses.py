"""The witnesses that checks ask, or the reason why they are silent.

Each function returns what was observed, or raises `Unobserved`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.checks.comparison import Comparison, Unobserved
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import (
    Checkpoint,
    Container,
    Domain,
    Guest,
    LivePins,
    Node,
    Pod,
    Snapshot,
    Thread,
    Unlisted,
    Vmi,
)
from conformance.model.topology import Topology
from conformance.model.vocabulary import COMPUTE

CGROUPS = "/sys/fs/cgroup"


def silent(snapshot: Snapshot, *layers: str, default: str) -> Unobserved:
    """The reason why one of these layers shows nothing, or the default."""
    reasons = [snapshot.not_observed[layer] for layer in layers if layer in snapshot.not_observed]
    return Unobserved(reasons[0] if reasons else default)


def vmi(snapshot: Snapshot) -> Vmi:
    """The VMI."""
    if snapshot.vmi is None:
        raise silent(snapshot, "vmi", default=_absent(snapshot))
    return snapshot.vmi


def _absent(snapshot: Snapshot) -> str:
    refused = snapshot.rejection
    if refused is not None:
        return f"the API refused the VMI ({refused.code}): {refused.message}"
    return "there was no VMI"


def launcher(snapshot: Snapshot) -> Pod:
    """The launcher pod."""
    if snapshot.pod is None:
        default = _absent(snapshot) if snapshot.vmi is None else "the VMI has no launcher pod"
        raise silent(snapshot, "pod", "vmi", default=default)
    return snapshot.pod


def compute(snapshot: Snapshot) -> Container:
    """The container of the launcher pod that runs the guest."""
    pod = launcher(snapshot)
    container = pod.container(COMPUTE)
    if container is None:
        names = ", ".join(each.name for each in pod.containers)
        raise Unobserved(f"pod {pod.name} has no container {COMPUTE}, only {names}")
    return container


def compute_cpuset(snapshot: Snapshot) -> CpuSet:
    """``cpuset.cpus.effective`` of the compute container's cgroup."""
    container = compute(snapshot)
    if container.cpuset is None:
        where = container.cgroup or f"of container {container.id or 'without an id'}"
        raise silent(
            snapshot, "cgroups", default=f"no cpuset.cpus.effective was read in the cgroup {where}"
        )
    return container.cpuset


def cpuset_source(container: Container) -> str:
    """Where a container's effective cpuset comes from."""
    return f"{CGROUPS}{container.cgroup}/cpuset.cpus.effective"


def node(snapshot: Snapshot) -> Node:
    """The node."""
    if snapshot.node is None:
        raise silent(snapshot, "node", default="the node was not read")
    return snapshot.node


def topology(snapshot: Snapshot) -> Topology:
    """The topology of the node."""
    found = node(snapshot).topology
    if found is None or not found.cpus:
        raise silent(snapshot, "topology", default="the node's topology was not read")
    return found


def checkpoint(snapshot: Snapshot) -> Checkpoint:
    """The checkpoint of the kubelet's CPU manager."""
    found = node(snapshot).checkpoint
    if found is None:
        raise silent(snapshot, "checkpoint", default="the kubelet's checkpoint was not read")
    return found


def entry(snapshot: Snapshot) -> CpuSet:
    """The exclusive CPUs of the compute container, by the checkpoint; empty without an entry."""
    return checkpoint(snapshot).entries.get((launcher(snapshot).uid, COMPUTE), CpuSet())


def held(snapshot: Snapshot) -> CpuSet:
    """Exclusive CPUs whose container has started, as far as the node shows.

    The kubelet assigns first, then moves whoever is in the way, and only then starts the
    container: until that, nobody is disturbed by who is still there.
    """
    checkpoint(snapshot)
    return snapshot.around.once(_held)


def awaited(snapshot: Snapshot) -> CpuSet:
    """Exclusive CPUs whose container has yet to start, as far as the API shows.

    They are given when the kubelet admits the pod. Of a container that has ended the checkpoint
    goes on to list them while the pod is there, and a real kubelet (1.36) was seen to let others
    in meanwhile: those are not among them, since nobody is disturbed by that.
    """
    checkpoint(snapshot)
    return snapshot.around.once(_awaited) - held(snapshot)


def _awaited(
    pods: tuple[Pod, ...], state: Checkpoint | None, _unlisted: tuple[Unlisted, ...]
) -> CpuSet:
    entries = state.entries if state else {}
    return CpuSet.union_of(
        entries.get((pod.uid, each.name), CpuSet())
        for pod in pods
        for each in pod.containers
        if not (each.running or each.started or each.ended or each.restarts)
    )


def _held(
    pods: tuple[Pod, ...], state: Checkpoint | None, _unlisted: tuple[Unlisted, ...]
) -> CpuSet:
    if state is None:
        return CpuSet()
    started = {
        (pod.uid, container.name)
        for pod in pods
        for container in pod.containers
        if container.cgroup is not None
    }
    holders = {uid for uid, _name in started}
    return CpuSet.union_of(
        (
            *(cpus for key, cpus in state.entries.items() if key in started),
            *(cpus for uid, cpus in state.pods.items() if uid in holders),
        )
    )


def in_use(snapshot: Snapshot) -> Mapping[tuple[str, str], CpuSet]:
    """Entries of the checkpoint without those of init containers that do not run.

    Containers of a pod that start after an init container may have its CPUs, which the
    checkpoint goes on to list for both (kubernetes policy_static.go, cpusToReuse).
    """
    checkpoint(snapshot)
    return snapshot.around.once(_in_use)


def _in_use(
    pods: tuple[Pod, ...], state: Checkpoint | None, _unlisted: tuple[Unlisted, ...]
) -> Mapping[tuple[str, str], CpuSet]:
    if state is None:
        return {}
    over = {
        (pod.uid, each.name)
        for pod in pods
        for each in pod.containers
        if each.role == "init" and not each.running and not each.threads
    }
    return {key: cpus for key, cpus in state.entries.items() if key not in over}


def below_kubepods(cgroup: str) -> bool:
    """Whether a cgroup is kubepods or in it: what the kubelet makes for pods."""
    return "kubepods" in cgroup


def unread(snapshot: Snapshot, container: Container) -> list[str]:
    """Why not all of a container was seen: threads of it, or its cgroups.

    A thread that began while it was looked at is in no list either; a main thread is older.
    """
    found = [
        f"{thread.name} ({thread.tid}) is in none of the cgroups that were read"
        for thread in container.unplaced
        if thread.tid == thread.pid or thread.name.startswith("CPU ")
    ]
    if not snapshot.unreadable:
        return found
    threads = tuple(f"/task/{tid}/status" for tid in container.unseen)
    inside = f"{CGROUPS}{container.cgroup}/"
    return found + [
        f"{path}: {why}"
        for path, why in sorted(snapshot.unreadable.items())
        if (threads and path.endswith(threads))
        or (container.cgroup and path.startswith(inside) and _matters(path, why))
    ]


def incomplete(snapshot: Snapshot) -> list[str]:
    """Why there may be others on the node than those who were seen, a few reasons of all."""
    layers = ("pods", "files", "cgroups", "threads")
    found = [
        f"{layer}: {snapshot.not_observed[layer]}"
        for layer in layers
        if layer in snapshot.not_observed
    ]
    files = [
        f"{path}: {why}" for path, why in sorted(snapshot.unreadable.items()) if _matters(path, why)
    ]
    return found + files[:3]


def _matters(path: str, why: str) -> bool:
    """Whether a file that was not read may hide somebody who runs.

    A cgroup of a kind that can hold nobody has no list of threads to read.
    """
    if path.startswith("/proc/"):
        # A process without its thread is one of the node itself, which is only remarked on.
        return (path.count("/") == 5 and path.endswith("/status")) or path.endswith("/cgroup")
    name = path.rpartition("/")[2]
    return path.startswith(CGROUPS) and (
        name == "cpuset.cpus.effective"
        or (name == "cgroup.threads" and "supported" not in why.lower())
    )


def require_running(snapshot: Snapshot) -> None:
    """Raises Unobserved for a VMI that starts or has ended: its guest is not what it will be."""
    found = snapshot.vmi
    if found is not None and found.phase != "Running":
        raise Unobserved(
            f"VMI {found.namespace}/{found.name} is {found.phase or 'without a phase'}, so that "
            "nothing of its guest counts"
        )


def domain(snapshot: Snapshot) -> Domain:
    """The domain XML."""
    require_running(snapshot)
    if snapshot.domain is None:
        raise silent(snapshot, "domain", default="the domain XML was not read")
    return snapshot.domain


def live(snapshot: Snapshot) -> LivePins:
    """The live answers of libvirt."""
    require_running(snapshot)
    if snapshot.live is None:
        raise silent(snapshot, "live", "domain", default="libvirt was not asked")
    return snapshot.live


def guest(snapshot: Snapshot) -> Guest:
    """The guest's own report."""
    require_running(snapshot)
    if snapshot.guest is None:
        raise silent(snapshot, "guest", "console", default="the guest has not reported")
    return snapshot.guest


def exclusive_pins(pins: LivePins, snapshot: Snapshot) -> CpuSet:
    """All CPUs to which vCPUs are pinned that the domain has.

    libvirt has a pin of each vCPU that may be plugged in, which runs nowhere yet: every CPU
    (virDomainGetVcpuPinInfo).
    """
    xml = snapshot.domain
    return CpuSet.union_of(
        cpus for vcpu, cpus in pins.vcpu_pins.items() if xml is None or vcpu in xml.enabled
    )


def thread_source(thread: Thread) -> str:
    """Where a thread's affinity comes from."""
    return f"/proc/{thread.pid}/task/{thread.tid}/status Cpus_allowed_list"


Residents = Mapping[CpuSet | None, Sequence[tuple[Pod, Container]]]
"""Containers that run by every CPU that cpuset and threads may use; None where one was not read.

One that the API calls ended runs as long as there are threads in it."""


def neighbours(snapshot: Snapshot) -> Residents:
    """Every running container on the node of the workload, its own among them."""
    own = launcher(snapshot).uid
    if not any(pod.uid == own for pod in snapshot.pods):
        raise silent(snapshot, "pods", default="the pods of the node were not listed")
    return residents(snapshot)


def residents(snapshot: Snapshot) -> Residents:
    """Every container that runs in a pod which was listed on the node."""
    return snapshot.around.once(_residents)


def sharers(snapshot: Snapshot) -> Residents:
    """Those of them that the kubelet gave no exclusive CPUs."""
    return snapshot.around.once(_sharers)


def _sharers(
    pods: tuple[Pod, ...], state: Checkpoint | None, unlisted: tuple[Unlisted, ...]
) -> Residents:
    if state is None:
        return _residents(pods, state, unlisted)
    return {
        cpus: [
            (pod, container)
            for pod, container in containers
            if (pod.uid, container.name) not in state.entries and pod.uid not in state.pods
        ]
        for cpus, containers in _residents(pods, state, unlisted).items()
    }


def _residents(
    pods: tuple[Pod, ...], _state: Checkpoint | None, _unlisted: tuple[Unlisted, ...]
) -> Residents:
    """Most containers live in one shared pool."""
    found: dict[CpuSet | None, list[tuple[Pod, Container]]] = {}
    for pod in pods:
        for container in pod.containers:
            if container.running or container.threads:
                cpus = None
                if container.cpuset is not None and container.threads:
                    affinities = {thread.affinity for thread in container.threads}
                    cpus = CpuSet.union_of((container.cpuset, *affinities))
                found.setdefault(cpus, []).append((pod, container))
    return found


def title(pod: Pod, container: Container) -> str:
    """How a container is called in a finding."""
    kind = "ephemeral container" if container.role == "ephemeral" else "container"
    return f"{kind} {container.name} of pod {pod.namespace}/{pod.name}"


def saw_entry(snapshot: Snapshot, seen: Comparison) -> CpuSet:
    """Notes the compute container's exclusive CPUs and returns them."""
    state = checkpoint(snapshot)
    cpus = entry(snapshot)
    pod = launcher(snapshot)
    seen.saw("exclusive CPUs of compute", cpus, f"{state.path} entries.{pod.uid}.{COMPUTE}")
    return cpus


def saw_cpuset(snapshot: Snapshot, seen: Comparison) -> CpuSet:
    """Notes the compute container's effective cpuset and returns it."""
    cpus = compute_cpuset(snapshot)
    seen.saw("cpuset of compute", cpus, cpuset_source(compute(snapshot)))
    return cpus
