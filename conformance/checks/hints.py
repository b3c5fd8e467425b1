"""What KVM tells a guest of its CPUs, by the domain XML."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import check, dedicated_vmi
from conformance.checks.witnesses import domain
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING

HINT = "hint-dedicated"
_WITH_THE_HINT = "x86_64"
"""The only architecture on which KubeVirt sets it."""


@check(
    "PIN-HINT",
    moment=RUNNING,
    applies=dedicated_vmi,
    look="Look at <features><kvm> of the domain with virsh dumpxml.",
)
def guest_is_told_that_its_cpus_are_its_own(
    snapshot: Snapshot, _: Expectation, seen: Comparison
) -> str:
    """The domain has the hint, so that the guest need not yield to neighbours it has not."""
    xml = domain(snapshot)
    if xml.architecture is None or xml.kvm is None:
        lacking = "<os><type arch>" if xml.architecture is None else "<features>"
        raise Unobserved(f"the domain XML was recorded without {lacking} ({xml.source})")
    if xml.architecture != _WITH_THE_HINT:
        raise NotApplicable(
            f"the guest is {xml.architecture}: KVM has the hint for {_WITH_THE_HINT} alone"
        )
    state = xml.kvm.get(HINT)
    source = f"domain XML <features><kvm>, {xml.source}"
    seen.saw(HINT, state or "none", source)
    if state != "on":
        seen.wrong(f"the domain has {HINT} {state or '(none)'} instead of on ({source})")
    return f"the domain has {HINT} on"
