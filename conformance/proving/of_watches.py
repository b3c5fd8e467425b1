"""Saboteurs that are gone before anybody takes a snapshot: only a watcher sees them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Thread
from conformance.model.watch import (
    Given,
    Looks,
    Seen,
    Watch,
    Watched,
    WatchedCgroup,
    WatchedThread,
)
from conformance.proving.saboteur import flits
from conformance.proving.scene import NothingToSpoilError, Scene

BEFORE, AFTER, LATER = 10.0, 5.0, 20.0
"""The watch begins so long before a look and ends so long after it; what flits comes after it."""
SOURCE = "watch/made-up.log"


def _vcpus(scene: Scene) -> Mapping[int, Thread]:
    found = {t.tid: t for t in scene.compute.threads if t.name.startswith("CPU ")}
    if not found:
        raise NothingToSpoilError("a thread of a vCPU")
    return found


def _watched(
    scene: Scene,
    *,
    thread: Thread | None = None,
    cgroup: str = "",
    cpus: CpuSet | None = None,
    seconds: float = 0.3,
    given: Mapping[tuple[str, str], CpuSet] | None = None,
    pool: CpuSet | None = None,
    held: str = "",
) -> Watched:
    """A watch in which everything is as the look shows it, but for something that flits.

    Args:
        scene: the look.
        thread: that may run on `cpus` for a while, or the cgroup that has them.
        cgroup: see there.
        cpus: see there.
        seconds: for which it may.
        given: entries of the checkpoint for that while.
        pool: that of the checkpoint for that while.
        held: a cgroup that a quota holds back meanwhile.
    """
    _vcpus(scene)
    look = datetime.fromisoformat(scene.raw.ended).timestamp()
    began, at = look - BEFORE, look + AFTER

    def track(value: CpuSet, *, flitting: bool) -> tuple[Seen[CpuSet], ...]:
        if not flitting:
            return (Seen(began, value),)
        return (Seen(began, value), Seen(at, cpus), Seen(at + seconds, value))

    state = Given(scene.state.default, scene.state.entries)
    states = [Seen(began, state)]
    if given is not None or pool is not None:
        taken = Given(pool or state.default, {**state.entries, **(given or {})})
        states += [Seen(at, taken), Seen(at + seconds, state)]
    groups = {
        each.cgroup: each.cpuset
        for pod in scene.seen.pods
        for each in pod.containers
        if each.cgroup and each.cpuset
    }
    node = scene.seen.node.name if scene.seen.node else ""
    watch = Watch(
        SOURCE,
        began,
        look + LATER,
        (Looks(look + LATER, round(10 * (BEFORE + LATER)), 0.1, 0.3),),
        tuple(
            WatchedThread(
                each.tid,
                each.name,
                each.cgroup,
                track(each.affinity, flitting=thread is not None and each.tid == thread.tid),
            )
            for each in scene.compute.threads
        ),
        tuple(
            WatchedCgroup(path, track(value, flitting=path == cgroup))
            for path, value in groups.items()
        )
        + ((WatchedCgroup(held, (), (Seen(began, 0), Seen(at, 3))),) if held else ()),
        tuple(states),
    )
    return Watched(node, (watch,))


def _neighbour(scene: Scene) -> tuple[str, CpuSet]:
    """The cgroup of another container that is away from compute, and its cpuset."""
    for pod in scene.seen.pods:
        for each in pod.containers:
            if each.cgroup and each.cpuset and not each.cpuset & scene.owned and each.threads:
                return each.cgroup, each.cpuset
    raise NothingToSpoilError("a container beside compute")


def _isolated(scene: Scene, name: str) -> Thread:
    """A thread of QEMU that is away from the vCPUs, as it must be."""
    pcpus = CpuSet.union_of(each.affinity for each in _vcpus(scene).values())
    thread = scene.thread(name)
    if thread.affinity & pcpus:
        raise NothingToSpoilError("an isolated emulator")
    return thread


@flits("PIN-THREADS")
def vcpu_away_for_300_ms(scene: Scene) -> Watched:
    """A vCPU thread may run on a pCPU of the shared pool for 300 ms."""
    thread = min(_vcpus(scene).values(), key=lambda each: each.tid)
    return _watched(scene, thread=thread, cpus=CpuSet(sorted(scene.pool)[:1]))


@flits("PIN-THREADS")
def vcpu_everywhere_for_a_second(scene: Scene) -> Watched:
    """A vCPU thread may run on every pCPU of the node for one second."""
    thread = max(_vcpus(scene).values(), key=lambda each: each.tid)
    return _watched(scene, thread=thread, cpus=scene.state.default | scene.owned, seconds=1.0)


@flits("CPU-EXCLUSIVE")
def second_owner_for_a_second(scene: Scene) -> Watched:
    """The cpuset of another container takes a pCPU of compute for one second."""
    path, cpus = _neighbour(scene)
    return _watched(scene, cgroup=path, cpus=cpus | CpuSet(sorted(scene.owned)[:1]), seconds=1.0)


@flits("CPU-EXCLUSIVE")
def compute_shares_for_300_ms(scene: Scene) -> Watched:
    """The cpuset of compute is that of the shared pool for 300 ms."""
    assert scene.compute.cgroup is not None
    return _watched(scene, cgroup=scene.compute.cgroup, cpus=scene.state.default)


@flits("CPU-EXCLUSIVE")
def given_twice_for_a_second(scene: Scene) -> Watched:
    """The checkpoint gives a pCPU of compute to another pod, too, for one second."""
    owned = CpuSet(sorted(scene.owned)[:1])
    return _watched(scene, given={("another-pod", "main"): owned}, seconds=1.0)


@flits("CPU-EXCLUSIVE")
def entry_gone_for_a_second(scene: Scene) -> Watched:
    """The checkpoint has no CPU for compute for one second."""
    return _watched(scene, given={(scene.launcher.uid, scene.compute.name): CpuSet()}, seconds=1.0)


@flits("CPU-EXCLUSIVE")
def pool_takes_cpus_for_a_second(scene: Scene) -> Watched:
    """The shared pool of the checkpoint has the pCPUs of compute, too, for one second."""
    return _watched(scene, pool=scene.state.default | scene.owned, seconds=1.0)


@flits("CPU-QUOTA")
def pod_is_held_back_for_a_moment(scene: Scene) -> Watched:
    """A quota of the launcher's pod holds compute back, and is gone before a snapshot comes."""
    assert scene.compute.cgroup is not None
    return _watched(scene, held=scene.compute.cgroup.rpartition("/")[0])


@flits("EMU-ISOLATED")
def helper_on_a_vcpu_for_300_ms(scene: Scene) -> Watched:
    """A thread of the emulator may run on the pCPU of a vCPU for 300 ms."""
    pcpu = min(_vcpus(scene).values(), key=lambda each: each.tid).affinity
    return _watched(scene, thread=_isolated(scene, "call_rcu"), cpus=pcpu)


@flits("IOT-ISOLATED")
def iothread_on_a_vcpu_for_300_ms(scene: Scene) -> Watched:
    """An IOThread may run on the pCPU of a vCPU for 300 ms."""
    pcpu = min(_vcpus(scene).values(), key=lambda each: each.tid).affinity
    return _watched(scene, thread=_isolated(scene, "IO iothread"), cpus=pcpu)
