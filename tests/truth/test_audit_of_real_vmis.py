"""VMIs of real KubeVirts, as an audit would have found them: by their stored spec alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from conformance.auditing.looking import manifest_of
from conformance.auditing.states import State, dedicated, found
from conformance.collecting import least
from conformance.collecting.bundle import read
from conformance.judging.decide import judge as decide
from conformance.judging.decide import judge_nodes
from conformance.judging.terms import Terms
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import RawSnapshot
from conformance.model.finding import Finding, Verdict
from conformance.parsing import assemble
from conformance.parsing.setting import setting
from tests.exhibits import unpacked, without_quotas_of_pods
from tests.selfproof.recording import RECORDED_SETTING

UNASKED = {"libvirt": "it was not asked", "guest-console": "nobody else's is opened"}


def terms(kubevirt: str) -> Terms:
    known = replace(setting(RECORDED_SETTING), kubevirt=kubevirt)
    return Terms("v1", {}, setting=known, found=True, unasked=UNASKED)


@pytest.fixture(scope="module", params=[("kubevirt-1.9", "v1.9.0"), ("kubevirt-1.8.4", "v1.8.4")])
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[RawSnapshot]]:
    name, release = request.param
    directory = tmp_path_factory.mktemp("recorded")
    evidence = unpacked(name, directory)
    without_quotas_of_pods(evidence)
    snapshots = read(evidence).snapshots
    taken: dict[str, RawSnapshot] = {}
    for case in snapshots:
        for _file, raw in snapshots[case]:
            if raw.moment == "running" and raw.vmi and dedicated(raw.vmi) and not raw.torn:
                taken[case] = raw  # the last look, by which all had settled
    return release, list(taken.values())


def seen(raw: RawSnapshot) -> RawSnapshot:
    """As an audit sees it: nothing of the manifest that the user wrote."""
    vmi = least.vmi(raw.vmi or {})
    missing = {**raw.not_observed, "domain": "it was not asked", "console": "it was not opened"}
    return replace(
        raw,
        manifest=manifest_of(vmi),
        vmi=vmi,
        pod=raw.pod and least.pod(raw.pod),
        pods=tuple(map(least.pod, raw.pods)),
        node=raw.node and least.node(raw.node),
        domain=None,
        console=None,
        not_observed=missing,
    )


def judged(terms: Terms, raw: RawSnapshot) -> dict[str, Finding]:
    expectation = terms.expect(raw.manifest)
    assert expectation.admitted, "what is stored was admitted"
    assert terms.lacks(expectation) is None
    snapshot = assemble(raw)
    return {
        requirement.id: decide(terms, requirement, check, snapshot, expectation)
        for requirement, check in terms.applicable(expectation)
        if check.moment == "running"
    }


def test_all_that_can_be_seen_of_them_is_kept(recorded: tuple[str, list[RawSnapshot]]) -> None:
    release, snapshots = recorded
    assert len(snapshots) >= 2
    for raw in snapshots:
        assert found(raw.vmi or {}, [raw.pod] if raw.pod else []).state is State.RUNNING
        findings = judged(terms(release), seen(raw))
        wrong = {
            name: finding.message
            for name, finding in findings.items()
            if finding.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)
        }
        if release == "v1.8.4":  # a neighbour's containers had just gone
            wrong = {name: why for name, why in wrong.items() if "was not read" not in why}
        assert not wrong, raw.case
        assert findings["PIN-THREADS"].verdict is Verdict.PASS
        assert findings["CPU-COUNT"].verdict is Verdict.PASS


def test_a_vcpu_that_was_pinned_elsewhere_by_hand_is_named(
    recorded: tuple[str, list[RawSnapshot]],
) -> None:
    """The twin: the very same VMIs, and one thread of each where it does not belong."""
    release, snapshots = recorded
    for raw in snapshots:
        files = {
            path: text.replace("Cpus_allowed_list:\t", "Cpus_allowed_list:\t0-1,")
            if "\tCPU 0/KVM\n" in text or "\tCPU 0/TCG\n" in text
            else text
            for path, text in raw.files.items()
        }
        assert files != raw.files
        findings = judged(terms(release), replace(seen(raw), files=files))
        assert findings["PIN-THREADS"].verdict is Verdict.FAIL


CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"
EVERY_CPU = "0-11"


def owners(raw: RawSnapshot) -> dict[str, CpuSet]:
    """CPUs of compute by pod, as the kubelet has it, of those that nobody else runs on."""
    _path, text = shared(raw)
    entries = json.loads(raw.files[CHECKPOINT])["entries"]
    given = {uid: CpuSet.parse(containers["compute"]) for uid, containers in entries.items()}
    return {uid: cpus for uid, cpus in given.items() if not cpus & CpuSet.parse(text)}


def shared(raw: RawSnapshot) -> tuple[str, str]:
    """Path and text of the cpuset of a container in the shared pool; a sandbox has every CPU."""
    lives = re.compile(r".*/burstable/pod[^/]+/[0-9a-f]{64}/cpuset.cpus.effective")
    return next(
        (path, text.strip())
        for path, text in raw.files.items()
        if lives.fullmatch(path) and text.strip() != EVERY_CPU
    )


def intruding(raw: RawSnapshot, cpus: CpuSet) -> RawSnapshot:
    """The node with one container of the shared pool on a CPU that somebody owns."""
    path, text = shared(raw)
    return replace(raw, files={**raw.files, path: f"{text},{min(cpus)}"})


def of_node(terms: Terms, raw: RawSnapshot) -> set[str]:
    """What is broken of the node itself."""
    alone = replace(raw, case="_nodes/n", manifest={}, vmi=None, pod=None, moment="nodes")
    return {f.requirement for _, f in judge_nodes(terms, [assemble(alone)]) if f.verdict == "fail"}


def test_whose_neighbour_has_an_intruder_is_not_accused(
    recorded: tuple[str, list[RawSnapshot]],
) -> None:
    """Seen of a real 1.8.4: two healthy VMIs failed for a pod on the CPU of a third."""
    release, snapshots = recorded
    tried = 0
    for raw in snapshots:
        own = str((raw.pod or {})["metadata"]["uid"])
        others = [cpus for uid, cpus in owners(raw).items() if uid != own]
        for cpus in others[:1]:
            tried += 1
            spoilt = intruding(seen(raw), cpus)
            findings = judged(terms(release), spoilt)
            assert not {n for n, f in findings.items() if f.verdict is Verdict.FAIL}, raw.case
            assert of_node(terms(release), spoilt) == {"CPU-POOL"}
    assert tried


def test_twin_whoever_has_the_intruder_is_named(
    recorded: tuple[str, list[RawSnapshot]],
) -> None:
    release, snapshots = recorded
    for raw in snapshots:
        own = owners(raw)[str((raw.pod or {})["metadata"]["uid"])]
        spoilt = intruding(seen(raw), own)
        findings = judged(terms(release), spoilt)
        assert findings["CPU-EXCLUSIVE"].verdict is Verdict.FAIL
        assert of_node(terms(release), spoilt) == {"CPU-POOL"}
