"""One vCPU, one pCPU: by the domain XML, by live libvirt, by the real threads, by cgroups."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import check, dedicated_vmi
from conformance.checks.threads import Threads, refuse_swept, threads, unasked
from conformance.checks.watched import threads_stayed
from conformance.checks.witnesses import (
    CGROUPS,
    compute,
    compute_cpuset,
    cpuset_source,
    domain,
    live,
    saw_cpuset,
    thread_source,
    unread,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot, Thread
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING


def one_to_one(pins: Mapping[int, CpuSet], allowed: CpuSet, source: str, seen: Comparison) -> None:
    """Objects to vCPUs that have not one pCPU each, for themselves, within a set."""
    owners: dict[int, int] = {}
    for vcpu, cpus in sorted(pins.items()):
        seen.saw(f"vCPU {vcpu}", cpus, source)
        if len(cpus) != 1:
            seen.wrong(f"vCPU {vcpu} is pinned to {cpus}, not to exactly one pCPU ({source})")
        if not cpus <= allowed:
            seen.wrong(
                f"vCPU {vcpu} is pinned to {cpus}, outside of compute's cpuset {allowed} ({source})"
            )
        for cpu in sorted(cpus):
            if cpu in owners:
                seen.wrong(f"vCPUs {owners[cpu]} and {vcpu} share pCPU {cpu} ({source})")
            owners.setdefault(cpu, vcpu)


@check(
    "PIN-XML",
    moment=RUNNING,
    applies=dedicated_vmi,
    look="Look at <vcpu>, <vcpus> and <cputune> of the domain with virsh dumpxml.",
)
def xml_pins_every_vcpu(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """Every enabled vCPU has a ``<vcpupin>`` of one pCPU of its own."""
    xml = domain(snapshot)
    allowed = saw_cpuset(snapshot, seen)
    seen.saw("enabled vCPUs", xml.enabled, f"domain XML <vcpu>, {xml.source}")
    if len(xml.enabled) != expectation.vcpus:
        seen.wrong(
            f"the domain XML enables {len(xml.enabled)} vCPUs ({xml.enabled}) instead of "
            f"{expectation.vcpus} ({xml.source})"
        )
    unpinned = xml.enabled - xml.vcpu_pins
    if unpinned:
        seen.wrong(f"the domain XML has no <vcpupin> for vCPU {unpinned} ({xml.source})")
    pins = {vcpu: cpus for vcpu, cpus in xml.vcpu_pins.items() if vcpu in xml.enabled}
    one_to_one(pins, allowed, f"domain XML <vcpupin>, {xml.source}", seen)
    return f"the domain XML pins {expectation.vcpus} vCPUs one to one within {allowed}"


@check(
    "PIN-LIVE",
    moment=RUNNING,
    applies=dedicated_vmi,
    look="Ask with virsh vcpupin, emulatorpin and iothreadinfo: somebody changed a pin, or "
    "the XML is out of date.",
)
def live_pins_are_those_of_the_xml(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """libvirt's live answers are what the domain XML says."""
    xml, answers = domain(snapshot), live(snapshot)
    if not xml.vcpu_pins and not answers.vcpu_pins:
        raise Unobserved(f"neither the domain XML nor libvirt knows a vCPU ({answers.source})")
    vcpus = {vcpu: xml.vcpu_pins.get(vcpu) for vcpu in sorted(xml.enabled)}
    _same("vCPU", vcpus, answers.vcpu_pins, answers.source, seen)
    # IOThreads without a pin in the XML may have any. Those of a supplemental pool are swept
    # into the housekeeping cgroup with everything else that is no vCPU.
    pool = bool(expectation.supplemental_iothreads and expectation.isolate_emulator)
    swept = answers.emulator_pin if pool else None
    _same("IOThread", xml.iothread_pins, answers.iothread_pins, answers.source, seen, swept=swept)
    cpuset = compute(snapshot).cpuset
    if xml.emulator_pin is None and cpuset is not None and answers.emulator_pin < cpuset:
        # Without a pin libvirt says every CPU.
        seen.saw("emulator by XML", "no pin", "domain XML <emulatorpin>")
        seen.wrong(
            f"the emulator is pinned to {answers.emulator_pin} ({answers.source}), but the "
            "domain XML says nothing"
        )
    if xml.emulator_pin is not None:
        seen.saw("emulator by XML", xml.emulator_pin, "domain XML <emulatorpin>")
        seen.saw("emulator, live", answers.emulator_pin, answers.source)
        if xml.emulator_pin != answers.emulator_pin:
            seen.wrong(
                f"the emulator is pinned to {answers.emulator_pin} ({answers.source}), but the "
                f"domain XML says {xml.emulator_pin}"
            )
    return f"libvirt answers the pins of the domain XML ({answers.source})"


def _same(
    what: str,
    by_xml: Mapping[int, CpuSet | None],
    answered: Mapping[int, CpuSet],
    source: str,
    seen: Comparison,
    *,
    swept: CpuSet | None = None,
) -> None:
    """Compares pin by pin; a release is known to have them on the swept CPUs instead."""
    for number, said in sorted(by_xml.items()):
        answer = answered.get(number)
        seen.saw(f"{what} {number} by XML", said or "no pin", f"domain XML <{what.lower()}pin>")
        seen.saw(f"{what} {number}, live", answer or "no answer", source)
        if said != answer:
            seen.wrong(
                f"{what} {number} is pinned to {answer or 'nothing'} ({source}), but the domain "
                f"XML says {said or 'nothing'}",
                known=answer is not None and answer == swept,
            )


@check(
    "PIN-THREADS",
    moment=RUNNING,
    applies=dedicated_vmi,
    look="Look at /proc/PID/task/*/status of QEMU on the node, and at who called "
    "sched_setaffinity or moved the thread to another cgroup.",
)
def threads_stay_on_their_pcpu(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """The affinity of each vCPU thread is the one pCPU that libvirt pinned it to."""
    found, allowed = vcpu_threads(snapshot, expectation), saw_cpuset(snapshot, seen)
    owners: dict[int, int] = {}
    pins = snapshot.live.vcpu_pins if snapshot.live else None
    if pins is None and not unasked(snapshot, expectation):
        seen.missing(snapshot.not_observed.get("live", "libvirt was not asked for the pins"))
    if len(found) != expectation.vcpus:
        seen.wrong(
            f"QEMU has {len(found)} vCPU threads (of vCPUs {CpuSet(found)}) instead of "
            f"{expectation.vcpus}",
            doubt=_unseen(snapshot),
        )
    for vcpu, thread in sorted(found.items()):
        cpus, source = thread.affinity, thread_source(thread)
        seen.saw(f"thread {thread.name} of vCPU {vcpu}", cpus, source)
        if len(cpus) != 1:
            seen.wrong(f"vCPU {vcpu} may run on {cpus}, not on exactly one pCPU ({source})")
        if not cpus <= allowed:
            seen.wrong(
                f"vCPU {vcpu} may run on {cpus}, outside of compute's cpuset {allowed} "
                f"({cpuset_source(compute(snapshot))}): {source}"
            )
        if pins is not None and pins.get(vcpu) != cpus:
            seen.wrong(
                f"vCPU {vcpu} may run on {cpus} ({source}), but libvirt says "
                f"{pins.get(vcpu, 'nothing')}"
            )
        for cpu in sorted(cpus):
            if cpu in owners:
                seen.wrong(f"vCPUs {owners[cpu]} and {vcpu} may both run on pCPU {cpu} ({source})")
            owners.setdefault(cpu, vcpu)
    threads_stayed(snapshot, found, seen)
    by = "for itself" if pins is None else "the one that libvirt says"
    return f"{len(found)} vCPU threads have one pCPU each, {by}"


def vcpu_threads(snapshot: Snapshot, expectation: Expectation) -> Mapping[int, Thread]:
    """The vCPU threads, known by their names.

    Raises NotApplicable where emulation makes them meaningless, and Unobserved where QEMU has
    none of a name that is known: it may not have come so far, or have another accelerator.
    """
    found = threads(snapshot)
    refuse_swept(found, snapshot, expectation)
    if found.unknown:
        raise Unobserved(unknown_vcpus(found))
    if not found.vcpus:
        domain(snapshot)
        names = sorted({thread.name for thread in (*found.emulator, *found.others)})
        raise Unobserved(
            "no thread of compute has the name of a vCPU, CPU n/KVM or CPU n/TCG; seen: "
            f"{', '.join(names[:10]) or 'none'}"
        )
    return found.vcpus


def unknown_vcpus(found: Threads) -> str:
    """Why threads that may be vCPUs are not judged."""
    names = ", ".join(f"{thread.name} ({thread.tid})" for thread in found.unknown[:5])
    return f"vCPU threads of an accelerator that is not known: {names}"


def _unseen(snapshot: Snapshot) -> str | None:
    """Why threads may be missing that are there; None when all were read."""
    container = compute(snapshot)
    reasons = unread(snapshot, container) or [
        f"thread {tid} is in its cgroup, and its status was not read" for tid in container.unseen
    ]
    return f"not all of compute was read: {reasons[0]}" if reasons else None


@check(
    "PIN-CGROUP",
    moment=RUNNING,
    applies=dedicated_vmi,
    look="Look at /proc/PID/task/TID/cgroup of the vCPU threads on the node.",
)
def threads_sit_in_the_containers_cgroup(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """Each vCPU thread is in a cgroup of compute whose cpuset holds its pCPU."""
    found = vcpu_threads(snapshot, expectation)
    container, cpuset = compute(snapshot), compute_cpuset(snapshot)
    wanted = snapshot.live.vcpu_pins if snapshot.live else {}
    if not wanted and not unasked(snapshot, expectation):
        why = "libvirt was not asked for the pins"
        seen.missing(snapshot.not_observed.get("live", why))
    if len(found) != expectation.vcpus:
        seen.wrong(
            f"the cgroup {container.cgroup} of compute holds {len(found)} vCPU threads (of vCPUs "
            f"{CpuSet(found)}) instead of {expectation.vcpus}",
            doubt=_unseen(snapshot),
        )
    for vcpu, thread in sorted(found.items()):
        child = thread.cgroup[len(container.cgroup or "") + 1 :]
        cpus = container.children.get(child) if child else cpuset
        source = f"{CGROUPS}{thread.cgroup}/cpuset.cpus.effective"
        if cpus is None:
            seen.missing(f"{source}, where vCPU {vcpu} sits, was not read")
            continue
        pcpu = wanted.get(vcpu, thread.affinity)
        seen.saw(f"cgroup of vCPU {vcpu}", cpus, source)
        seen.saw(f"pCPU of vCPU {vcpu}", pcpu, "live libvirt" if wanted else thread_source(thread))
        if not pcpu <= cpus or not cpus <= cpuset:
            seen.wrong(
                f"vCPU {vcpu} belongs on pCPU {pcpu} and sits in a cgroup whose cpuset is {cpus} "
                f"({source}), within compute's {cpuset}"
            )
    return f"{len(found)} vCPU threads sit in cgroups of compute that hold their pCPUs"
