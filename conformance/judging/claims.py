"""What every source of a snapshot says of who has, or may use, which pCPU of its node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from conformance.checks.strangers import strangers
from conformance.checks.threads import Threads, sorted_threads
from conformance.checks.witnesses import in_use
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import (
    Checkpoint,
    Container,
    Domain,
    LivePins,
    Node,
    Pod,
    Snapshot,
    Thread,
)
from conformance.model.vocabulary import COMPUTE, VM_NAME
from reports.document import Claim, OwnerKind, Source

_NAMES = 4
"""Threads that are named; more are counted."""


@dataclass(frozen=True)
class Said:
    """One source about some pCPUs, with what tells it from others.

    Attributes:
        pod: UID of the pod, or the cgroup of what no pod owns; empty for the pool and the host.
        own: whether it is of the workload that the snapshot is about.
        former: whether that workload was deleted.
        written: whether it is what the domain XML says where the running libvirt says otherwise.
        running: whether something may run there now, as far as anybody knows.
    """

    claim: Claim
    cpus: CpuSet
    pod: str = ""
    own: bool = False
    former: bool = False
    written: bool = False
    running: bool = True


def said(snapshot: Snapshot) -> tuple[Said, ...]:
    """Everything that is said of the node's pCPUs, sources in their order."""
    node = snapshot.node
    if node is None:
        return ()
    own = snapshot.pod.uid if snapshot.pod else ""
    state, pods = node.checkpoint, snapshot.pods
    exclusive = state.given if state else CpuSet()
    return (
        *(_checkpoint(snapshot, node, state, own) if state else ()),
        *_cgroups(pods, state, exclusive, own),
        *_affinities(pods, state, exclusive, own),
        *_outside(snapshot, node, exclusive),
        *_live(snapshot, own),
    )


def workload(pod: Pod) -> str:
    """What a pod is called: by its VMI, where it has one."""
    return pod.labels.get(VM_NAME, pod.name)


def text(cpus: CpuSet) -> str:
    """A CPU list; empty for none."""
    return str(cpus) if cpus else ""


def _checkpoint(snapshot: Snapshot, node: Node, state: Checkpoint, own: str) -> Iterator[Said]:
    reserved = CpuSet((node.kubelet.reserved if node.kubelet else None) or ())
    for kind, cpus in (
        (OwnerKind.RESERVED, state.default & reserved),
        (OwnerKind.SHARED, state.default - reserved),
    ):
        if cpus:
            yield Said(Claim(Source.CHECKPOINT, kind, text(cpus), detail=state.path), cpus)
    pods = _by_uid(snapshot.pods)
    former = snapshot.former.pod_uid if snapshot.former else None
    entries = {**in_use(snapshot), **{(uid, ""): cpus for uid, cpus in state.pods.items()}}
    for (uid, container), cpus in sorted(entries.items()):
        pod = pods.get(uid)
        name = workload(pod) if pod else f"pod {uid}, which the API does not show"
        claim = Claim(
            Source.CHECKPOINT, OwnerKind.EXCLUSIVE, text(cpus), name, container, detail=state.path
        )
        yield Said(
            claim,
            cpus,
            pod.uid if pod else uid,
            own=pod is not None and (pod.uid, container) == (own, COMPUTE),
            former=uid == former,
        )


def _by_uid(pods: Iterable[Pod]) -> Mapping[str, Pod]:
    return {uid: pod for pod in pods for uid in (pod.uid, pod.static_uid) if uid}


def _owns(state: Checkpoint | None, pod: Pod, container: Container) -> bool:
    uids = {pod.uid, pod.static_uid}
    return state is not None and any((uid, container.name) in state.entries for uid in uids)


def _matters(state: Checkpoint | None, pod: Pod, container: Container, own: str) -> bool:
    return pod.uid == own or _owns(state, pod, container)


def _cgroups(
    pods: Iterable[Pod], state: Checkpoint | None, exclusive: CpuSet, own: str
) -> Iterator[Said]:
    """Where containers may run; those that keep to the pool are told together."""
    quiet: dict[CpuSet, list[str]] = defaultdict(list)
    for pod in pods:
        for container in pod.containers:
            cpus = container.cpuset
            if cpus is None:
                continue
            name = workload(pod)
            if not cpus & exclusive and not _matters(state, pod, container, own):
                quiet[cpus].append(f"{name}/{container.name}")
                continue
            kind = OwnerKind.EXCLUSIVE if _owns(state, pod, container) else OwnerKind.SHARED
            running = container.running or bool(container.threads)
            claim = Claim(
                Source.CGROUP,
                kind,
                text(cpus),
                name,
                container.name,
                detail=f"{container.cgroup or ''}/cpuset.cpus.effective",
            )
            is_own = pod.uid == own and container.name == COMPUTE
            yield Said(claim, cpus, pod.uid, own=is_own, running=running)
    for cpus, names in quiet.items():
        claim = Claim(Source.CGROUP, OwnerKind.SHARED, text(cpus), detail=_counted(names))
        yield Said(claim, cpus)


def _affinities(
    pods: Iterable[Pod], state: Checkpoint | None, exclusive: CpuSet, own: str
) -> Iterator[Said]:
    """Where threads may run: of a guest by what they are for, of other containers together."""
    quiet: dict[CpuSet, list[str]] = defaultdict(list)
    for pod in pods:
        name = workload(pod)
        for container in pod.containers:
            if container.name == COMPUTE and container.threads:
                found = sorted_threads(container)
                if found.vcpus or found.unknown:
                    yield from _guest(pod, name, found, container.cgroup, own=pod.uid == own)
                    continue
            for cpus, threads in _by_affinity(container.threads):
                if not cpus & exclusive and not _matters(state, pod, container, own):
                    quiet[cpus].append(f"{name}/{container.name}")
                    continue
                kind = OwnerKind.EXCLUSIVE if _owns(state, pod, container) else OwnerKind.SHARED
                claim = Claim(
                    Source.AFFINITY,
                    kind,
                    text(cpus),
                    name,
                    container.name,
                    detail=_threads(threads),
                )
                yield Said(claim, cpus, pod.uid)
    for cpus, names in quiet.items():
        claim = Claim(Source.AFFINITY, OwnerKind.SHARED, text(cpus), detail=_counted(names))
        yield Said(claim, cpus)


def _guest(pod: Pod, name: str, found: Threads, root: str | None, *, own: bool) -> Iterator[Said]:
    numbered = (
        *((OwnerKind.VCPU, number, each) for number, each in sorted(found.vcpus.items())),
        *((OwnerKind.IOTHREAD, number, each) for number, each in sorted(found.iothreads.items())),
    )
    for kind, number, thread in numbered:
        claim = Claim(
            Source.AFFINITY,
            kind,
            text(thread.affinity),
            name,
            COMPUTE,
            number,
            _threads([thread]),
        )
        # See `conformance.checks.vcpu_pinning.refuse_swept`: these are nobody's disagreement.
        swept = found.emulated and thread.cgroup != root
        yield Said(claim, thread.affinity, pod.uid, own=own and not swept)
    rest = (*found.others, *found.observers, *found.orphans)
    for kind, threads in ((OwnerKind.EMULATOR, found.emulator), (OwnerKind.LAUNCHER, rest)):
        for cpus, together in _by_affinity(threads):
            claim = Claim(
                Source.AFFINITY, kind, text(cpus), name, COMPUTE, detail=_threads(together)
            )
            yield Said(claim, cpus, pod.uid, own=own)


def _outside(snapshot: Snapshot, node: Node, exclusive: CpuSet) -> Iterator[Said]:
    """What no pod of the API runs: below kubepods, and processes of the node itself."""
    for each in strangers(snapshot):
        name = each.processes[0].name if each.processes else each.cgroup.rsplit("/", 1)[-1]
        where = f"{each.cgroup}/cpuset.cpus.effective"
        if each.cpuset is not None and (each.cpuset & exclusive or each.threads):
            claim = Claim(
                Source.CGROUP,
                OwnerKind.SHARED,
                text(each.cpuset),
                f"{name}, which the API does not show",
                detail=where,
            )
            yield Said(claim, each.cpuset, each.cgroup, running=bool(each.threads))
        for cpus, threads in _by_affinity(each.threads):
            claim = Claim(
                Source.AFFINITY,
                OwnerKind.SHARED,
                text(cpus),
                f"{name}, which the API does not show",
                detail=_threads(threads),
            )
            yield Said(claim, cpus, each.cgroup)
    hosts: dict[tuple[str, CpuSet], list[Thread]] = defaultdict(list)
    for thread in node.host or ():
        if thread.affinity <= exclusive:
            hosts[thread.name, thread.affinity].append(thread)
    for (name, cpus), threads in sorted(hosts.items(), key=lambda item: item[0][0]):
        claim = Claim(Source.AFFINITY, OwnerKind.HOST, text(cpus), name, detail=_threads(threads))
        yield Said(claim, cpus, "host")


def _live(snapshot: Snapshot, own: str) -> Iterator[Said]:
    """The pins of the snapshot's own guest, as libvirt answers; what its XML says otherwise."""
    if snapshot.pod is None:
        return
    name = workload(snapshot.pod)
    live, domain = snapshot.live, snapshot.domain
    answered = _pins(live) if live else {}
    written = _pins(domain) if domain else {}
    for (kind, number), cpus in answered.items():
        source = live.source if live else ""
        claim = Claim(Source.LIBVIRT, kind, text(cpus), name, COMPUTE, number, source)
        yield Said(claim, cpus, own, own=True)
    for (kind, number), cpus in written.items():
        if answered.get((kind, number)) == cpus:
            continue
        claim = Claim(Source.LIBVIRT, kind, text(cpus), name, COMPUTE, number, "domain XML")
        # Without an answer it is all that is known of the pins.
        yield Said(claim, cpus, own, own=not answered, written=bool(answered))


def _pins(said: LivePins | Domain) -> dict[tuple[OwnerKind, int | None], CpuSet]:
    """Pins by what they are of: vCPUs, IOThreads, the emulator."""
    found: dict[tuple[OwnerKind, int | None], CpuSet] = {}
    found |= {(OwnerKind.VCPU, number): cpus for number, cpus in sorted(said.vcpu_pins.items())}
    found |= {(OwnerKind.IOTHREAD, n): cpus for n, cpus in sorted(said.iothread_pins.items())}
    if said.emulator_pin:
        found[OwnerKind.EMULATOR, None] = said.emulator_pin
    return found


def _by_affinity(threads: Iterable[Thread]) -> list[tuple[CpuSet, list[Thread]]]:
    found: dict[CpuSet, list[Thread]] = defaultdict(list)
    for thread in threads:
        found[thread.affinity].append(thread)
    return list(found.items())


def _threads(threads: list[Thread]) -> str:
    names = [f"{each.name} (/proc/{each.pid}/task/{each.tid})" for each in threads[:_NAMES]]
    more = len(threads) - len(names)
    return ", ".join(names) + (f" and {more} more threads" if more else "")


def _counted(names: Iterable[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = len(unique) - _NAMES
    return ", ".join(unique[:_NAMES]) + (f" and {more} more" if more > 0 else "")
