"""Which VMIs the API accepts."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("ADM-ACCEPT")
def test_consistent_vmi_is_admitted(judged: Judged) -> None:
    """A VMI whose CPU requirements are consistent is accepted by the API."""
    judged.must_be_kept()


@requirement("ADM-REFUSE")
def test_inconsistent_vmi_is_refused_for_the_field_at_fault(judged: Judged) -> None:
    """An inconsistent VMI is refused, and a cause of the refusal names the field at fault."""
    judged.must_be_kept()


@requirement("RUN-STARTED")
def test_admitted_vmi_runs(judged: Judged) -> None:
    """A VMI that was admitted reaches the phase Running."""
    judged.must_be_kept()
