"""Whether the API admitted what is consistent, and refused what is not, and why."""

from __future__ import annotations

from conformance.checks import refusals
from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import admitted_vmi, check
from conformance.checks.witnesses import vmi
from conformance.model.evidence import Rejection, Snapshot
from conformance.model.expectation import Expectation, Refusal
from conformance.model.fields import promised
from conformance.model.vocabulary import REFUSED, RUNNING

_UNREADABLE = ("schema", "decoding")
"""Rules of values that the API cannot even hold: no release is known to admit one."""
_QUANTITIES = (".cpu", ".memory", ".guest")


@check(
    "ADM-ACCEPT",
    moment=RUNNING,
    applies=admitted_vmi,
    unstarted=True,
    look="Compare the refused field of the manifest with the requirement's text.",
)
def consistent_is_admitted(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """The VMI is there; or KubeVirt refused it for a field that the promise is about."""
    refused = snapshot.rejection
    if refused is None:
        found = vmi(snapshot)
        seen.saw("VMI", f"{found.namespace}/{found.name}", "API, creation")
        return f"the API admitted VMI {found.namespace}/{found.name}"
    told = _saw_refusal(refused, seen)
    _require_kubevirt(refused)
    named = (*refusals.fields(refused), *refusals.unread_fields(refused))
    contradicting = _promised(refused)
    if not contradicting:
        raise Unobserved(
            "the VMI was refused for something that the promise is not about "
            f"({', '.join(named) or 'no field is named'}), which is the manifest's fault: {told}"
        )
    doubts = [expectation.doubts.get(field) for field in contradicting]
    doubt = doubts[0] if all(doubts) else None
    seen.wrong(f"the API refused a consistent VMI with {told}", doubt=doubt)
    return ""


@check(
    "ADM-REFUSE",
    moment=REFUSED,
    applies=lambda expectation: not expectation.admitted,
    look="Compare the manifest with the rule, and ask the API again with a server-side dry run.",
)
def inconsistent_is_refused(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """KubeVirt refused it with a cause that names an expected field.

    A cause names it in its field, or in its message where it has no field: so does the schema,
    and so do numbers that do not fit what is made of them.
    """
    expected = expectation.refusal
    if expected is None:
        raise Unobserved("this VMI is to be admitted")
    doubt = expectation.doubts.get("admission")
    wanted = " or ".join(expected.fields) or "any field"
    seen.saw("field at fault", wanted, f"rule {expected.rule}")
    refused = snapshot.rejection
    if refused is None:
        found = vmi(snapshot)
        seen.saw("VMI", f"{found.namespace}/{found.name}", "API, creation")
        seen.wrong(
            f"the API admitted VMI {found.namespace}/{found.name}, which breaks the rule "
            f"{expected.rule} and should be refused for {wanted}",
            known=expected.rule not in _UNREADABLE,
            doubt=doubt,
        )
        return ""
    told = _saw_refusal(refused, seen)
    _require_kubevirt(refused)
    named = refusals.fields(refused)
    if not named.keys() & set(map(refusals.own, expected.fields)):
        unread = _unread(refused, expected)
        if not unread and not _promised(refused):
            raise Unobserved(
                f"the VMI was refused for something else than {wanted}, so that nobody knows "
                f"whether the rule {expected.rule} is kept: {told}"
            )
        seen.wrong(f"no cause of the refusal names {wanted}: {told}", known=unread, doubt=doubt)
    return f"the API refused the VMI with {refused.code} for {', '.join(named)}"


def _promised(refused: Rejection) -> list[str]:
    """The fields that it was refused for and that the promise is about."""
    if refusals.about_an_instance_type(refused):
        return []
    named = (*refusals.fields(refused), *refusals.unread_fields(refused))
    return [field for field in named if promised(field)]


def _unread(refused: Rejection, expected: Refusal) -> bool:
    """Whether the value at fault was met while decoding, where there are no causes yet."""
    if refusals.unread_fields(refused).keys() & set(map(refusals.own, expected.fields)):
        return True
    quantity = any(field.endswith(_QUANTITIES) for field in expected.fields)
    return quantity and refusals.unread_quantity(refused)


def _require_kubevirt(refused: Rejection) -> None:
    other = refusals.somebody_else(refused)
    if other is not None:
        raise Unobserved(
            f"the VMI was refused by {other}, which says nothing about KubeVirt: "
            f"{refused.code} {refused.message}"
        )


def _saw_refusal(refused: Rejection, seen: Comparison) -> str:
    """Notes the answer; returns it in one clause."""
    causes = ", ".join(f"{field or 'no field'} ({message})" for field, message in refused.causes)
    seen.saw("answer", f"{refused.code} {refused.reason}".strip(), "API, creation, Status.code")
    seen.saw("causes", causes or "none", "API, creation, Status.details.causes")
    return f"{refused.code}, {causes or 'no cause at all'}: {refused.message}"
