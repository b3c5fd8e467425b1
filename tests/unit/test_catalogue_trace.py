"""From a requirement to its check, and from a check to the cases that exercise it."""

import pytest

import conformance.checks.all
from conformance.checks.registry import registered, stories
from conformance.matrix.cases import Case
from conformance.matrix.matrices import matrix
from conformance.matrix.scenarios import SCENARIOS, scenarios
from conformance.model.vocabulary import INCLUDED, PROFILES
from conformance.requirements.catalogue import Requirement, catalogue

CHECKS = registered()
JUDGED = [each for each in catalogue().requirements if each.moment != "scenario"]


def test_checks_were_loaded() -> None:
    assert conformance.checks.all.__name__
    assert CHECKS


@pytest.mark.parametrize("requirement", JUDGED, ids=lambda each: each.id)
def test_every_requirement_has_a_check_at_its_moment(requirement: Requirement) -> None:
    assert requirement.id in CHECKS
    assert CHECKS[requirement.id].moment == requirement.moment


def test_every_requirement_of_a_scenario_has_a_check_in_one_of_its_profiles() -> None:
    told = {(check.requirement, check.scenario) for check in stories()}
    for each in catalogue().requirements:
        if each.moment == "scenario":
            where = [SCENARIOS[scenario] for required, scenario in told if required == each.id]
            assert {profile for scenario in where for profile in scenario.profiles} >= set(
                each.profiles
            ), each.id
    assert {requirement for requirement, _ in told} == {
        each.id for each in catalogue().requirements if each.moment == "scenario"
    }


def test_every_scenario_shows_something() -> None:
    assert {check.scenario for check in stories()} == set(SCENARIOS)


@pytest.mark.parametrize("profile", PROFILES)
def test_standard_and_full_tell_every_scenario_of_their_profile(profile: str) -> None:
    held = set(INCLUDED[profile])
    everything = [each.id for each in SCENARIOS.values() if held & set(each.profiles)]
    for name in ("standard", "full", "scenarios"):
        assert [each.id for each in scenarios(name, profile)] == everything
    assert scenarios("smoke", profile)
    assert all(each.pods for each in scenarios("pods", profile))
    assert not scenarios("vmis.yaml", profile)


@pytest.mark.parametrize("checked", sorted(CHECKS))
def test_every_check_judges_a_requirement(checked: str) -> None:
    assert checked in catalogue().by_id


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("requirement", JUDGED, ids=lambda each: each.id)
def test_every_check_has_a_case_in_smoke_and_standard(
    requirement: Requirement, profile: str
) -> None:
    if set(INCLUDED[profile]) & set(requirement.profiles):
        assert exercising(requirement, matrix("smoke", profile))
        assert exercising(requirement, matrix("standard", profile))


def exercising(requirement: Requirement, cases: tuple[Case, ...]) -> list[str]:
    applies = CHECKS[requirement.id].applies
    return [case.id for case in cases if applies(case.expectation)]
