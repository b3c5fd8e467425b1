"""What checks must not mistake: confounders, observers, known divergences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import conformance.checks.all  # noqa: F401 - registers every check
from conformance.checks.comparison import Comparison
from conformance.checks.registry import registered
from conformance.judging.decide import judge as decide
from conformance.judging.terms import Terms
from conformance.matrix.oracle import expect
from conformance.model.evidence import RawSnapshot
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.parsing import assemble
from tests.selfproof import mutations as change
from tests.selfproof import recording as good


def judge(
    requirement: str, raw: RawSnapshot, expectation: Expectation = good.EXPECTATION
) -> Finding:
    return registered()[requirement].judge(assemble(raw), expectation)


def emulated(raw: RawSnapshot) -> RawSnapshot:
    files = {path: text.replace("/KVM", "/TCG") for path, text in raw.files.items()}
    return replace(raw, files=files)


def test_check_that_compares_nothing_has_observed_nothing() -> None:
    finding = Comparison().finding("ANY", "all is well", "Look here.")
    assert finding.verdict is Verdict.NOT_OBSERVED


def test_a_clause_that_is_a_sentence_ends_once() -> None:
    seen = Comparison()
    seen.wrong("it waits: no room.")
    assert (
        seen.finding("ANY", "all is well", "Look here.").message == "it waits: no room. Look here."
    )


def test_a_console_that_is_empty_is_said_to_be() -> None:
    finding = judge("GUEST-VCPUS", replace(good.running(), console=""))
    assert finding.verdict is Verdict.NOT_OBSERVED
    assert "on the guest's console, which is empty" in finding.message


def test_emulated_vcpus_swept_into_housekeeping_are_no_verdict() -> None:
    swept = change.members(
        {good.ROOT: (170,), good.HOUSEKEEPING: (100, 101, 120, 121, *range(150, 157))}
    )
    raw = swept(emulated(good.running()))
    for requirement in ("PIN-THREADS", "PIN-CGROUP", "EMU-HOUSEKEEPING"):
        finding = judge(requirement, raw)
        assert finding.verdict is Verdict.NOT_APPLICABLE
        assert "software emulation" in finding.message


def test_emulated_vcpus_in_their_place_are_judged() -> None:
    assert judge("PIN-THREADS", emulated(good.running())).verdict is Verdict.PASS


def test_observer_in_the_root_is_not_counted_and_a_stranger_of_the_launcher_is() -> None:
    raw = good.running()
    assert judge("EMU-HOUSEKEEPING", raw).verdict is Verdict.PASS
    path = good.status_path(170, 170)
    inside = raw.files[path].replace("PPid:\t99", "PPid:\t101")
    finding = judge("EMU-HOUSEKEEPING", change.files({path: inside})(raw))
    assert finding.verdict is Verdict.FAIL
    assert "cat (170)" in finding.message


def test_host_without_smt_is_a_divergence_that_the_catalogue_may_know() -> None:
    raw = good.running()
    hardware = {
        path: f"{path.split('/cpu')[2].split('/')[0]}\n" if "siblings" in path else text
        for path, text in raw.hardware.items()
    }
    finding = judge("SMT-SIBLINGS", replace(raw, hardware=hardware))
    assert finding.verdict is Verdict.KNOWN_DIVERGENCE
    assert "no SMT" in finding.message


def test_quota_is_known_of_old_kubelets_only() -> None:
    throttled = change.files({f"{good.CGROUPS}{good.ROOT}/cpu.max": "300000 100000\n"})
    raw = throttled(good.running())
    terms = Terms("v1", {}, setting=good.SETTING)
    quota = terms.catalogue.requirement("CPU-QUOTA")

    def verdict(kubelet: str) -> Verdict:
        version = change.set_path("node", "status", "nodeInfo", "kubeletVersion", value=kubelet)
        snapshot = assemble(version(raw))
        return decide(terms, quota, registered()[quota.id], snapshot, good.EXPECTATION).verdict

    assert verdict("v1.33.0") is verdict("v1.36.2") is Verdict.FAIL
    assert verdict("v1.31.4") is verdict("v1.32.9-eks-1234") is Verdict.KNOWN_DIVERGENCE
    # Which kubelet it is was not told, and one of them must not do this.
    assert verdict("devel") is Verdict.NOT_OBSERVED


def test_one_unknown_fault_outweighs_known_ones() -> None:
    seen = Comparison()
    seen.wrong("as everybody knows", known=True)
    seen.wrong("and something new")
    assert seen.finding("ANY", "", "").verdict is Verdict.FAIL


def test_admitted_although_inconsistent_may_be_known() -> None:
    raw = replace(good.refused(), rejection=None, vmi=good.running().vmi)
    finding = judge("ADM-REFUSE", raw, good.EXPECTED_REFUSAL)
    assert finding.verdict is Verdict.KNOWN_DIVERGENCE
    assert "the API admitted VMI ns/demo" in finding.message


def test_reserved_number_without_a_set_leaves_nothing_to_compare() -> None:
    raw = change.files({good.CONFIGZ: '{"kubeletconfig": {"cpuManagerPolicy": "static"}}'})
    assert judge("CPU-RESERVED", raw(good.running())).verdict is Verdict.NOT_APPLICABLE


def test_strict_reservation_keeps_reserved_cpus_out_of_the_pool() -> None:
    pool = "5,8-11"
    strict = (
        '{"kubeletconfig": {"cpuManagerPolicy": "static", "reservedSystemCPUs": "0-1", '
        '"cpuManagerPolicyOptions": {"strict-cpu-reservation": "true"}}}'
    )
    raw = change.both(
        change.checkpoint(lambda state: state.update(defaultCpuSet=pool)),
        *(change.cpuset(p, pool) for p in (good.HOOK_CGROUP, good.LOG_CGROUP, good.HANDLER_CGROUP)),
    )(good.running())
    assert judge("CPU-POOL", raw).verdict is Verdict.FAIL
    assert judge("CPU-POOL", change.files({good.CONFIGZ: strict})(raw)).verdict is Verdict.PASS


def test_older_guide_knows_one_label() -> None:
    raw = change.set_path("node", "metadata", "labels", value={"cpumanager": "true"})(
        good.running()
    )
    assert judge("NODE-LABEL", raw).verdict is Verdict.FAIL
    assert judge("NODE-LABEL", raw, expect(good.MANIFEST, "v1alpha2")).verdict is Verdict.PASS


@pytest.mark.parametrize("layer", ["pod", "node", "vmi"])
def test_object_of_another_shape_is_not_observed_and_no_crash(layer: str) -> None:
    changes: dict[str, Any] = {layer: {"metadata": []}}
    raw = replace(good.running(), pods=(), **changes)
    snapshot = assemble(raw)
    verdicts = {
        check.judge(snapshot, good.EXPECTATION).verdict
        for check in registered().values()
        if check.moment == "running"
    }
    assert Verdict.NOT_OBSERVED in verdicts


def test_supplemental_iothreads_swept_beside_the_emulator_are_known() -> None:
    raw = change.both(
        change.edit_xml("iothread='1' cpuset='4'", "iothread='1' cpuset='3'"),
        change.libvirt(iothread_pins={"1": "4"}),
    )(good.running())
    pool = replace(good.EXPECTATION, supplemental_iothreads=1)
    assert judge("PIN-LIVE", raw, pool).verdict is Verdict.KNOWN_DIVERGENCE
    assert judge("PIN-LIVE", raw).verdict is Verdict.FAIL
    elsewhere = change.libvirt(iothread_pins={"1": "2"})(raw)
    assert judge("PIN-LIVE", elsewhere, pool).verdict is Verdict.FAIL


def test_a_vcpu_that_may_run_on_two_numa_nodes_mirrors_none() -> None:
    raw = change.libvirt(vcpu_pins={"0": "2-8", "1": "3"})(good.running())
    finding = judge("NUMA-MAPPED", raw, replace(good.EXPECTATION, numa_passthrough=True))
    assert finding.verdict is Verdict.FAIL
    assert "vCPU 0 may run on 2-8, on 2 NUMA nodes" in finding.message
