"""IOThreads: inside the container's pCPUs, and beside the isolated emulator."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.checks.comparison import Comparison
from conformance.checks.registry import Loop, check, dedicated_vmi, isolated
from conformance.checks.threads import Threads, pins, threads, unasked
from conformance.checks.watched import iothreads_stayed_away
from conformance.checks.witnesses import (
    domain,
    exclusive_pins,
    saw_cpuset,
    thread_source,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING


def _has_iothreads(expectation: Expectation) -> bool:
    return dedicated_vmi(expectation) and expectation.iothreads_policy != "none"


def _isolated_auto(expectation: Expectation) -> bool:
    return isolated(expectation) and expectation.iothreads_policy == "auto"


def _judge(
    snapshot: Snapshot, expectation: Expectation, allowed: CpuSet, name: str, seen: Comparison
) -> int:
    """Objects to pins and affinities of IOThreads that leave a set; their number."""
    if unasked(snapshot, expectation):
        return _judge_threads(threads(snapshot), allowed, name, seen)
    xml, said, found = domain(snapshot), pins(snapshot, expectation), threads(snapshot)
    ids = sorted(xml.iothreads | set(said.iothread_pins) | set(found.iothreads))
    wanted = expectation.iothreads
    if not ids or (wanted is not None and len(ids) != wanted):
        seen.saw("IOThreads", len(ids), f"domain XML <iothreads>, {xml.source}")
        seen.wrong(
            f"the domain has {len(ids)} IOThreads instead of {wanted or 'at least one'}, with "
            f"ioThreadsPolicy {expectation.iothreads_policy} ({xml.source})"
        )
    for number in ids:
        thread = found.iothreads.get(number)
        declared = xml.iothread_pins.get(number)
        # Of a thread without a pin libvirt says every CPU; where it runs, the kernel says.
        answered = said.iothread_pins.get(number) if declared is not None else None
        places = [
            (answered, f"IOThread {number} by libvirt", said.source),
            (declared, f"IOThread {number} by the domain XML", "<iothreadpin>"),
        ]
        if thread is None:
            seen.missing(f"no thread of IOThread {number} was seen in QEMU")
        else:
            places.append((thread.affinity, f"thread {thread.name}", thread_source(thread)))
        for cpus, what, source in places:
            if cpus is not None:
                seen.saw(what, cpus, source)
                if not cpus <= allowed:
                    outside = _outside(cpus, allowed, said.vcpu_pins)
                    seen.wrong(f"{what} is on {cpus}, {outside} {name} {allowed} ({source})")
    return len(ids)


def _judge_threads(found: Threads, allowed: CpuSet, name: str, seen: Comparison) -> int:
    """As `_judge`, of the threads alone: how many IOThreads there should be only libvirt says."""
    if not found.iothreads:
        seen.missing("libvirt was not asked for IOThreads, and no thread has the name of one")
    for number, thread in sorted(found.iothreads.items()):
        source = thread_source(thread)
        seen.saw(f"thread {thread.name} of IOThread {number}", thread.affinity, source)
        if not thread.affinity <= allowed:
            outside = _outside(thread.affinity, allowed, {})
            seen.wrong(
                f"thread {thread.name} is on {thread.affinity}, {outside} {name} {allowed} "
                f"({source})"
            )
    return len(found.iothreads)


def _outside(cpus: CpuSet, allowed: CpuSet, vcpus: Mapping[int, CpuSet]) -> str:
    """What of some CPUs is outside of a set, and whose it is, in words that end before the set."""
    outside = cpus - allowed
    owners = [number for number, pin in vcpus.items() if len(pin) == 1 and pin <= outside]
    of = f"the pCPU of vCPU {CpuSet(owners)}, " if owners else ""
    which = f"of which {outside}, {of}is " if cpus & allowed else of
    return f"{which}outside of"


@check(
    "IOT-WITHIN",
    moment=RUNNING,
    applies=_has_iothreads,
    look="Look at virsh iothreadinfo and at the cpuset of the container.",
)
def iothreads_stay_inside(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """Pins and affinities of IOThreads are within compute's cpuset."""
    allowed = saw_cpuset(snapshot, seen)
    number = _judge(snapshot, expectation, allowed, "compute's cpuset", seen)
    return f"{number} IOThreads stay within compute's cpuset {allowed}"


@check(
    "IOT-ISOLATED",
    moment=RUNNING,
    applies=_isolated_auto,
    settles=Loop.SWEEP,
    look="Look at virsh iothreadinfo and emulatorpin.",
)
def iothreads_join_the_emulator(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """IOThreads are on the emulator's pCPUs, away from those of vCPUs."""
    said = pins(snapshot, expectation)
    emulator, vcpus = said.emulator_pin, exclusive_pins(said.vcpu_pins)
    seen.saw("emulator", emulator, f"emulatorpin, {said.source}")
    seen.saw("vCPUs", vcpus, f"vcpupin, {said.source}")
    number = _judge(snapshot, expectation, emulator, "the emulator's", seen)
    for iothread, cpus in sorted(said.iothread_pins.items()):
        if cpus & vcpus:
            seen.wrong(f"IOThread {iothread} shares pCPU {cpus & vcpus} with vCPUs ({said.source})")
    iothreads_stayed_away(snapshot, vcpus, seen)
    return f"{number} IOThreads run on the emulator's {emulator}, away from vCPUs on {vcpus}"
