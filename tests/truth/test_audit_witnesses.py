"""What an audit can tell without libvirt and without the guest, and that it accuses nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.collecting import least
from conformance.judging.decide import judge as decide
from conformance.judging.decide import judge_nodes
from conformance.judging.terms import Terms
from conformance.model.evidence import RawSnapshot
from conformance.model.finding import Finding, Verdict
from conformance.parsing import assemble
from tests.selfproof.mutations import PROOFS, RUNNING, Mutation
from tests.selfproof.recording import SETTING

UNASKED = {"libvirt": "it was not asked", "guest-console": "nobody else's is opened"}
TERMS = Terms(
    "current", {"smt": (True, ""), "numa": (True, "")}, setting=SETTING, found=True, unasked=UNASKED
)
ONLY_LIBVIRT = {
    "PIN-XML",
    "PIN-HINT",
    "PIN-LIVE",
    "SMT-SIBLINGS",
    "GUEST-VCPUS",
    "GUEST-TOPOLOGY",
}


def seen(raw: RawSnapshot) -> RawSnapshot:
    """As an audit sees it."""
    manifest: dict[str, Any] = {**raw.manifest, "metadata": dict(raw.manifest["metadata"])}
    return replace(
        raw,
        manifest=least.vmi(manifest),
        vmi=raw.vmi and least.vmi(raw.vmi),
        pod=raw.pod and least.pod(raw.pod),
        pods=tuple(map(least.pod, raw.pods)),
        node=raw.node and least.node(raw.node),
        domain=None,
        console=None,
        not_observed={**raw.not_observed, "domain": "it was not asked", "console": "not opened"},
    )


def judged(raw: RawSnapshot) -> dict[str, Finding]:
    expectation = TERMS.expect(raw.manifest)
    snapshot = assemble(raw)
    return {
        requirement.id: decide(TERMS, requirement, check, snapshot, expectation)
        for requirement, check in TERMS.checks()
        if check.moment == "running" and check.applies(expectation)
    }


def test_a_healthy_vmi_is_clean_and_what_only_others_know_is_not_asked() -> None:
    findings = judged(seen(RUNNING.record()))
    assert {f.verdict for f in findings.values()} == {Verdict.PASS, Verdict.NOT_APPLICABLE}
    silent = {name for name, f in findings.items() if "was not asked" in f.message}
    assert silent == ONLY_LIBVIRT
    assert findings["PIN-THREADS"].verdict is Verdict.PASS
    assert findings["EMU-ISOLATED"].verdict is Verdict.PASS
    assert findings["EMU-HOUSEKEEPING"].verdict is Verdict.PASS
    assert findings["IOT-ISOLATED"].verdict is Verdict.PASS


@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(mutation, id=f"{requirement}: {mutation.name}")
        for requirement, proof in PROOFS.items()
        for mutation in proof.breaks
        if mutation.base is RUNNING
    ],
)
def test_what_is_broken_is_named_or_nobody_who_saw_it_was_asked(mutation: Mutation) -> None:
    raw = mutation.change(RUNNING.record())
    broken = {name for name, f in judged(seen(raw)).items() if f.verdict is Verdict.FAIL}
    same = seen(raw) == seen(RUNNING.record())
    assert broken or same or mutation.name in TOLD_BY_LIBVIRT_ALONE, "it was passed over"


TOLD_BY_LIBVIRT_ALONE = frozenset({"two pCPUs", "siblings on two cores"})


def test_without_being_told_so_a_missing_libvirt_is_missed() -> None:
    terms = replace(TERMS, unasked={})
    raw = seen(RUNNING.record())
    expectation = terms.expect(raw.manifest)
    checks = {requirement.id: (requirement, check) for requirement, check in terms.checks()}
    requirement, check = checks["PIN-THREADS"]
    finding = decide(terms, requirement, check, assemble(raw), expectation)
    assert finding.verdict is Verdict.NOT_OBSERVED


def test_a_node_by_itself_is_judged_by_pool_and_reservation() -> None:
    raw = seen(RUNNING.record())
    node = replace(raw, case="_nodes/n", manifest={}, vmi=None, pod=None, moment="nodes")
    found = {f.requirement: f.verdict for _, f in judge_nodes(TERMS, [assemble(node)])}
    judged_alone = ("NODE-LABEL", "CPU-POOL", "CPU-RESERVED", "RT-LABEL")
    assert found == dict.fromkeys(judged_alone, Verdict.PASS)
    unlabelled = {**(node.node or {}), "metadata": {**(node.node or {})["metadata"], "labels": {}}}
    labels = {"kubernetes.io/os": "linux"}
    unlabelled["metadata"]["labels"] = labels
    bare = assemble(replace(node, node=unlabelled))
    found = {f.requirement: f.verdict for _, f in judge_nodes(TERMS, [bare])}
    assert found["CPU-POOL"] is Verdict.NOT_APPLICABLE
    assert found["CPU-RESERVED"] is Verdict.NOT_APPLICABLE
