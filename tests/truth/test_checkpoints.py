"""Every form of the kubelet's checkpoint, as its releases write it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.model.cpuset import CpuSet
from conformance.parsing import kubelet
from conformance.parsing.errors import ParseError
from tests.selfproof import recording as good
from tests.truth.changes import (
    BROKEN,
    ELSEWHERE,
    KEPT,
    UNSEEN,
    add,
    cgroup,
    everything,
    judged,
    pod_objects,
)
from tests.truth.recordings import Recording

PATH = "/var/lib/kubelet/cpu_manager_state"
OWN = {good.UID: {"compute": "2-4"}, good.OTHER_UID: {"compute": "6-7"}}
STATE = {"policyName": "static", "defaultCpuSet": good.POOL, "entries": OWN}


def written(**keys: Any) -> Any:
    return add({good.CHECKPOINT: json.dumps({**STATE, "checksum": 0, **keys})})


def fourth(state: Any = None, number: int | None = None, **beside: Any) -> Any:
    data = json.dumps(state or STATE, separators=(",", ":"))
    right = kubelet.checkpoint(json.dumps({**STATE, "data": data, "dataChecksum": 0}), PATH)
    (remark,) = [each for each in right.remarks if "dataChecksum" in each]
    right_number = int(remark.rpartition(" ")[2])
    return written(data=data, dataChecksum=right_number if number is None else number, **beside)


def test_c01_version_4_is_read() -> None:
    found = everything(fourth())
    assert {f.verdict for n, f in found.items() if n not in ELSEWHERE} == {KEPT}
    assert found["CPU-EXCLUSIVE"].notes == ()


def test_c01_data_leads() -> None:
    other = {**STATE, "defaultCpuSet": "0-1", "entries": {good.UID: {"compute": "2-4,8-9"}}}
    assert judged("CPU-EXCLUSIVE", fourth(other)).verdict is BROKEN
    stale = fourth(defaultCpuSet="0", entries={"gone": {"compute": "2"}})
    finding = judged("CPU-EXCLUSIVE", stale)
    assert finding.verdict is KEPT
    assert "which leads" in finding.notes[0]


def test_c01_a_wrong_checksum_is_told() -> None:
    finding = judged("CPU-EXCLUSIVE", fourth(number=1234))
    assert finding.verdict is KEPT
    assert "dataChecksum is 1234" in finding.notes[0]


ENTRIES = '{"pod":{"container1":"4-6","container2":"1-3"}}'
WRITTEN = f'{{"policyName":"static","defaultCPUSet":"7-9","entries":{ENTRIES}}}'


@pytest.mark.parametrize(
    ("data", "number"),
    [(WRITTEN, 1420829534), ('{"policyName":"none","defaultCPUSet":"4-6"}', 657950972)],
)
def test_c01_the_checksum_is_the_one_that_kubelets_compute(data: str, number: int) -> None:
    """Of Kubernetes' own tests: pkg/kubelet/cm/cpumanager/state, state_checkpoint_test.go."""
    assert kubelet.fnv(f"(string){data}") == number


def test_c01_the_checksum_of_version_2_is_that_of_a_real_kubelet(tmp_path: Any) -> None:
    recording = Recording(tmp_path)
    texts = {
        json.loads(path.read_text())[1].get(PATH)
        for path in (recording.directory / "nodes").glob("*.json")
    } - {None}
    assert len(texts) > 3
    assert all(kubelet.checkpoint(text, PATH).remarks == () for text in texts)
    changed = [text.replace('"defaultCpuSet":"0', '"defaultCpuSet":"1') for text in texts]
    assert all(kubelet.checkpoint(text, PATH).remarks for text in changed)
    assert recording.failed() == set()


@pytest.mark.parametrize("keys", [{"data": "{"}, {"data": 1}, {"dataChecksum": 1}])
def test_c01_half_a_version_4_is_not_understood(keys: dict[str, Any]) -> None:
    assert judged("CPU-EXCLUSIVE", written(**keys)).verdict is UNSEEN


def test_c01_version_1_is_refused_by_its_name() -> None:
    finding = judged("CPU-EXCLUSIVE", written(entries={"c" * 64: "2-4"}))
    assert finding.verdict is UNSEEN
    assert "version 1, of kubelets before 1.18" in finding.message


def test_c01_keys_to_come_are_tolerated_where_the_known_ones_are_there() -> None:
    assert judged("CPU-EXCLUSIVE", written(baselines={"a": 1})).verdict is KEPT
    elsewhere = written(entries={}, assignments={"a": 1})
    assert judged("CPU-EXCLUSIVE", elsewhere).verdict is UNSEEN
    assert judged("CPU-EXCLUSIVE", written(entries={})).verdict is BROKEN
    with pytest.raises(ParseError):
        kubelet.checkpoint('{"policyName": "static", "sharedCpuSet": "0"}', PATH)


def test_c01_capitals_of_keys_are_nothing_to_a_kubelet() -> None:
    """Kubernetes' own tests write defaultCPUSet, and its decoder reads that."""
    text = json.dumps({**STATE, "checksum": 0})
    other = add({good.CHECKPOINT: text.replace("defaultCpuSet", "defaultCPUSet")})
    assert judged("CPU-POOL", other).verdict is KEPT
    data = json.dumps(STATE).replace("defaultCpuSet", "defaultCPUSet")
    assert judged("CPU-POOL", written(data=data, dataChecksum=0)).verdict is KEPT
    leaked = json.dumps({**STATE, "defaultCpuSet": "0-1"}).replace("CpuSet", "CPUSet")
    assert judged("CPU-POOL", written(data=leaked, dataChecksum=0)).verdict is BROKEN


def test_version_3_gives_cpus_to_a_pod_as_a_whole() -> None:
    """Its containers share them, and are not in the shared pool."""
    uid, scope = "12345678-9999-4999-8999-999999999999", "8" * 64
    slice_ = f"/kubepods.slice/kubepods-pod{uid.replace('-', '_')}.slice"

    def third(pods: list[Any]) -> None:
        pod = good.other_pod()
        pod["metadata"] |= {"name": "shares", "uid": uid}
        pod["status"]["containerStatuses"] = [good.state("compute", scope)]
        pods.append(pod)

    def state(cpus: str) -> Any:
        keys = {"podEntries": {uid: {"cpuSet": cpus}}, "defaultCpuSet": "0-1,5,10-11"}
        return written(**keys)

    lives = [pod_objects(third), cgroup(f"{slice_}/cri-containerd-{scope}.scope", "8-9", [800])]
    status = good.node_files()[good.status_path(300, 300)]
    status = status.replace("300", "800").replace("6-7", "8-9")
    narrow = [
        add({f"{good.CGROUPS}{path}/cpuset.cpus.effective": "0-1,5,10-11\n"})
        for path in (good.HOOK_CGROUP, good.LOG_CGROUP, good.HANDLER_CGROUP)
    ]
    lives += [add({good.status_path(800, 800): status}), *narrow]
    for requirement in ("CPU-EXCLUSIVE", "CPU-POOL"):
        finding = judged(requirement, state("8-9"), *lives)
        assert finding.verdict is KEPT, finding.message
    assert judged("CPU-EXCLUSIVE", state("4,8-9"), *lives).verdict is BROKEN
    assert judged("CPU-POOL", state("8"), *lives).verdict is BROKEN


def test_a_resize_in_place_may_be_under_way() -> None:
    grown = written(entries={**OWN, good.UID: {"compute": "2-5"}}, defaultCpuSet="0-1,8-11")

    def resizing(pods: list[Any]) -> None:
        pods[0]["status"]["conditions"] = [{"type": "PodResizeInProgress", "status": "True"}]

    assert judged("CPU-EXCLUSIVE", grown).final
    assert judged("CPU-COUNT", grown).verdict is BROKEN
    assert judged("CPU-COUNT", grown, pod_objects(resizing)).verdict is UNSEEN
    finding = judged("CPU-EXCLUSIVE", grown, pod_objects(resizing))
    assert finding.verdict is BROKEN
    assert not finding.final


@pytest.mark.parametrize("pool", [f"{good.POOL},2", "0-1,5,8-10"])
def test_a_cpu_in_both_sets_or_in_none_settles(pool: str) -> None:
    """So a crash between two writes leaves it (kubernetes#136604)."""
    finding = judged("CPU-POOL", written(defaultCpuSet=pool))
    assert finding.verdict is BROKEN
    assert not finding.final


def test_the_first_document_of_a_configuration_is_read() -> None:
    text = "---\nkind: KubeletConfiguration\nreservedSystemCPUs: 0-1\n---\n---\n"
    assert kubelet.kubelet(text, "here").reserved == CpuSet({0, 1})
    other = "kind: KubeletConfiguration\nreservedSystemCPUs: 2-3\n"
    assert kubelet.kubelet(text + other, "here").reserved == CpuSet({0, 1})
    assert kubelet.kubelet(f"{other}{text}", "here").reserved == CpuSet({2, 3})
    for nothing in ("", "---\n---\n", f"kind: ClusterConfiguration\n{text}"):
        with pytest.raises(ParseError, match="KubeletConfiguration"):
            kubelet.kubelet(nothing, "here")
