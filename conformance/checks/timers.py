"""The timer of a guest, a kernel thread that belongs to no cgroup of it: ``kvm-pit/N``.

virt-handler lets it run where vCPU 0 does, isolated emulator or not (kubevirt
pkg/hypervisor/kvm/runtime.go, affinePitThread). It finds it by N, the number that QEMU has in its
own PID namespace, which QEMUs of several launchers may have at once. It does so before a VMI is
Running, as one is that comes by a migration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import Loop, check, dedicated_vmi
from conformance.checks.threads import Threads, called, sorted_threads, threads
from conformance.checks.witnesses import compute, node, silent, thread_source
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Container, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import PIT, RUNNING


@check(
    "EMU-PIT",
    moment=RUNNING,
    applies=dedicated_vmi,
    settles=Loop.SWEEP,
    look="Look at taskset -p of the kernel thread on the node, and at virt-handler's log.",
)
def timer_runs_beside_vcpu_0(
    snapshot: Snapshot,
    expectation: Expectation,  # noqa: ARG001 - every check has it
    seen: Comparison,
) -> str:
    """The timer may run where vCPU 0 may, and nowhere else."""
    found, container = threads(snapshot), compute(snapshot)
    if found.emulated:
        raise NotApplicable("the guest runs under software emulation: KVM has no timer of it")
    vcpu, number = found.vcpus.get(0), _number(container, found)
    if vcpu is None or number is None:
        raise Unobserved("no thread of vCPU 0 and of QEMU itself was seen")
    timers = node(snapshot).timers
    if timers is None:
        raise silent(snapshot, "host", "files", default="kernel threads were not looked at")
    own = [each for each in timers if each.name == f"{PIT}{number}"]
    if not own:
        raise NotApplicable(f"no kernel thread {PIT}{number} was seen: KVM is no timer of it")
    seen.saw("vCPU 0", vcpu.affinity, thread_source(vcpu))
    for each in own:
        seen.saw(f"{each.name} ({each.pid})", each.affinity, f"/proc/{each.pid}/status")
    beside = Counter(_first_vcpus(snapshot, number))
    if len(own) > 1 or beside.total() > 1:
        # Each of them has its own where each place has one.
        if beside == Counter(each.affinity for each in own):
            return f"each of {len(own)} threads {PIT}{number} runs where a vCPU 0 does"
        raise Unobserved(
            f"{len(own)} kernel threads are called {PIT}{number}, of {beside.total()} guests, and "
            "which of them is whose is not known"
        )
    (timer,) = own
    moved = snapshot.vmi.migration if snapshot.vmi else None
    came = moved is not None and moved.succeeded
    # Of a vCPU that was moved since, other requirements speak.
    if timer.affinity not in {vcpu.affinity, *_pins(snapshot)}:
        seen.wrong(
            f"{called(timer)} may run on {timer.affinity} (/proc/{timer.pid}/status) instead of "
            f"where vCPU 0 does, {vcpu.affinity} ({thread_source(vcpu)})"
            + (f", since it migrated from node {moved.source}" if moved and came else ""),
            known=came or _beside_others(snapshot),
        )
    return f"{called(timer)} runs where vCPU 0 does, on {vcpu.affinity}"


def _beside_others(snapshot: Snapshot) -> bool:
    """Whether other guests are on the node, or were: their timers may have the same name."""
    own = {thread.tid for thread in threads(snapshot).vcpus.values()}
    watches = snapshot.life.watches if snapshot.life else ()
    return (
        bool(snapshot.given_back)
        or any(0 in sorted_threads(c).vcpus for c in _others(snapshot))
        or any(
            each.name.startswith("CPU 0/") and each.tid not in own
            for watch in watches
            for each in watch.threads
        )
    )


def _others(snapshot: Snapshot) -> Iterator[Container]:
    uid = snapshot.pod.uid if snapshot.pod else ""
    return (each for pod in snapshot.pods if pod.uid != uid for each in pod.containers)


def _pins(snapshot: Snapshot) -> Iterator[CpuSet]:
    """Where vCPU 0 belongs, by libvirt."""
    for said in (snapshot.live, snapshot.domain):
        if said is not None and 0 in said.vcpu_pins:
            yield said.vcpu_pins[0]


def _number(container: Container, found: Threads) -> int | None:
    """What QEMU is called in its own PID namespace; what the node calls it where that is all."""
    pids = {thread.pid for thread in found.vcpus.values()}
    mains = [each for each in container.threads if each.tid == each.pid and each.pid in pids]
    return next((each.inner_pid or each.pid for each in mains), None)


def _first_vcpus(snapshot: Snapshot, number: int) -> Iterator[CpuSet]:
    """Where vCPU 0 may run, of each guest on the node whose QEMU has this number."""
    for pod in snapshot.pods:
        for container in pod.containers:
            found = sorted_threads(container)
            if 0 in found.vcpus and _number(container, found) == number:
                yield found.vcpus[0].affinity
