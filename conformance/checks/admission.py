"""Whether the API admitted what is consistent, refused what is not, and why; and started it."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import admitted_vmi, check
from conformance.checks.witnesses import vmi
from conformance.model.evidence import Rejection, Snapshot
from conformance.model.expectation import Expectation, Refusal

_REFUSALS = (400, 422)
_NOT_SERVED = 404
_SCHEMA = "schema"


@check(
    "ADM-ACCEPT",
    moment="running",
    applies=admitted_vmi,
    unstarted=True,
    look="Compare the refused field of the manifest with the requirement's text.",
)
def consistent_is_admitted(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The VMI is there."""
    refused = snapshot.rejection
    if refused is None:
        found = vmi(snapshot)
        seen.saw("VMI", f"{found.namespace}/{found.name}", "API, creation")
        return f"the API admitted VMI {found.namespace}/{found.name}"
    causes = _saw_refusal(refused, seen)
    seen.wrong(
        f"the API refused a consistent VMI with {refused.code}: {refused.message or causes}",
        known=refused.code == _NOT_SERVED,
    )
    return ""


@check(
    "ADM-REFUSE",
    moment="refused",
    applies=lambda expectation: not expectation.admitted,
    look="Compare the manifest with the rule, and ask the API again with a server-side dry run.",
)
def inconsistent_is_refused(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """The API's answer is a refusal with a cause that names an expected field."""
    expected = expectation.refusal
    if expected is None:
        raise Unobserved("this VMI is to be admitted")
    wanted = " or ".join(expected.fields) or "any field"
    seen.saw("field at fault", wanted, f"rule {expected.rule}")
    refused = snapshot.rejection
    if refused is None:
        found = vmi(snapshot)
        seen.saw("VMI", f"{found.namespace}/{found.name}", "API, creation")
        seen.wrong(
            f"the API admitted VMI {found.namespace}/{found.name}, which breaks the rule "
            f"{expected.rule} and should be refused for {wanted}",
            known=expected.rule != _SCHEMA,
        )
        return ""
    causes = _saw_refusal(refused, seen)
    if refused.code not in _REFUSALS:
        seen.wrong(
            f"the API answered {refused.code} {refused.reason}, which is no refusal of the "
            f"content (422, or 400 while decoding); {wanted} should be named: {refused.message}"
        )
    elif not any(_names(cause, expected) for cause in refused.causes):
        seen.wrong(
            f"no cause of the refusal names {wanted}"
            + (f" with {expected.fragment!r}" if expected.fragment else "")
            + f", only {causes}: {refused.message}",
            # Decoding refuses before there are causes.
            known=expected.rule == _SCHEMA and not refused.causes,
        )
    return f"the API refused the VMI with {refused.code} for {wanted}"


def _names(cause: tuple[str, str], expected: Refusal) -> bool:
    field, message = cause
    return (not expected.fields or field in expected.fields) and expected.fragment in message


def _saw_refusal(refused: Rejection, seen: Comparison) -> str:
    causes = ", ".join(f"{field} ({message})" for field, message in refused.causes)
    seen.saw("answer", f"{refused.code} {refused.reason}", "API, creation, Status.code")
    seen.saw("causes", causes or "none", "API, creation, Status.details.causes")
    return causes or "no cause at all"


@check(
    "RUN-STARTED",
    moment="running",
    applies=admitted_vmi,
    settles=True,
    look="Look at the events of the VMI and of its pod, then at the logs of its containers, which "
    "are kept in the evidence as logs/CASE.CONTAINER.log.",
)
def admitted_runs(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The VMI's phase is Running."""
    found = vmi(snapshot)
    seen.saw("phase", found.phase or "none", f"VMI {found.namespace}/{found.name} .status.phase")
    if found.phase != "Running":
        seen.wrong(
            f"VMI {found.namespace}/{found.name} is {found.phase or 'without a phase'} instead of "
            f"Running: {'; '.join(_reasons(snapshot)) or 'nobody says why'}"
        )
    return f"VMI {found.namespace}/{found.name} runs on {found.node}"


def _reasons(snapshot: Snapshot) -> list[str]:
    found = vmi(snapshot)
    reasons = [f"{name} {text}" for name, text in found.conditions.items() if "False" in text]
    pod = snapshot.pod
    if pod is not None and pod.reason:
        reasons.append(f"pod {pod.name} is {pod.phase}: {pod.reason}")
    return [*reasons, *snapshot.events[-3:]]
