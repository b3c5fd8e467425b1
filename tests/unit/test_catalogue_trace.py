"""From a requirement to its check, and from a check to the cases that exercise it."""

import pytest

import conformance.checks.all
from conformance.checks.registry import registered
from conformance.matrix.cases import Case
from conformance.matrix.matrices import matrix
from conformance.requirements.catalogue import PROFILES, Requirement, catalogue

CHECKS = registered()
JUDGED = [each for each in catalogue().requirements if each.moment != "scenario"]


def test_checks_were_loaded() -> None:
    assert conformance.checks.all.__name__
    assert CHECKS


@pytest.mark.parametrize("requirement", JUDGED, ids=lambda each: each.id)
def test_every_requirement_has_a_check_at_its_moment(requirement: Requirement) -> None:
    assert requirement.id in CHECKS
    assert CHECKS[requirement.id].moment == requirement.moment


@pytest.mark.parametrize("checked", sorted(CHECKS))
def test_every_check_judges_a_requirement(checked: str) -> None:
    assert checked in catalogue().by_id


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("requirement", JUDGED, ids=lambda each: each.id)
def test_every_check_has_a_case_in_smoke_and_standard(
    requirement: Requirement, profile: str
) -> None:
    if profile in requirement.profiles:
        assert exercising(requirement, matrix("smoke", profile))
        assert exercising(requirement, matrix("standard", profile))


def exercising(requirement: Requirement, cases: tuple[Case, ...]) -> list[str]:
    applies = CHECKS[requirement.id].applies
    return [case.id for case in cases if applies(case.expectation)]
