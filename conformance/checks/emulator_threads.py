"""The emulator thread and everything else of QEMU, kept off the vCPUs' pCPUs."""

from __future__ import annotations

from conformance.checks.comparison import Comparison
from conformance.checks.registry import Loop, check, isolated
from conformance.checks.threads import Threads, called, pins, refuse_swept, threads, unasked
from conformance.checks.vcpu_pinning import unknown_vcpus
from conformance.checks.watched import emulator_stayed_away
from conformance.checks.witnesses import (
    CGROUPS,
    compute,
    domain,
    exclusive_pins,
    saw_cpuset,
    thread_source,
    unread,
)
from conformance.model.evidence import LivePins, Snapshot, Thread
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING

HOUSEKEEPING = "housekeeping"
_NAMED = 4
"""vCPUs that are named of one thread, at the most."""


@check(
    "EMU-ISOLATED",
    moment=RUNNING,
    applies=isolated,
    settles=Loop.SWEEP,
    look="Look at virsh emulatorpin and at /proc/PID/task/*/status of QEMU.",
)
def emulator_has_its_own_pcpu(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """The emulator's pCPUs are as many as asked and its alone; its threads stay there."""
    by_threads = unasked(snapshot, expectation)
    said = pins(snapshot, expectation)
    emulator, vcpus = said.emulator_pin, exclusive_pins(said, snapshot)
    allowed = saw_cpuset(snapshot, seen)
    source = said.source
    seen.saw("emulator", emulator, source if by_threads else f"emulatorpin, {source}")
    seen.saw("vCPUs", vcpus, source if by_threads else f"vcpupin, {source}")
    if len(emulator) != expectation.emulator_cpus:
        seen.wrong(
            f"the emulator is pinned to {len(emulator)} pCPUs ({emulator}) instead of "
            f"{expectation.emulator_cpus} ({source})",
            # libvirt pins before the guest runs, and nothing sweeps that.
            final=not by_threads,
            doubt=expectation.doubts.get("emulator"),
        )
    if emulator & vcpus:
        seen.wrong(
            f"the emulator is pinned to {emulator}, which shares pCPU {emulator & vcpus} with "
            f"vCPUs ({source})"
        )
    if not emulator <= allowed:
        seen.wrong(f"the emulator is pinned to {emulator}, outside of compute's cpuset {allowed}")
    found = threads(snapshot)
    _all_is_known(found, snapshot, seen)
    if not found.emulator:
        seen.missing("no thread of QEMU besides vCPUs and IOThreads was seen")
    for thread in found.emulator:
        seen.saw(f"thread {thread.name}", thread.affinity, thread_source(thread))
        if not thread.affinity <= emulator:
            seen.wrong(
                f"{called(thread)} may run on {thread.affinity}, outside of the emulator's "
                f"{emulator}{_beside(thread, said, snapshot)} ({thread_source(thread)})"
            )
    emulator_stayed_away(snapshot, vcpus, seen)
    return f"{len(found.emulator)} threads of QEMU stay on {emulator}, away from vCPUs on {vcpus}"


@check(
    "EMU-HOUSEKEEPING",
    moment=RUNNING,
    applies=isolated,
    settles=Loop.SWEEP,
    look="Look at cgroup.threads of the container and of its child housekeeping, then at "
    "virt-handler's log.",
)
def only_vcpus_stay_in_the_root(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """Child ``housekeeping`` has the emulator's cpuset; the root holds only vCPU threads."""
    container, found, said = compute(snapshot), threads(snapshot), pins(snapshot, expectation)
    by_threads = unasked(snapshot, expectation)
    if not by_threads:
        domain(snapshot)
    root = f"{CGROUPS}{container.cgroup}"
    asked = said.source if by_threads else f"emulatorpin, {said.source}"
    seen.saw("emulator", said.emulator_pin, asked)
    cpus = container.children.get(HOUSEKEEPING)
    hidden = [
        why
        for why in unread(snapshot, container)
        if container.unplaced or f"/{HOUSEKEEPING}/" in why
    ]
    # Whoever sits in it proves that it is there.
    if any(thread.cgroup == f"{container.cgroup}/{HOUSEKEEPING}" for thread in container.threads):
        hidden.append(f"no cpuset.cpus.effective of {root}/{HOUSEKEEPING}, where threads are")
    if cpus is None and hidden:
        seen.missing(f"{HOUSEKEEPING} was not read: {hidden[0]}")
    elif cpus is None:
        names = ", ".join(sorted(container.children)) or "none"
        seen.saw("children of the container's cgroup", names, root)
        seen.wrong(
            f"the cgroup of compute has no child {HOUSEKEEPING}; its children: {names} ({root})"
        )
    else:
        source = f"{root}/{HOUSEKEEPING}/cpuset.cpus.effective"
        seen.saw(HOUSEKEEPING, cpus, source)
        # Where the threads may run is what the cpuset leaves of the pins.
        if not (said.emulator_pin <= cpus if by_threads else cpus == said.emulator_pin):
            seen.wrong(
                f"the cpuset of {HOUSEKEEPING} is {cpus} ({source}) instead of the emulator's "
                f"{said.emulator_pin}"
            )
    refuse_swept(found, snapshot, expectation)
    _all_is_known(found, snapshot, seen)
    if not found.vcpus:
        seen.missing("no vCPU thread was seen, so that nothing says who belongs in the root")
    for thread in found.orphans:
        if thread.cgroup == container.cgroup:
            seen.missing(
                f"{thread.name!r} ({thread.tid}) sits in the root of compute's cgroup, and whether "
                "the launcher started it or somebody's exec is not known: its parent is the "
                "container's first process"
            )
    rest = [*found.iothreads.values(), *found.emulator, *found.others]
    stayed = [thread for thread in rest if thread.cgroup == container.cgroup]
    seen.saw(
        "threads in the root besides vCPUs",
        ", ".join(f"{t.name} ({t.tid})" for t in stayed) or "none",
        f"{root}/cgroup.threads",
    )
    if stayed and found.vcpus:
        names = ", ".join(called(thread) for thread in stayed[:5])
        seen.wrong(
            f"{len(stayed)} threads that are no vCPUs sit in the root of compute's cgroup, such "
            f"as {names} ({root}/cgroup.threads)"
        )
    _note_observers(found, seen)
    swept = sorted(v for v, t in found.vcpus.items() if t.cgroup != container.cgroup)
    if swept:
        seen.wrong(f"the threads of vCPUs {swept} were moved out of the root ({root})")
    return f"only {len(found.vcpus)} vCPU threads are in the root, {HOUSEKEEPING} has {cpus}"


def _beside(thread: Thread, said: LivePins, snapshot: Snapshot) -> str:
    """Whose pCPUs a thread may run on, in words."""
    xml = snapshot.domain
    found = [
        f"pCPU {thread.affinity & cpus} of vCPU {vcpu}"
        for vcpu, cpus in sorted(said.vcpu_pins.items())
        if thread.affinity & cpus and (xml is None or vcpu in xml.enabled)
    ]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f" and on {', '.join(found[:_NAMED])}{more}" if found else ""


def _note_observers(found: Threads, seen: Comparison) -> None:
    for thread in found.observers:
        if thread.tid == thread.pid:
            seen.note(f"{thread.name} ({thread.pid}) was started in compute from outside")


def _all_is_known(found: Threads, snapshot: Snapshot, seen: Comparison) -> None:
    """Notes what may be a thread of the emulator, or of a vCPU, and cannot be told."""
    if found.unknown:
        seen.missing(unknown_vcpus(found))
    for why in unread(snapshot, compute(snapshot)):
        seen.missing(f"not all of compute was read: {why}")
