"""The witnesses that checks ask, or the reason why they are silent.

Each function returns what was observed, or raises `Unobserved`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
    Vmi,
)
from conformance.model.same import Same
from conformance.model.topology import Topology

CGROUPS = "/sys/fs/cgroup"
COMPUTE = "compute"
_VCPU = re.compile(r"CPU (\d+)/(KVM|TCG)")
_IOTHREAD = re.compile(r"IO iothread(\d+)")
_KERNEL_HELPERS = ("vhost-", "kvm-")
"""Kernel threads that work for a QEMU; before Linux 6.4 they are processes of their own."""
_LAUNCHER = ("virt-launcher", "virtqemud", "virtlogd", "qemu")
"""Processes that belong in a compute container, by the beginning of their names."""


def _silent(snapshot: Snapshot, *layers: str, default: str) -> Unobserved:
    reasons = [snapshot.not_observed[layer] for layer in layers if layer in snapshot.not_observed]
    return Unobserved(reasons[0] if reasons else default)


def vmi(snapshot: Snapshot) -> Vmi:
    """The VMI."""
    if snapshot.vmi is None:
        raise _silent(snapshot, "vmi", default=_absent(snapshot))
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
        raise _silent(snapshot, "pod", "vmi", default=default)
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
        raise _silent(
            snapshot, "cgroups", default=f"no cpuset.cpus.effective was read in the cgroup {where}"
        )
    return container.cpuset


def cpuset_source(container: Container) -> str:
    """Where a container's effective cpuset comes from."""
    return f"{CGROUPS}{container.cgroup}/cpuset.cpus.effective"


def node(snapshot: Snapshot) -> Node:
    """The node."""
    if snapshot.node is None:
        raise _silent(snapshot, "node", default="the node was not read")
    return snapshot.node


def topology(snapshot: Snapshot) -> Topology:
    """The topology of the node."""
    found = node(snapshot).topology
    if found is None or not found.cpus:
        raise _silent(snapshot, "topology", default="the node's topology was not read")
    return found


def checkpoint(snapshot: Snapshot) -> Checkpoint:
    """The checkpoint of the kubelet's CPU manager."""
    found = node(snapshot).checkpoint
    if found is None:
        raise _silent(snapshot, "checkpoint", default="the kubelet's checkpoint was not read")
    return found


def entry(snapshot: Snapshot) -> CpuSet:
    """The exclusive CPUs of the compute container, by the checkpoint; empty without an entry."""
    return checkpoint(snapshot).entries.get((launcher(snapshot).uid, COMPUTE), CpuSet())


def held(snapshot: Snapshot) -> CpuSet:
    """Exclusive CPUs whose container has started, as far as the node shows.

    The kubelet assigns first, then moves whoever is in the way, and only then starts the
    container: until that, nobody is disturbed by who is still there.
    """
    return _held(Same(snapshot.pods, checkpoint(snapshot)))


@lru_cache(maxsize=8)
def _held(shared: Same[tuple[Pod, ...], Checkpoint]) -> CpuSet:
    """Put together once for all VMIs of a node."""
    pods, state = shared.values
    started = {
        (pod.uid, container.name)
        for pod in pods
        for container in pod.containers
        if container.cgroup is not None
    }
    return CpuSet.union_of(cpus for key, cpus in state.entries.items() if key in started)


def domain(snapshot: Snapshot) -> Domain:
    """The domain XML."""
    if snapshot.domain is None:
        raise _silent(snapshot, "domain", default="the domain XML was not read")
    return snapshot.domain


def live(snapshot: Snapshot) -> LivePins:
    """The live answers of libvirt."""
    if snapshot.live is None:
        raise _silent(snapshot, "live", "domain", default="libvirt was not asked")
    return snapshot.live


def guest(snapshot: Snapshot) -> Guest:
    """The guest's own report."""
    if snapshot.guest is None:
        raise _silent(snapshot, "guest", "console", default="the guest has not reported")
    return snapshot.guest


def exclusive_pins(pins: Mapping[int, CpuSet]) -> CpuSet:
    """All CPUs to which vCPUs or IOThreads are pinned."""
    return CpuSet.union_of(pins.values())


@dataclass(frozen=True)
class Threads:
    """The threads of a compute container, sorted.

    Attributes:
        vcpus: by number of the vCPU.
        iothreads: by number of the IOThread.
        emulator: every other thread of QEMU, and kernel threads that work for it.
        others: of the launcher itself.
        observers: of processes that somebody started in the container from outside
            (exec, probes): whoever looks must not see himself.
        emulated: the vCPUs are threads of a software emulation.
    """

    vcpus: Mapping[int, Thread]
    iothreads: Mapping[int, Thread]
    emulator: tuple[Thread, ...]
    others: tuple[Thread, ...]
    observers: tuple[Thread, ...]
    emulated: bool


def threads(snapshot: Snapshot) -> Threads:
    """The real threads of the compute container."""
    container = compute(snapshot)
    if not container.threads:
        raise _silent(
            snapshot, "threads", "cgroups", default="no thread of the compute container was read"
        )
    return _threads(Same(container))


@lru_cache(maxsize=8)
def _threads(shared: Same[Container]) -> Threads:
    """Sorted once for all checks that ask."""
    (container,) = shared.values
    found = container.threads
    vcpus = {int(m[1]): t for t in found if (m := _VCPU.match(t.name))}
    qemus = {thread.pid for thread in vcpus.values()}
    iothreads = {int(m[1]): t for t in found if t.pid in qemus and (m := _IOTHREAD.match(t.name))}
    known = {t.tid for t in (*vcpus.values(), *iothreads.values())}
    rest = [thread for thread in found if thread.tid not in known]
    emulator = [t for t in rest if t.pid in qemus or t.name.startswith(_KERNEL_HELPERS)]
    strangers = _strangers(container, qemus)
    helpers = {thread.tid for thread in emulator}
    others = [t for t in rest if t.tid not in helpers]
    return Threads(
        vcpus=vcpus,
        iothreads=iothreads,
        emulator=tuple(emulator),
        others=tuple(t for t in others if t.pid not in strangers),
        observers=tuple(t for t in others if t.pid in strangers),
        emulated=any("/TCG" in thread.name for thread in vcpus.values()),
    )


def _strangers(container: Container, qemus: set[int]) -> set[int]:
    """Processes that were not started from inside the container, nor are what it runs.

    The parent of such a process is outside; so is that of the container's first process,
    which is the oldest of them.
    """
    mains = {t.pid: t for t in container.threads if t.tid == t.pid}
    outside = {pid for pid, t in mains.items() if t.parent is not None and t.parent not in mains}
    first = [pid for pid in outside if mains[pid].inner_pid == 1] or sorted(outside)[:1]
    return {
        pid
        for pid in outside - qemus - set(first)
        if not mains[pid].name.startswith(_LAUNCHER + _KERNEL_HELPERS)
    }


def thread_source(thread: Thread) -> str:
    """Where a thread's affinity comes from."""
    return f"/proc/{thread.pid}/task/{thread.tid}/status Cpus_allowed_list"


Residents = Mapping[CpuSet | None, Sequence[tuple[Pod, Container]]]
"""Running containers by every CPU that cpuset and threads may use; None where one was not read."""


def neighbours(snapshot: Snapshot) -> Residents:
    """Every running container on the node of the workload, its own among them."""
    own = launcher(snapshot).uid
    if not any(pod.uid == own for pod in snapshot.pods):
        raise _silent(snapshot, "pods", default="the pods of the node were not listed")
    return residents(snapshot)


def residents(snapshot: Snapshot) -> Residents:
    """Every running container that was listed on the node."""
    return _residents(Same(snapshot.pods))


@lru_cache(maxsize=8)
def _residents(shared: Same[tuple[Pod, ...]]) -> Residents:
    """Put together once for all VMIs of a node: most containers live in one shared pool."""
    (pods,) = shared.values
    found: dict[CpuSet | None, list[tuple[Pod, Container]]] = {}
    for pod in pods:
        for container in pod.containers:
            if container.running:
                cpus = None
                if container.cpuset is not None and container.threads:
                    affinities = {thread.affinity for thread in container.threads}
                    cpus = CpuSet.union_of((container.cpuset, *affinities))
                found.setdefault(cpus, []).append((pod, container))
    return found


def title(pod: Pod, container: Container) -> str:
    """How a container is called in a finding."""
    return f"container {container.name} of pod {pod.namespace}/{pod.name}"


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
