"""The threads of a compute container: which are vCPUs, the emulator's, the launcher's, a guest's.

QEMU names its threads (``CPU n/ACCEL``, ``IO iothreadN``); whose another process is, its
ancestry tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.checks.comparison import NotApplicable, Unobserved
from conformance.checks.witnesses import compute, live, require_running, silent
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Container, LivePins, Snapshot, Thread
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import LIBVIRT, PIT

_VCPU = re.compile(r"CPU (\d+)/(KVM|TCG)")
_OTHER_VCPU = re.compile(r"(CPU \d+|ALL CPUs)/")
_IOTHREAD = re.compile(r"IO iothread(\d+)")
_KERNEL_HELPERS = ("vhost-", "kvm-")
"""Kernel threads that work for a QEMU and join its cgroups; before Linux 6.4 (vhost) and 6.13 they
are processes of their own."""
_LAUNCHER = re.compile(
    r"virt-launcher|virt(qemu|log|lock|storage|secret|nodedev|proxy|iofs)d|libvirtd|"
    r"qemu-(system|kvm)|swtpm|passt"
)
"""Processes that belong in a compute container, by the beginning of their names."""
_ROLES = tuple(
    (re.compile(names), role)
    for names, role in (
        (r"vhost-\d+", "vhost worker"),
        (r"kvm-nx-", "huge page recovery of KVM"),
        (PIT, "timer of KVM"),
        (r"live_migration|multifd|mig/|return path|postcopy|colo", "migration of QEMU"),
        (r"iou-(wrk|sqp)-", "io_uring worker of QEMU"),
        (r"worker|thread-pool", "thread pool of QEMU"),
        (r"IO mon_iothread", "monitor of QEMU"),
        (r"IO iothread", "IOThread"),
        (r"call_rcu", "RCU of QEMU"),
        (r"vnc_worker|SPICE", "graphics of QEMU"),
        (r"qemu-(system|kvm)", "QEMU itself"),
        (r"vm-conformance-|vm-", "what libvirt watches QEMU with"),
        (r"virt-launcher", "launcher"),
        (r"virt(qemu|log|lock|storage|secret|nodedev|proxy)d|libvirtd", "libvirt"),
        (r"(prio-)?rpc-|gmain|pool-spawner", "libvirt"),
        (r"virtiofsd", "file system of the guest"),
        (r"swtpm", "TPM of the guest"),
        (r"passt", "network of the guest"),
    )
)
"""What a thread in a compute container is, by the beginning of its name (linux
drivers/vhost/vhost.c, arch/x86/kvm/mmu/mmu.c, io_uring/io-wq.c; qemu migration/ and
util/thread-pool.c; libvirt src/rpc and src/qemu)."""


@dataclass(frozen=True)
class Threads:
    """The threads of a compute container, sorted.

    Attributes:
        vcpus: by number of the vCPU.
        iothreads: by number of the IOThread.
        emulator: every other thread of QEMU, and kernel threads that work for it.
        others: of the launcher itself.
        observers: of processes that somebody started in the container from outside
            (exec, probes), and of their children: whoever looks must not see himself.
        orphans: of processes that may be such children, left by a parent that has ended.
        unknown: vCPU threads of an accelerator whose names are not known.
        emulated: the vCPUs are threads of a software emulation.
    """

    vcpus: Mapping[int, Thread]
    iothreads: Mapping[int, Thread]
    emulator: tuple[Thread, ...]
    others: tuple[Thread, ...]
    observers: tuple[Thread, ...]
    orphans: tuple[Thread, ...]
    unknown: tuple[Thread, ...]
    emulated: bool


def called(thread: Thread) -> str:
    """How a thread is called in a finding: its name, what it is where that is known, its id."""
    role = next((role for names, role in _ROLES if names.match(thread.name)), "")
    return f"{thread.name} ({role}{', ' if role else ''}{thread.tid})"


def threads(snapshot: Snapshot) -> Threads:
    """The real threads of the compute container."""
    require_running(snapshot)
    container = compute(snapshot)
    if not container.threads:
        raise silent(
            snapshot, "threads", "cgroups", default="no thread of the compute container was read"
        )
    return snapshot.inside.once(sorted_threads)


def sorted_threads(container: Container | None) -> Threads:
    """The threads of a container, sorted as those of a compute container."""
    found = container.threads if container else ()
    vcpus = {int(m[1]): t for t in found if (m := _VCPU.fullmatch(t.name))}
    numbered = {t.tid for t in vcpus.values()}
    unknown = [t for t in found if t.tid not in numbered and _OTHER_VCPU.match(t.name)]
    qemus = {thread.pid for thread in (*vcpus.values(), *unknown)}
    iothreads = {int(m[1]): t for t in found if t.pid in qemus and (m := _IOTHREAD.match(t.name))}
    known = {t.tid for t in (*vcpus.values(), *iothreads.values(), *unknown)}
    # The kernel's own, which virt-handler pins beside vCPU 0.
    known |= {t.tid for t in found if t.name.startswith(PIT)}
    rest = [thread for thread in found if thread.tid not in known]
    emulator = [t for t in rest if t.pid in qemus or t.name.startswith(_KERNEL_HELPERS)]
    helpers = {thread.tid for thread in emulator}
    others = [t for t in rest if t.tid not in helpers]
    strangers, orphans = _strangers(found, qemus)
    return Threads(
        vcpus=vcpus,
        iothreads=iothreads,
        emulator=tuple(emulator),
        others=tuple(t for t in others if t.pid not in strangers | orphans),
        observers=tuple(t for t in others if t.pid in strangers),
        orphans=tuple(t for t in others if t.pid in orphans),
        unknown=tuple(unknown),
        emulated=any(thread.name.endswith("/TCG") for thread in (*vcpus.values(), *unknown)),
    )


def unasked(snapshot: Snapshot, expectation: Expectation) -> bool:
    """Whether libvirt was not asked on purpose, so that the kernel alone says who runs where."""
    return snapshot.live is None and LIBVIRT in expectation.unasked


def pins(snapshot: Snapshot, expectation: Expectation) -> LivePins:
    """Where vCPUs, emulator and IOThreads belong: by libvirt, or where it was not asked, by the
    affinities of their threads.

    Raises Unobserved where neither says it of all of them, and NotApplicable as `refuse_swept`.
    """
    if not unasked(snapshot, expectation):
        return live(snapshot)
    found = threads(snapshot)
    refuse_swept(found, snapshot, expectation)
    for missed, what in (
        (found.unknown, "vCPU threads of an accelerator that is not known"),
        (not found.vcpus, "no thread with the name of a vCPU"),
        (not found.emulator, "no thread of the emulator"),
    ):
        if missed:
            raise Unobserved(f"libvirt was not asked for pins, and in compute there are {what}")
    return LivePins(
        {vcpu: thread.affinity for vcpu, thread in found.vcpus.items()},
        CpuSet.union_of(thread.affinity for thread in found.emulator),
        {number: thread.affinity for number, thread in found.iothreads.items()},
        "threads of QEMU, /proc/PID/task/TID/status",
    )


def refuse_swept(found: Threads, snapshot: Snapshot, expectation: Expectation) -> None:
    """Raises NotApplicable when housekeeping took emulated vCPU threads along.

    virt-handler knows vCPU threads by their name, ``CPU n/KVM``; those of a software
    emulation are called ``CPU n/TCG`` and are moved like any other (kubevirt
    pkg/virt-handler/cgroup). That is a limit of emulated guests, not of the cluster.
    """
    root = compute(snapshot).cgroup
    swept = any(thread.cgroup != root for thread in found.vcpus.values())
    if found.emulated and swept and expectation.isolate_emulator:
        raise NotApplicable(
            "the guest runs under software emulation (threads CPU n/TCG), whose vCPU threads "
            "virt-handler takes for others and moves to housekeeping"
        )


def _strangers(found: Sequence[Thread], qemus: set[int]) -> tuple[set[int], set[int]]:
    """Processes that were not started by the container's first one, and those that may be such.

    The parent of the first kind is outside, as is that of the first process itself, which is
    number 1 in its PID namespace; their children are of their kind. When a parent ends, its
    children become those of number 1: then only a name can tell whose they are.
    """
    mains = {t.pid: t for t in found if t.tid == t.pid}
    helpers = {pid for pid, t in mains.items() if t.name.startswith(_KERNEL_HELPERS)}
    outside = {pid for pid, t in mains.items() if t.parent is not None and t.parent not in mains}
    outside -= helpers
    if any(t.inner_pid for t in mains.values()):
        first = {pid for pid in outside if mains[pid].inner_pid == 1}
        if not first:
            return set(), _descended(outside - qemus, mains, qemus)
        roots = outside - qemus - first
    else:
        # Nothing tells who is number 1: every process that the runtime started looks alike.
        first = set(sorted(outside)[:1])
        roots = {p for p in outside - qemus - first if not _LAUNCHER.match(mains[p].name)}
    strangers = _descended(roots, mains, qemus)
    left = {
        pid
        for pid, t in mains.items()
        if t.parent in first and pid not in qemus | helpers and not _LAUNCHER.match(t.name)
    }
    return strangers, _descended(left, mains, qemus) - strangers


def _descended(roots: set[int], mains: Mapping[int, Thread], but: set[int]) -> set[int]:
    found = set(roots)
    while more := {p for p, t in mains.items() if t.parent in found and p not in found | but}:
        found |= more
    return found
