"""What may throttle exclusive CPUs, and what a kubelet keeps for the system."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from conformance.checks.registry import registered
from conformance.judging.decide import judge
from conformance.judging.terms import Terms
from conformance.model.evidence import RawSnapshot
from conformance.model.finding import Finding, Verdict
from conformance.parsing import assemble
from tests.selfproof import recording as good
from tests.selfproof.mutations import checkpoint, set_path
from tests.truth.changes import (
    BROKEN,
    KEPT,
    NONE,
    UNSEEN,
    add,
    configz,
    judged,
    unreadable,
)

ABOVE = [good.POD_SLICE, "/kubepods.slice"]


def limit(path: str, text: str, throttled: int = 0) -> Any:
    where = f"{good.CGROUPS}{path}"
    stat = f"nr_throttled {throttled}\n"
    return add({f"{where}/cpu.max": f"{text}\n", f"{where}/cpu.stat": stat})


@pytest.mark.parametrize("path", ABOVE)
def test_c08_a_quota_above_the_container_breaks_it(path: str) -> None:
    finding = judged("CPU-QUOTA", limit(path, "300000 100000", 7))
    assert final(finding).verdict is BROKEN
    assert f"{path} that compute is in, throttled 7 times" in finding.message
    assert judged("CPU-QUOTA", limit(path, "max 100000")).verdict is KEPT


def final(finding: Finding, kubelet: str = "v1.36.2") -> Finding:
    """With what the catalogue knows of that kubelet."""
    if finding.verdict is not Verdict.KNOWN_DIVERGENCE:
        return finding
    terms = Terms("v1", {})
    requirement = next(each for each in terms.requirements() if each.id == finding.requirement)
    known, _words = terms.known(requirement, (), kubelet)
    return finding if known else replace(finding, verdict=BROKEN)


def test_c08_a_kubelet_before_1_33_is_known_for_it() -> None:
    terms, raw = Terms("v1", {}), good.running()
    requirement = next(each for each in terms.requirements() if each.id == "CPU-QUOTA")
    raw = limit(good.POD_SLICE, "300000 100000")(raw)
    for version, verdict in (("v1.36.2", BROKEN), ("v1.32.4", Verdict.KNOWN_DIVERGENCE)):
        info = set_path("node", "status", "nodeInfo", value={"kubeletVersion": version})
        snapshot = assemble(info(raw))
        check = registered()["CPU-QUOTA"]
        assert judge(terms, requirement, check, snapshot, good.EXPECTATION).verdict is verdict


def test_c08_what_once_throttled_and_what_is_above_kubepods_is_told() -> None:
    past = judged("CPU-QUOTA", limit(good.POD_SLICE, "max 100000", 3))
    assert past.verdict is KEPT
    assert "throttled 3 times" in past.notes[0]
    nested = judged("CPU-QUOTA", limit("/kubepods.slice", "max 100000"))
    assert nested.notes == ()


def test_c08_a_quota_that_could_not_be_read_leaves_it_open() -> None:
    path = f"{good.CGROUPS}{good.POD_SLICE}/cpu.max"
    assert judged("CPU-QUOTA", unreadable(path)).verdict is UNSEEN


@pytest.mark.parametrize("path", ABOVE)
def test_c08_a_quota_that_was_never_read_leaves_it_open(path: str) -> None:
    """As evidence of former versions, which has those of containers alone."""

    def lacking(raw: RawSnapshot) -> RawSnapshot:
        limits = f"{good.CGROUPS}{path}/cpu.max"
        return replace(raw, files={k: v for k, v in raw.files.items() if k != limits})

    finding = judged("CPU-QUOTA", lacking)
    assert finding.verdict is UNSEEN
    assert f"{path}/cpu.max was not read" in finding.message
    broken = judged("CPU-QUOTA", lacking, limit(good.ROOT, "300000 100000"))
    assert final(broken).verdict is BROKEN


def test_an_invalid_partition_is_told() -> None:
    text = "isolated invalid (Cpu list in cpuset.cpus not exclusive)\n"
    path = f"{good.CGROUPS}{good.ROOT}/cpuset.cpus.partition"
    finding = judged("CPU-EXCLUSIVE", add({path: text}))
    assert finding.verdict is KEPT
    assert "isolated invalid" in finding.notes[0]
    assert judged("CPU-EXCLUSIVE", add({path: "isolated\n"})).notes == ()


BY_NUMBER = configz(kubeReserved={"cpu": "1500m"}, systemReserved={"cpu": "250m", "memory": "1Gi"})


def pool(cpus: str, **entries: str) -> Any:
    def edit(state: Any) -> None:
        state["defaultCpuSet"] = cpus
        state["entries"] |= {uid: {"compute": own} for uid, own in entries.items()}

    return checkpoint(edit)


def test_c09_the_pool_is_never_smaller_than_what_is_reserved_by_number() -> None:
    """1.75 CPUs are two."""
    small = pool("5", more="0-1,8-11")
    finding = judged("CPU-RESERVED", BY_NUMBER, small)
    assert finding.verdict is BROKEN
    assert "2 CPUs are reserved" in finding.message
    assert judged("CPU-RESERVED", BY_NUMBER, pool("0,5", more="1,8-11")).verdict is KEPT
    assert judged("CPU-RESERVED", BY_NUMBER).verdict is KEPT


def test_c09_a_strict_kubelet_keeps_them_out_of_the_pool() -> None:
    strict = configz(
        kubeReserved={"cpu": "2"}, cpuManagerPolicyOptions={"strict-cpu-reservation": "true"}
    )
    out = pool("5,8-11")
    assert judged("CPU-RESERVED", strict, out).verdict is KEPT
    given = pool("5", more="0,8-11")
    assert judged("CPU-RESERVED", strict, given).verdict is BROKEN
    assert judged("CPU-POOL", configz(kubeReserved={"cpu": "2"}), out).verdict is BROKEN


@pytest.mark.parametrize("on", ["true", True, "True", "1", "t"])
def test_c09_what_a_strict_kubelet_keeps_out_has_not_leaked(on: object) -> None:
    strict = configz(
        kubeReserved={"cpu": "2"}, cpuManagerPolicyOptions={"strict-cpu-reservation": on}
    )
    off = configz(
        kubeReserved={"cpu": "2"}, cpuManagerPolicyOptions={"strict-cpu-reservation": "0"}
    )
    everybody = [
        add({f"{good.CGROUPS}{path}/cpuset.cpus.effective": "5,8-11\n"})
        for path in (good.HOOK_CGROUP, good.LOG_CGROUP, good.HANDLER_CGROUP)
    ]
    assert judged("CPU-POOL", strict, pool("5,8-11"), *everybody).verdict is KEPT
    assert judged("CPU-POOL", strict, pool("5,9-11"), *everybody).verdict is BROKEN
    assert judged("CPU-POOL", off, pool("5,8-11"), *everybody).verdict is BROKEN


def test_c09_a_named_set_is_judged_by_its_size_too() -> None:
    assert judged("CPU-RESERVED", pool("5", more="0-1,8-11")).verdict is BROKEN


def test_c09_flags_may_overrule_a_file() -> None:
    def by_file(raw: RawSnapshot) -> RawSnapshot:
        config = {"kind": "KubeletConfiguration", "cpuManagerPolicy": "static"}
        files = {path: text for path, text in raw.files.items() if path != good.CONFIGZ}
        text = json.dumps({**config, "kubeReserved": {"cpu": "2"}})
        return replace(raw, files={**files, "/var/lib/kubelet/config.yaml": text})

    small = pool("5", more="0-1,8-11")
    assert judged("CPU-RESERVED", by_file, small).verdict is UNSEEN
    assert judged("CPU-RESERVED", by_file).verdict is KEPT


def test_c09_without_a_configured_number_the_node_says_what_it_keeps() -> None:
    kept = set_path("node", "status", "capacity", value={"cpu": "12"})
    finding = judged("CPU-RESERVED", configz(), kept, pool("5", more="0-1,8-11"))
    assert finding.verdict is BROKEN
    assert judged("CPU-RESERVED", configz(), kept).verdict is KEPT
    assert judged("CPU-RESERVED", configz()).verdict is NONE
