"""The generated matrices: what they cover, and that the oracle agrees with what was meant."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from itertools import combinations, product

import pytest

from clusters.contract.shape import NodeShape
from conformance.matrix.axes import (
    FULL,
    STANDARD,
    Breadth,
    axes,
    case_id,
    constraints,
    title,
    wish,
)
from conformance.matrix.cases import Case
from conformance.matrix.covering import Row, covering_array
from conformance.matrix.manifests import Wish, vmi
from conformance.matrix.matrices import matrix
from conformance.matrix.oracle import expect
from conformance.matrix.rules import rules
from conformance.matrix.violations import VIOLATIONS, Violation, violations

PROFILES = ("v1", "v1alpha2")
CPUS = 10
SIDECARS = {"alone": 0, "hook": 1, "hooks": 2, "disk": 1, "hook-disk": 2}


def allowed(profile: str, breadth: Breadth, cpus: int = CPUS) -> list[Row]:
    """Every row that the constraints allow: the whole product, filtered."""
    values = axes(profile, breadth, cpus)
    rows: Iterable[Mapping[str, object]] = (
        dict(zip(values, row, strict=True)) for row in product(*values.values())
    )
    limits = constraints(profile, cpus)
    return [row for row in rows if all(each.allows(row) for each in limits)]


def tuples(rows: Iterable[Row], strength: int) -> set[tuple[tuple[str, object], ...]]:
    return {
        tuple((axis, row[axis]) for axis in chosen)
        for row in rows
        for chosen in combinations(sorted(row), strength)
    }


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("breadth", [STANDARD, FULL], ids=["standard", "full"])
def test_every_allowed_combination_is_covered(profile: str, breadth: Breadth) -> None:
    rows = covering_array(
        axes(profile, breadth, CPUS), constraints(profile, CPUS), breadth.strength
    )
    every = allowed(profile, breadth)
    assert tuples(rows, breadth.strength) == tuples(every, breadth.strength)
    assert all(row in every for row in rows)
    assert len(rows) < len(every) / 3


@pytest.mark.parametrize("profile", PROFILES)
def test_every_allowed_row_is_admitted_as_it_was_meant(profile: str) -> None:
    for row in allowed(profile, STANDARD):
        expected = expect(vmi("vmi", wish(row), profile=profile), profile)
        assert expected.admitted, (row, expected.refusal)
        assert expected.dedicated
        counts = [row.get(axis, 1) for axis in ("sockets", "cores", "threads")]
        vcpus = 1
        for count in counts:
            assert isinstance(count, int)
            vcpus *= count
        assert expected.vcpus == vcpus
        if row["source"] in ("topology", "both"):
            assert [expected.sockets, expected.cores, expected.threads] == counts
        assert expected.isolate_emulator is (row.get("emulator", "with-vcpus") != "with-vcpus")
        assert expected.compute_cpus < CPUS
        assert len(expected.sidecars) == SIDECARS[str(row["sidecars"])]


def test_standard_has_every_product_from_one_to_eight_that_it_can() -> None:
    vcpus = {case.expectation.vcpus for case in matrix("standard") if case.expectation.admitted}
    assert vcpus >= {1, 2, 3, 4, 6, 8}


@pytest.mark.parametrize("profile", PROFILES)
def test_ids_and_titles_tell_rows_apart(profile: str) -> None:
    rows = allowed(profile, STANDARD)
    assert len({case_id(row) for row in rows}) == len({title(row) for row in rows}) == len(rows)


@pytest.mark.parametrize("cpus", [3, 4, 10])
def test_no_vmi_needs_more_than_the_node_has(cpus: int) -> None:
    cases = matrix("standard", cpus=cpus)
    assert max(case.expectation.compute_cpus for case in cases) <= cpus - 1
    assert any(case.expectation.isolate_emulator for case in cases)


@pytest.mark.parametrize("name", ["smoke", "standard", "full"])
def test_vmis_with_mapped_nodes_are_larger_than_a_node_of_the_default_shape(name: str) -> None:
    mapped = [case for case in matrix(name) if "numa" in case.tags]
    assert mapped
    shape = NodeShape()
    for case in mapped:
        assert case.expectation.compute_cpus > shape.cpus // shape.numa_nodes
        assert case.expectation.needs == ("hugepages",)
    assert all(case.expectation.needs == () for case in matrix(name) if case not in mapped)
    assert not any("numa" in case.tags for case in matrix(name, "v1alpha2"))


@pytest.mark.parametrize("profile", PROFILES)
def test_at_least_forty_inconsistent_vmis_are_refused(profile: str) -> None:
    assert len(refused(profile)) >= 40


def refused(profile: str, name: str = "standard") -> list[Case]:
    return [case for case in matrix(name, profile) if not case.expectation.admitted]


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda each: each.id)
def test_a_violation_breaks_its_rule_and_no_other(violation: Violation) -> None:
    for profile in PROFILES:
        if violation in violations(profile):
            refusal = expect(vmi("vmi", violation.wish, profile=profile), profile).refusal
            assert refusal is not None
            assert refusal.rule == violation.rule
            assert refusal.fields


@pytest.mark.parametrize("profile", PROFILES)
def test_every_rule_is_violated_alone_or_in_company(profile: str) -> None:
    violated = {rule for each in violations(profile) for rule in each.rule.split("+")}
    # Without isolation, or sockets, the older generation cannot violate these.
    out_of_reach = {
        "v1": set[str](),
        "v1alpha2": {
            "isolate-needs-dedicated",
            "at-most-two-threads",
            "sockets-within-maximum",
            "sockets-positive",
            "threads-positive",
        },
    }[profile]
    # A guest may exceed its limit wherever VMs are updated live, as is the default; the matrix
    # has no VMI of arm64, and none that asks for exbibytes.
    never = {"guest-memory-within-limits", "one-thread-on-arm64", "memory-countable", *out_of_reach}
    assert violated == {"schema", "decoding", *(rule.id for rule in rules(profile))} - never


@pytest.mark.parametrize("name", ["standard", "full"])
def test_every_rule_is_violated_with_another_one(name: str) -> None:
    paired = {
        rule
        for case in refused("v1", name)
        if case.expectation.refusal is not None and "+" in case.expectation.refusal.rule
        for rule in case.expectation.refusal.rule.split("+")
    }
    alone = {
        "cpu-features-known",
        "guest-memory-within-limits",
        "iothreads-on-virtio",
        "machine-emulated",
        "memory-countable",
        "one-thread-on-arm64",
    }
    assert paired == {rule.id for rule in rules("v1")} - alone


def test_a_violation_changes_fields_that_exist() -> None:
    known = {field.name for field in fields(Wish)}
    assert all(each.change.keys() <= known for each in VIOLATIONS)


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda each: each.id)
def test_a_violation_is_written_into_the_manifest(violation: Violation) -> None:
    consistent = vmi("vmi", Wish(cores=2))
    assert json.dumps(vmi("vmi", violation.wish)) != json.dumps(consistent)
