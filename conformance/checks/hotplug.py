"""vCPUs that a VM may be given while it runs: the room for them, and what follows when it is asked.

KubeVirt plugs vCPUs in by a live migration to a launcher that has more CPUs (kubevirt
pkg/virt-controller/watch/vm, handleCPUChangeRequest; pkg/virt-handler/migration-target.go,
hotplugCPU). Where none takes place, the condition HotVCPUChange stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from conformance.checks import refusals
from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import check, dedicated_vmi, told
from conformance.checks.storytelling import at, owned, require_done, running
from conformance.checks.witnesses import compute, domain, guest, live, vmi
from conformance.model.evidence import Snapshot, Story, Vmi
from conformance.model.expectation import Expectation
from conformance.model.fields import SOCKETS, promised
from conformance.model.vocabulary import RUNNING

GROWING = "growing"
"""The VM of the story, and its VMI."""
FEW, MORE, TOO_MANY = 1, 2, 3
"""Sockets that it boots with, that it may grow to (maxSockets), and one more."""
EMULATOR = 1
"""CPUs of its emulator thread, which is isolated."""
ASKED = "sockets of the VirtualMachine are"
"""What the story notes when the API has taken another number of sockets."""
CHANGE, RESTART = "HotVCPUChange", "RestartRequired"
"""Conditions, of a VMI that is to get vCPUs and of a VM that would have to be restarted for it
(kubevirt api/core/v1/types.go)."""
_WITHOUT = frozenset({"aarch64"})
"""Architectures whose converter does not support hotplug (converter/arch/arm64.go)."""


@check(
    "PLUG-BOOT",
    moment=RUNNING,
    applies=lambda expectation: dedicated_vmi(expectation) and expectation.max_vcpus is not None,
    look="Look at <vcpu> and <vcpus> of the domain with virsh dumpxml, and at maxSockets of the "
    "VMI.",
)
def boots_with_room_to_grow(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """The domain may have the vCPUs of maxSockets, and has those of its sockets."""
    xml, most = domain(snapshot), expectation.max_vcpus
    if xml.architecture in _WITHOUT:
        raise NotApplicable(f"the guest is {xml.architecture}, which has no hotplug of CPUs")
    if xml.maximum is None:
        raise Unobserved(f"<vcpu> of the domain was not read ({xml.source})")
    seen.saw("vCPUs at the most", xml.maximum, f"domain XML <vcpu>, {xml.source}")
    seen.saw("enabled vCPUs", xml.enabled, f"domain XML <vcpus>, {xml.source}")
    if xml.maximum != most:
        seen.wrong(
            f"the domain may have {xml.maximum} vCPUs ({xml.source}) instead of the {most} of "
            "maxSockets"
        )
    if len(xml.enabled) != expectation.vcpus:
        seen.wrong(
            f"the domain has {len(xml.enabled)} vCPUs enabled ({xml.enabled}, {xml.source}) "
            f"instead of the {expectation.vcpus} of its sockets"
        )
    return f"{expectation.vcpus} of at the most {most} vCPUs are enabled"


@told(
    "PLUG-MAX",
    "hotplug",
    look="Ask again with a server-side dry run of the patch.",
)
def more_than_the_maximum_is_refused(story: Story, seen: Comparison) -> str:
    """KubeVirt refuses sockets above maxSockets for just that."""
    running(story, "before", GROWING, seen)
    found = at(story, "beyond", GROWING)
    refused = found.rejection
    if refused is None:
        require_done(found, f"{ASKED} {TOO_MANY}", seen)
        seen.wrong(
            f"the API took {TOO_MANY} sockets of a VirtualMachine whose maxSockets is {MORE}"
        )
        return ""
    other = refusals.somebody_else(refused)
    told_ = f"{refused.code} {refused.message}"
    if other is not None:
        raise Unobserved(f"the change was refused by {other}, which says nothing about it: {told_}")
    named = refusals.fields(refused)
    seen.saw("refused for", ", ".join(named) or "no field", "API, patch, Status.details.causes")
    if SOCKETS not in named:
        if wrong := [field for field in named if promised(field)]:
            seen.wrong(f"the change was refused for {', '.join(wrong)} instead of {SOCKETS}")
            return ""
        raise Unobserved(f"the change was refused for something else than {SOCKETS}: {told_}")
    return f"{TOO_MANY} sockets above maxSockets {MORE} were refused for {SOCKETS}"


@told(
    "PLUG-LIVE",
    "hotplug",
    look="Look at the conditions of the VirtualMachine and of the VMI, at their "
    "VirtualMachineInstanceMigration, and at workloadUpdateStrategy of the KubeVirt CR.",
)
def sockets_follow_or_it_is_told(story: Story, seen: Comparison) -> str:
    """Limit, CPUs, vCPUs, pins and guest follow, or a condition says that they do not."""
    before = running(story, "before", GROWING, seen)
    grown = running(story, "grown", GROWING, seen)
    require_done(grown, f"{ASKED} {MORE}", seen)
    found, of_vm = vmi(grown), grown.owner_conditions
    if of_vm is None:
        raise Unobserved(grown.not_observed.get("owner", "the VirtualMachine was not read"))
    restart, change = of_vm.get(RESTART, ""), found.conditions.get(CHANGE, "")
    seen.saw(f"condition {RESTART}", restart or "none", "VirtualMachine .status.conditions")
    seen.saw(f"condition {CHANGE}", change or "none", "VMI .status.conditions")
    seen.saw("sockets asked for", found.sockets or "none", f"VMI .spec, {SOCKETS}")
    current = found.current_sockets
    seen.saw("sockets that it has", current or "none", "VMI .status.currentCPUTopology")
    if plugged(found):
        _followed(grown, seen)
        return f"the VMI has {MORE} sockets: limit, CPUs, vCPUs, pins and guest followed"
    told_ = [f"{RESTART} {restart}"] if restart.startswith("True") else []
    told_ += [f"{CHANGE} {change}"] if change and found.sockets == MORE else []
    if not told_:
        raise Unobserved(
            f"the VMI has {current or 'no known number of'} sockets and is asked for "
            f"{found.sockets or 'none'}, and no condition says why: KubeVirt has not come to it"
        )
    if owned(before, seen) != owned(grown, seen) and launched(before) == launched(grown):
        seen.wrong("the VMI has other CPUs than before, although it was not changed")
    why = "; ".join(told_)
    seen.note(f"no vCPU was plugged in: {why}")
    return f"no vCPU was plugged in, and it is told so: {why}"


def plugged(found: Vmi) -> bool:
    """Whether a VMI says that it has the sockets that it is asked for."""
    return found.current_sockets == MORE and CHANGE not in found.conditions


def answered(found: Vmi, of_vm: Mapping[str, str], *, migrates: bool) -> bool:
    """Whether nothing more is to be waited for: it has its sockets, or it is told why not.

    Args:
        found: the VMI.
        of_vm: conditions of its VirtualMachine.
        migrates: whether KubeVirt migrates VMIs for this; otherwise a change stays one.
    """
    waits = CHANGE in found.conditions and not migrates
    return plugged(found) or waits or of_vm.get(RESTART, "").startswith("True")


def launched(snapshot: Snapshot) -> str:
    """UID of the launcher pod; empty without one."""
    return snapshot.pod.uid if snapshot.pod else ""


def _followed(grown: Snapshot, seen: Comparison) -> None:
    """Objects to what has not followed although the VMI says that it has its sockets."""
    wanted = MORE + EMULATOR
    limit, cpus = compute(grown).limits.cpu_milli, owned(grown, seen)
    xml, pins = domain(grown), live(grown).vcpu_pins
    online = guest(grown).topology.online
    pinned = [vcpu for vcpu in xml.enabled if len(pins.get(vcpu, ())) == 1]
    seen.saw("CPU limit", f"{limit}m", "compute of the launcher pod, .resources")
    seen.saw("enabled vCPUs", xml.enabled, f"domain XML, {xml.source}")
    seen.saw("vCPUs with one pCPU", len(pinned), f"live, {live(grown).source}")
    seen.saw("CPUs of the guest", online, "the guest's console")
    says = f"the VMI says that it has {MORE} sockets"
    for number, expected, what in (
        (limit, wanted * 1000, "thousandths of a CPU are the limit of compute"),
        (len(cpus), wanted, f"pCPUs are its own ({cpus})"),
        (len(xml.enabled), MORE, f"vCPUs are enabled ({xml.enabled})"),
        (len(pinned), MORE, "vCPUs are pinned to one pCPU each"),
        (len(online), MORE, f"CPUs are online in the guest ({online})"),
    ):
        if number != expected:
            seen.wrong(f"{says}, and {number or 'no'} {what} instead of {expected}")
