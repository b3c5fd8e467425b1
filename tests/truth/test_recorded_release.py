"""Evidence of a released KubeVirt: v1.8.4 on Kubernetes 1.36.2, recorded through virt-handler.

Two VMIs of the smoke matrix, on a node that starved: a third one's launcher had given up, and the
connection to virt-handler broke while their release was looked at. Four of the standard matrix: two
that this release does not start, and two that it does. One of these again, on a node so slow that
virt-handler did not wait for the launcher's answer. A scenario whose node was looked at before its
kubelet had come by. And of a v1.7.4 its node and some of its
refusals: it has the label of both documents.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from conformance.collecting.bundle import read
from conformance.judging.report import judge
from reports.document import Verdict
from tests.exhibits import unpacked

PANICKED = "1x1x1-requests-io-auto-hooks-mem-limits"
ELSEWHERE = "2x2x2-both-io-pool-disk-mem-equal"
CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    return unpacked("kubevirt-1.8.4", tmp_path)


@pytest.fixture
def standard(tmp_path: Path) -> Path:
    return unpacked("kubevirt-1.8.4-standard", tmp_path)


@pytest.mark.parametrize(
    "case", ["3x2x1-topology-isolated-io-auto-hook-disk-mem-guest", "numa-isolate"]
)
def test_what_it_starts_is_kept(standard: Path, case: str) -> None:
    kept = by_verdict(standard, case, Verdict.PASS)
    assert {"CPU-EXCLUSIVE", "CPU-POOL", "PIN-THREADS", "EMU-HOUSEKEEPING", "LIFE-RELEASED"} <= kept
    open_ = (Verdict.FAIL, Verdict.ERROR, Verdict.NOT_OBSERVED, Verdict.KNOWN_DIVERGENCE)
    assert not [each for verdict in open_ for each in by_verdict(standard, case, verdict)]


@pytest.mark.parametrize("case", [PANICKED, ELSEWHERE])
def test_what_it_does_not_start_is_known_of_it(standard: Path, case: str) -> None:
    assert by_verdict(standard, case, Verdict.KNOWN_DIVERGENCE) == {"RUN-STARTED"}
    assert {"QOS-POD", "LIFE-RELEASED"} <= by_verdict(standard, case, Verdict.PASS)
    assert not by_verdict(standard, case, Verdict.NOT_OBSERVED)


@pytest.mark.parametrize("case", [PANICKED, ELSEWHERE])
def test_twin_a_release_that_has_mended_it_must_start_it(standard: Path, case: str) -> None:
    run = json.loads((standard / "run.json").read_text())
    run["setting"]["kubevirt"]["status"]["observedKubeVirtVersion"] = "v1.9.0"
    (standard / "run.json").write_text(json.dumps(run))
    assert by_verdict(standard, case, Verdict.FAIL) == {"RUN-STARTED"}


@pytest.fixture
def unanswered(tmp_path: Path) -> Path:
    return unpacked("kubevirt-1.8.4-unanswered", tmp_path)


def test_what_it_does_not_start_is_not_observed_when_nobody_waited_for_the_answer(
    unanswered: Path,
) -> None:
    assert "RUN-STARTED" in by_verdict(unanswered, ELSEWHERE, Verdict.NOT_OBSERVED)
    assert not by_verdict(unanswered, ELSEWHERE, Verdict.FAIL)
    assert {"QOS-POD", "LIFE-RELEASED"} <= by_verdict(unanswered, ELSEWHERE, Verdict.PASS)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("cannot set CPU affinity on process 77: Invalid argument", Verdict.KNOWN_DIVERGENCE),
        ("internal error: process exited while connecting to monitor", Verdict.FAIL),
    ],
)
def test_twin_an_answer_decides(unanswered: Path, answer: str, verdict: Verdict) -> None:
    (path,) = (unanswered / "snapshots").glob(f"{ELSEWHERE}.running.*.json")
    data = json.loads(path.read_text())
    (event,) = [each for each in data["events"] if each["reason"] == "SyncFailed"][:1]
    event["message"] = f"server error. command SyncVMI failed: \"LibvirtError(Message='{answer}')\""
    path.write_text(json.dumps(data))
    assert by_verdict(unanswered, ELSEWHERE, verdict) >= {"RUN-STARTED"}


def by_verdict(evidence: Path, case: str, verdict: Verdict) -> set[str]:
    found = judge(read(evidence)).findings
    return {each.requirement for each in found if each.case == case and each.verdict is verdict}


@pytest.mark.parametrize("case", ["isolate-io", "sockets-2"])
def test_what_could_be_seen_of_it_is_kept_and_nothing_is_broken(evidence: Path, case: str) -> None:
    assert not by_verdict(evidence, case, Verdict.FAIL)
    kept = by_verdict(evidence, case, Verdict.PASS)
    assert {"RUN-STARTED", "QOS-POD", "CPU-COUNT", "PIN-XML", "PIN-LIVE", "PIN-THREADS"} <= kept
    assert {"PIN-CGROUP", "CPU-QUOTA", "NODE-LABEL", "NODE-SELECT", "GUEST-TOPOLOGY"} <= kept
    if case == "isolate-io":
        assert {"EMU-ISOLATED", "EMU-HOUSEKEEPING", "IOT-ISOLATED", "IOT-WITHIN"} <= kept


def test_versions_of_everything_are_told(evidence: Path) -> None:
    setting = judge(read(evidence)).setting
    assert setting is not None
    assert (setting.kubevirt, setting.kubernetes) == ("v1.8.4", "v1.36.2")
    assert any("libvirt 11.3.0" in each for each in setting.libvirt)


def test_twin_a_vcpu_thread_that_was_moved_is_broken(evidence: Path) -> None:
    (snapshot,) = (evidence / "snapshots").glob("sockets-2.running.*.json")
    shared = evidence / "nodes" / f"{json.loads(snapshot.read_text())['on_node']}.json"
    pods, files = json.loads(shared.read_text())
    (path, *_) = [path for path, text in files.items() if text.startswith("Name:\tCPU 0/KVM")]
    text = files[path]
    start = text.index("Cpus_allowed_list:")
    files[path] = f"{text[:start]}Cpus_allowed_list:\t0-11"
    shared.write_text(json.dumps([pods, files]))
    failed = {each.requirement for each in judge(read(evidence)).findings if each.verdict == "fail"}
    assert "PIN-THREADS" in failed


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return unpacked("kubevirt-1.7.4", tmp_path)


def test_c04_a_release_with_the_old_label_keeps_what_its_documents_say(older: Path) -> None:
    found = [each for each in judge(read(older)).findings if each.evidence]
    assert {each.verdict for each in found} <= {Verdict.PASS, Verdict.KNOWN_DIVERGENCE}
    assert "NODE-LABEL" in by_verdict(older, "_nodes", Verdict.PASS)
    assert [each for each in found if each.requirement == "ADM-REFUSE"]


def test_c04_twin_an_old_label_that_lies_is_broken(older: Path) -> None:
    (snapshot,) = (older / "snapshots").glob("_nodes.*.json")
    data = json.loads(snapshot.read_text())
    assert data["node"]["metadata"]["labels"]["cpumanager"] == "true"
    data["node"]["metadata"]["labels"]["cpumanager"] = "false"
    snapshot.write_text(json.dumps(data))
    assert "NODE-LABEL" in by_verdict(older, "_nodes", Verdict.FAIL)


@pytest.fixture
def aborted(tmp_path: Path) -> Path:
    return unpacked("kubevirt-1.8.4-aborted", tmp_path)


def of_scenario(evidence: Path, requirement: str) -> list[Verdict]:
    found = judge(read(evidence)).findings
    return [each.verdict for each in found if each.requirement == requirement]


def test_what_a_kubelet_has_not_come_by_yet_breaks_nothing(aborted: Path) -> None:
    """Three VMIs were deleted; their node was looked at once, seconds before its kubelet."""
    assert of_scenario(aborted, "LIFE-ABORTED") == [Verdict.NOT_OBSERVED]


def looked_again(evidence: Path, seconds: int, *, entry: bool) -> None:
    """The node was looked at once more, and the entry was there still, or not."""
    (first,) = (evidence / "snapshots").glob("deleted-while-starting.after.*.json")
    data = json.loads(first.read_text())
    for key in ("began", "ended"):
        later = datetime.fromisoformat(data[key]) + timedelta(seconds=seconds)
        data[key] = later.isoformat(timespec="milliseconds")
    if not entry:
        shared = evidence / "nodes" / f"{data['on_node']}.json"
        pods, files = json.loads(shared.read_text())
        checkpoint = json.loads(files[CHECKPOINT])
        files[CHECKPOINT] = json.dumps(checkpoint | {"defaultCpuSet": "0-11", "entries": {}})
        data["on_node"] = "0123456789abcdef"
        (evidence / "nodes" / "0123456789abcdef.json").write_text(json.dumps([pods, files]))
    again = first.name.replace("202612011017", "202612011019")
    (first.parent / again).write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("seconds", "entry", "verdict"),
    [
        (10, False, Verdict.PASS),
        (10, True, Verdict.NOT_OBSERVED),
        (60, True, Verdict.FAIL),
    ],
    ids=["gone", "too-early", "leaked"],
)
def test_twin_a_second_look_decides(
    aborted: Path, seconds: int, verdict: Verdict, *, entry: bool
) -> None:
    looked_again(aborted, seconds, entry=entry)
    assert of_scenario(aborted, "LIFE-ABORTED") == [verdict]


@pytest.fixture
def parity(tmp_path: Path) -> Path:
    return unpacked("kubevirt-1.8.4-parity", tmp_path)


PARITY = "1x1x1-equal-even-io-pool-mem-guest"


def test_even_parity_that_counts_a_pool_twice_is_known(parity: Path) -> None:
    """One vCPU and one IOThread take two CPUs for the emulator; it gave one, three in all."""
    assert "CPU-COUNT" in by_verdict(parity, PARITY, Verdict.KNOWN_DIVERGENCE)
    assert not by_verdict(parity, PARITY, Verdict.FAIL)


def limited_to(evidence: Path, cpus: int) -> None:
    """In whatever shows the pod: its own record, and what is recorded of its node."""
    for path in (*evidence.glob("snapshots/*.json"), *evidence.glob("nodes/*.json")):
        path.write_text(path.read_text().replace('"cpu": "3"', f'"cpu": "{cpus}"'))


def test_twin_another_number_is_broken(parity: Path) -> None:
    limited_to(parity, 2)
    assert "CPU-COUNT" in by_verdict(parity, PARITY, Verdict.FAIL)


def test_twin_of_a_release_that_had_not_come_to_it_it_is_broken(parity: Path) -> None:
    run = json.loads((parity / "run.json").read_text())
    run["setting"]["kubevirt"]["status"]["observedKubeVirtVersion"] = "v1.5.0"
    (parity / "run.json").write_text(json.dumps(run))
    assert "CPU-COUNT" in by_verdict(parity, PARITY, Verdict.FAIL)
