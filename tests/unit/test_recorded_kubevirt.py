"""Evidence of a real KubeVirt: it was judged conformant, is so today, and is not when spoilt.

`tests/recorded/kubevirt-1.9.tar.xz` is what `--cluster existing` recorded of six cases of the
smoke matrix (docs/lab-notes.md), as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.collecting.bundle import read
from conformance.exits import Exit
from conformance.judging.report import judge
from tests.exhibits import unpacked, without_quotas_of_pods
from tests.selfproof import recording as good

Spoil = Callable[[str], str]


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    return unpacked("kubevirt-1.9", tmp_path)


def with_setting(evidence: Path, kubevirt: str = "v1.9.0") -> Path:
    """The recording with what its version did not record yet: the setting of its cluster, and
    that no pod had a quota."""
    without_quotas_of_pods(evidence)
    run = json.loads((evidence / "run.json").read_text())
    setting = json.loads(json.dumps(good.RECORDED_SETTING))
    setting["kubevirt"]["status"]["observedKubeVirtVersion"] = kubevirt
    (evidence / "run.json").write_text(json.dumps({**run, "setting": setting}))
    return evidence


def test_without_its_setting_nothing_is_broken_and_the_labels_are_not_decided(
    evidence: Path,
) -> None:
    document = judge(read(evidence))
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE
    unseen = {each.requirement for each in document.findings if each.verdict == "not-observed"}
    assert unseen == {"NODE-SELECT", "CPU-QUOTA"}
    assert not failed(evidence)


def failed(evidence: Path) -> set[str]:
    document = judge(read(evidence))
    return {each.requirement for each in document.findings if each.verdict == "fail"}


def test_it_is_conformant(evidence: Path) -> None:
    document = judge(read(with_setting(evidence)))
    said = document.conclusion
    assert said.exit_code == Exit.CONFORMANT
    # Six cases, and a release that is known for one thing: that is not CONFORMANT alone.
    assert said.outcome == "conformant-as-far-as-asked"
    assert (said.known, said.kept < said.applying) == (1, True)
    assert document.setting is not None
    assert any("machine type pc-q35" in each for each in document.setting.libvirt)
    seen: dict[str, set[str]] = {}
    for finding in document.findings:
        seen.setdefault(finding.verdict, set()).add(finding.requirement)
    assert set(seen) == {"pass", "known-divergence", "not-applicable"}
    assert seen["known-divergence"] == {"ADM-REFUSE"}
    assert {
        "CPU-EXCLUSIVE",
        "CPU-POOL",
        "EMU-HOUSEKEEPING",
        "EMU-ISOLATED",
        "GUEST-TOPOLOGY",
        "IOT-ISOLATED",
        "LIFE-RELEASED",
        "PIN-CGROUP",
        "PIN-LIVE",
        "PIN-THREADS",
        "PIN-XML",
        "QOS-CONTAINERS",
        "SIDE-UNPINNED",
        "SMT-SIBLINGS",
    } <= seen["pass"]


def rewritten(evidence: Path, case: str, spoil: Spoil) -> int:
    """Spoils the snapshot of a running VMI and what belongs to it; how many files changed."""
    (snapshot,) = (evidence / "snapshots").glob(f"{case}.running.*.json")
    about: dict[str, Any] = json.loads(snapshot.read_text())
    changed = 0
    for path in (snapshot, evidence / "nodes" / f"{about['on_node']}.json"):
        before = path.read_text()
        after = spoil(before)
        path.write_text(after)
        changed += before != after
    return changed


def thread(name: str, cpus: str) -> Spoil:
    """Lets threads of that name run elsewhere (status of /proc, in JSON)."""
    pattern = rf"(Name:\\t{name}\\n(?:(?!Name:).)*?Cpus_allowed_list:\\t)[0-9,-]+"
    return lambda text: re.sub(pattern, rf"\g<1>{cpus}", text)


@pytest.mark.parametrize(
    ("case", "requirement", "spoil"),
    [
        ("isolate-io", "PIN-XML", lambda t: re.sub(r"(vcpu='0' cpuset=')\d+", r"\g<1>0", t)),
        ("smt-1x2x2", "PIN-THREADS", thread("CPU 0/KVM", "0-11")),
        ("isolate-io", "EMU-ISOLATED", thread("qemu-system-x86", "0-11")),
        ("limits-2", "QOS-POD", lambda t: t.replace('"Guaranteed"', '"Burstable"')),
        ("hook", "SIDE-RESOURCES", lambda t: t.replace('"cpu": "200m"', '"cpu": "0"')),
    ],
)
def test_it_is_not_when_it_is_spoilt(
    evidence: Path, case: str, requirement: str, spoil: Spoil
) -> None:
    assert not failed(evidence)
    assert rewritten(evidence, case, spoil)
    assert requirement in failed(evidence)
