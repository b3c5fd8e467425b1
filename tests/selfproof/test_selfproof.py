"""Every check has been seen to pass, to fail, and to admit that it saw nothing."""

from __future__ import annotations

import pytest

from conformance.checks.registry import registered
from conformance.checks.turned_away import turned_away
from conformance.judging.decide import judge as decide
from conformance.judging.terms import Terms
from conformance.model.evidence import RawSnapshot
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.parsing import assemble
from tests.selfproof.mutations import (
    DELETED,
    GROWABLE,
    MIRRORED,
    POOLED,
    PROOFS,
    REFUSED,
    RUNNING,
    SHARED,
    TURNED_AWAY,
    Base,
    Mutation,
)
from tests.selfproof.recording import SETTING

CAPABLE = dict.fromkeys(("hugepages", "realtime"), (True, "by construction"))
TERMS = Terms("current", CAPABLE, setting=SETTING)
GOOD = {"running": RUNNING, "deleted": DELETED, "refused": REFUSED, "mirrored": MIRRORED} | {
    "pooled": POOLED,
    "growable": GROWABLE,
    "shared": SHARED,
}


def judge(raw: RawSnapshot, expectation: Expectation) -> dict[str, Finding]:
    snapshot = assemble(raw)
    return {
        requirement.id: decide(TERMS, requirement, check, snapshot, expectation)
        for requirement, check in TERMS.checks()
        if check.moment == raw.moment and check.applies(expectation)
    }


def mutations(kind: str) -> list[object]:
    return [
        pytest.param(requirement, mutation, id=f"{requirement}: {mutation.name}")
        for requirement, proof in PROOFS.items()
        for mutation in getattr(proof, kind)
    ]


def test_every_check_has_its_mutations() -> None:
    assert set(PROOFS) == set(registered())
    assert all(proof.breaks and proof.blinds for proof in PROOFS.values())


@pytest.mark.parametrize("base", GOOD.values(), ids=GOOD)
def test_good_recording_keeps_everything(base: Base) -> None:
    findings = judge(base.record(), base.expectation)
    assert findings
    other = {name: f for name, f in findings.items() if f.verdict is not Verdict.PASS}
    # This node may give parts of cores, of any NUMA node; TURNED_AWAY and NEAR may not.
    assert set(other) <= {"SMT-ALIGNED", "NUMA-ALIGNED"}, other
    assert all(finding.verdict is Verdict.NOT_APPLICABLE for finding in other.values())


def test_a_node_of_whole_cores_rejects_a_part_of_one_and_that_is_all_there_is_to_say() -> None:
    snapshot = assemble(TURNED_AWAY.record())
    assert "3 CPUs" in (turned_away(snapshot, TURNED_AWAY.expectation) or "")
    finding = registered()["SMT-ALIGNED"].judge(snapshot, TURNED_AWAY.expectation)
    assert finding.verdict is Verdict.PASS, finding.message
    for base in (RUNNING, DELETED):
        assert turned_away(assemble(base.record()), base.expectation) is None


def test_good_recordings_exercise_every_check() -> None:
    judged = [set(judge(base.record(), base.expectation)) for base in GOOD.values()]
    assert set().union(*judged) == set(registered())


@pytest.mark.parametrize(("id", "mutation"), mutations("breaks"))
def test_broken_recording_fails_exactly_there(id: str, mutation: Mutation) -> None:
    findings = judge(mutation.change(mutation.base.record()), mutation.base.expectation)
    failed = {other for other, finding in findings.items() if finding.verdict is Verdict.FAIL}
    assert failed == {id, *mutation.also}, "\n".join(findings[each].message for each in failed)
    message = findings[id].message
    for words in mutation.says:
        assert words in message


@pytest.mark.parametrize(("id", "mutation"), mutations("breaks"))
def test_message_says_what_came_from_where_and_what_next(id: str, mutation: Mutation) -> None:
    finding = judge(mutation.change(mutation.base.record()), mutation.base.expectation)[id]
    assert finding.compared
    assert all(value.what and value.value and value.source for value in finding.compared)
    assert registered()[id].look in finding.message


@pytest.mark.parametrize(("id", "mutation"), mutations("blinds"))
def test_missing_evidence_never_passes(id: str, mutation: Mutation) -> None:
    finding = judge(mutation.change(mutation.base.record()), mutation.base.expectation)[id]
    assert finding.verdict is Verdict.NOT_OBSERVED, finding.message
    for words in mutation.says:
        assert words in finding.message


def test_nothing_recorded_is_nothing_observed() -> None:
    for base in (RUNNING, DELETED, REFUSED):
        good = base.record()
        empty = RawSnapshot(
            good.case, good.scenario, good.moment, good.began, good.ended, good.manifest
        )
        findings = judge(empty, base.expectation)
        assert {finding.verdict for finding in findings.values()} == {Verdict.NOT_OBSERVED}
