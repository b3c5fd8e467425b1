"""IOThreads: inside the container's pCPUs, and beside the isolated emulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import Loop, check, dedicated_vmi, isolated
from conformance.checks.threads import Threads, pins, threads, unasked
from conformance.checks.watched import iothreads_stayed_away
from conformance.checks.witnesses import (
    compute,
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


def _pooled(expectation: Expectation) -> bool:
    return dedicated_vmi(expectation) and bool(expectation.supplemental_iothreads)


def _among_vcpus(expectation: Expectation) -> bool:
    """Whether its IOThreads have neither pCPUs of their own nor those of an emulator."""
    alone = expectation.isolate_emulator or expectation.supplemental_iothreads
    return _has_iothreads(expectation) and not alone


def _has_own_iothreads(expectation: Expectation) -> bool:
    return _has_iothreads(expectation) and bool(expectation.own_iothreads)


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
        iothread = f"IOThread {number}"
        places = [
            (answered, f"{iothread} by libvirt", f"libvirt pins {iothread} to", said.source),
            (
                declared,
                f"{iothread} by the domain XML",
                f"the domain XML pins {iothread} to",
                "<iothreadpin>",
            ),
        ]
        if thread is None:
            seen.missing(f"no thread of IOThread {number} was seen in QEMU")
        else:
            what = f"thread {thread.name}"
            places.append((thread.affinity, what, f"{what} may run on", thread_source(thread)))
        for cpus, what, where, source in places:
            if cpus is not None:
                seen.saw(what, cpus, source)
                if not cpus <= allowed:
                    outside = _outside(cpus, allowed, said.vcpu_pins)
                    seen.wrong(f"{where} {cpus}, {outside} {name} {allowed} ({source})")
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
                f"thread {thread.name} may run on {thread.affinity}, {outside} {name} {allowed} "
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
    emulator, vcpus = said.emulator_pin, exclusive_pins(said, snapshot)
    seen.saw("emulator", emulator, f"emulatorpin, {said.source}")
    seen.saw("vCPUs", vcpus, f"vcpupin, {said.source}")
    number = _judge(snapshot, expectation, emulator, "the emulator's", seen)
    for iothread, cpus in sorted(said.iothread_pins.items()):
        if cpus & vcpus:
            seen.wrong(f"IOThread {iothread} shares pCPU {cpus & vcpus} with vCPUs ({said.source})")
    iothreads_stayed_away(snapshot, vcpus, seen)
    return f"{number} IOThreads run on the emulator's {emulator}, away from vCPUs on {vcpus}"


@check(
    "IOT-POOL",
    moment=RUNNING,
    applies=_pooled,
    look="Look at <iothreadpin> of the domain, virsh iothreadinfo, and the cgroup of the threads "
    "IO iothreadN.",
)
def pooled_iothreads_have_pcpus_of_their_own(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """Each IOThread of the pool has one pCPU, which no vCPU, emulator or other IOThread has."""
    xml, allowed = domain(snapshot), saw_cpuset(snapshot, seen)
    source = f"domain XML, {xml.source}"
    vcpus = CpuSet.union_of(xml.vcpu_pins.values())
    taken = dict.fromkeys(vcpus, "a vCPU")
    # Without isolation the emulator shares the whole container.
    if expectation.isolate_emulator:
        taken |= dict.fromkeys(xml.emulator_pin or CpuSet(), "the emulator")
    seen.saw("vCPUs", vcpus, f"<vcpupin>, {source}")
    seen.saw("IOThreads", len(xml.iothreads), f"<iothreads>, {source}")
    if len(xml.iothreads) != expectation.supplemental_iothreads:
        seen.wrong(
            f"the domain has {len(xml.iothreads)} IOThreads instead of the "
            f"{expectation.supplemental_iothreads} of the supplemental pool ({source})"
        )
    found = threads(snapshot)
    for number in sorted(xml.iothreads):
        pin = xml.iothread_pins.get(number, CpuSet())
        seen.saw(f"IOThread {number}", pin or "no pin", f"<iothreadpin>, {source}")
        if len(pin) != 1 or not pin <= allowed:
            seen.wrong(
                f"IOThread {number} of the pool is pinned to {pin or 'nothing'} instead of one "
                f"pCPU of compute's {allowed} ({source})"
            )
        for cpu in pin:
            if cpu in taken:
                seen.wrong(f"IOThread {number} shares pCPU {cpu} with {taken[cpu]} ({source})")
            taken.setdefault(cpu, f"IOThread {number}")
        thread = found.iothreads.get(number)
        if thread is None:
            seen.missing(f"no thread of IOThread {number} was seen in QEMU")
            continue
        # Releases sweep them into housekeeping, where the emulator's pCPUs are all there is.
        swept = expectation.isolate_emulator and thread.cgroup != compute(snapshot).cgroup
        seen.saw(f"thread {thread.name}", thread.affinity, thread_source(thread))
        if thread.affinity != pin:
            seen.wrong(
                f"thread {thread.name} may run on {thread.affinity} instead of its own "
                f"{pin or 'pCPU'} ({thread_source(thread)})",
                known=swept,
            )
    return f"{len(xml.iothreads)} IOThreads of the pool have a pCPU each, apart from all others"


@check(
    "IOT-SPREAD",
    moment=RUNNING,
    applies=_among_vcpus,
    look="Look at <iothreadpin> of the domain with virsh dumpxml.",
)
def iothreads_are_spread_over_the_pcpus(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """One pCPU each, in turn, where there are as many IOThreads; else shares of equal size."""
    xml, allowed = domain(snapshot), saw_cpuset(snapshot, seen)
    source = f"domain XML <iothreadpin>, {xml.source}"
    pins = {number: xml.iothread_pins.get(number, CpuSet()) for number in sorted(xml.iothreads)}
    if not pins:
        raise Unobserved(f"the domain has no IOThread ({xml.source})")
    for number, pin in pins.items():
        seen.saw(f"IOThread {number}", pin or "no pin", source)
        if not pin:
            seen.wrong(f"IOThread {number} is not pinned ({source})")
        if not pin <= allowed:
            seen.wrong(f"IOThread {number} is pinned to {pin}, outside of {allowed} ({source})")
    many = len(pins) >= expectation.vcpus
    if many and (wide := [number for number, pin in pins.items() if len(pin) > 1]):
        seen.wrong(
            f"IOThreads {CpuSet(wide)} are pinned to several pCPUs, although there are "
            f"{len(pins)} IOThreads for {expectation.vcpus} vCPUs ({source})"
        )
    loads = Counter(cpu for pin in pins.values() for cpu in pin)
    if (most := max(loads.values(), default=0)) > -(-len(pins) // expectation.vcpus):
        crowded = CpuSet(cpu for cpu, load in loads.items() if load == most)
        seen.wrong(
            f"{most} IOThreads are pinned to pCPU {crowded}, while {len(pins)} are to be spread "
            f"over {expectation.vcpus} pCPUs ({source})"
        )
    sizes = sorted({len(pin) for pin in pins.values()})
    if sizes[-1] - sizes[0] > 1:
        seen.wrong(f"the shares of the IOThreads are {sizes} pCPUs: they differ ({source})")
    return f"{len(pins)} IOThreads are spread over {len(loads)} pCPUs"


@check(
    "IOT-DISKS",
    moment=RUNNING,
    applies=_has_own_iothreads,
    look="Look at <driver iothread> of each disk with virsh dumpxml.",
)
def disks_have_iothreads_of_their_own(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """Whoever asks for an IOThread of its own has one, and shares it with no other disk."""
    xml = domain(snapshot)
    if xml.disk_iothreads is None:
        raise Unobserved(f"the domain XML was recorded without disks ({xml.source})")
    source = f"domain XML <disk><driver>, {xml.source}"
    for name, used in sorted(xml.disk_iothreads.items()):
        seen.saw(f"IOThreads of disk {name}", CpuSet(used) or "none", source)
    for name in expectation.own_iothreads:
        own = xml.disk_iothreads.get(name)
        if own is None:
            seen.missing(f"the domain XML has no disk that is called {name} ({xml.source})")
            continue
        if len(own) != 1:
            seen.wrong(f"disk {name} has {len(own)} IOThreads instead of its own one ({source})")
        for other, used in sorted(xml.disk_iothreads.items()):
            if other != name and own & used:
                seen.wrong(
                    f"disk {other} uses IOThread {CpuSet(own & used)} of disk {name}, which is to "
                    f"be its alone ({source})"
                )
    return f"{', '.join(expectation.own_iothreads)}: an IOThread each that no other disk uses"
