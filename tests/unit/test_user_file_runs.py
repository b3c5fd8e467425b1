"""Whole runs on the simulated cluster of what users keep in their files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MACHINES = HERE / "users_machines.yaml"
RUN = ("run", "--cluster", "simulated", "-n", "0")

TYPES = """\
apiVersion: instancetype.kubevirt.io/v1beta1
kind: VirtualMachineClusterInstancetype
metadata: {name: cx1.2}
spec:
  cpu: {guest: 2, dedicatedCPUPlacement: true}
  memory: {guest: 96Mi}
---
apiVersion: instancetype.kubevirt.io/v1beta1
kind: VirtualMachinePreference
metadata: {name: as-cores, namespace: default}
spec: {cpu: {preferredCPUTopology: cores}}
"""
MACHINE = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: stocked}
spec:
  running: false
  instancetype: {name: cx1.2, kind: VirtualMachineClusterInstancetype}
  preference: {name: as-cores, kind: virtualmachinepreference}
  template:
    spec: {terminationGracePeriodSeconds: 0, domain: {devices: {}}}
"""


def conform(
    report_dir: Path, *arguments: object, module: tuple[object, ...] = ("conformance",)
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *module, *RUN, "--report-dir", report_dir, *arguments]
    return subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
    )


def report(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return found


def cases(directory: Path) -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in report(directory)["cases"]}


def verdicts(directory: Path, case: str) -> dict[str, str]:
    findings = report(directory)["findings"]
    return {each["requirement"]: each["verdict"] for each in findings if each["case"] == case}


def test_what_makes_vmis_is_judged_by_them(tmp_path: Path) -> None:
    ended = conform(tmp_path, "--matrix", MACHINES)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = cases(tmp_path)
    assert found["gateway.example.com"]["outcome"].startswith("Running on")
    assert found["gateway.example.com"]["expectation"]["topology"] == "1x2x2"
    assert verdicts(tmp_path, "gateway.example.com")["EMU-ISOLATED"] == "pass"
    assert verdicts(tmp_path, "web")["CPU-EXCLUSIVE"] == "pass"
    assert verdicts(tmp_path, "pool")["LIFE-RELEASED"] == "pass"
    assert verdicts(tmp_path, "both") == {"ADM-REFUSE": "pass"}
    assert found["Service web"]["outcome"].startswith("not judged")
    assert "Secret cloud-init is made in namespace" in ended.stdout
    # What a Secret says is nobody's business.
    assert "#cloud-config" not in "".join(
        path.read_text() for path in (tmp_path / "evidence").rglob("*.json")
    )
    again = subprocess.run(
        [sys.executable, "-m", "conformance", "judge", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_machine_that_does_not_get_what_its_instance_type_says_is_seen(tmp_path: Path) -> None:
    ended = conform(tmp_path, "--matrix", MACHINES, "--break", "instancetype_ignored")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert verdicts(tmp_path, "gateway.example.com")["CPU-COUNT"] == "fail"
    assert "fail" not in verdicts(tmp_path, "web").values()


def test_what_is_on_the_cluster_already_is_read_before_the_case(tmp_path: Path) -> None:
    (tmp_path / "types.yaml").write_text(TYPES)
    (tmp_path / "machine.yaml").write_text(MACHINE)
    ended = conform(
        tmp_path / "report",
        *("--matrix", tmp_path / "machine.yaml"),
        module=("tests.unit.stocked_run", tmp_path / "types.yaml"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    case = cases(tmp_path / "report")["stocked"]
    assert case["expectation"]["topology"] == "1x2x1"
    assert case["expectation"]["exclusive pCPUs"] == "2"
    run = json.loads((tmp_path / "report/evidence/run.json").read_text())
    kinds = [obj["kind"] for obj in run["cases"][0]["beside"]]
    assert kinds == ["VirtualMachineClusterInstancetype", "VirtualMachinePreference"]


def test_an_instance_type_that_is_nowhere_leaves_its_machine_unjudged(tmp_path: Path) -> None:
    (tmp_path / "machine.yaml").write_text(MACHINE)
    ended = conform(tmp_path / "report", "--matrix", tmp_path / "machine.yaml")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    case = cases(tmp_path / "report")["stocked"]
    assert case["outcome"].startswith("not created: not judged: VirtualMachineClusterInstancetype")
    assert set(verdicts(tmp_path / "report", "stocked").values()) == {"not-observed"}


VMI = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 0
  domain:
    cpu: {CPU, dedicatedCpuPlacement: true}
    memory: {guest: MEMORY}
    devices: {DEVICES}
"""


def vmi(name: str, cpu: str, memory: str = "96Mi", devices: str = "") -> str:
    text = VMI.replace("NAME", name).replace("CPU,", f"{cpu},")
    return text.replace("MEMORY", memory).replace("DEVICES", devices)


def test_faults_of_a_file_are_no_failures_of_the_cluster(tmp_path: Path) -> None:
    pages = "1536Mi, hugepages: {pageSize: 1Gi}"
    documents = (
        vmi("no-volume", "cores: 1", devices="disks: [{name: lost, disk: {bus: virtio}}]"),
        vmi("pages", "cores: 1", pages),
        vmi("two.cores", "cores: 2.0"),
        vmi("tuned", "cores: 1, features: [{name: invtsc}]"),
    )
    (tmp_path / "mine.yaml").write_text("---\n".join(documents))
    ended = conform(tmp_path / "report", "--matrix", tmp_path / "mine.yaml")
    directory = tmp_path / "report"
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert verdicts(directory, "no-volume")["ADM-ACCEPT"] == "not-observed"
    assert "no-volume: the cluster refuses this manifest: 422" in ended.stdout
    assert verdicts(directory, "pages") == {"ADM-REFUSE": "pass"}
    assert verdicts(directory, "two.cores")["CPU-COUNT"] == "pass"
    assert (
        cases(directory)["tuned"]["expectation"]["notes"]
        == "asked for, not judged: CPU features (invtsc)"
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("dedicatedCPUPlacement: true,", "dedicatedCpuPlacement: true,", "did you mean"),
        ("guest: 4,", "guest: $CPUS,", "a template: expand it first"),
    ],
)
def test_a_file_that_says_something_else_than_it_means_is_refused_first(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    text = MACHINES.read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    ended = conform(tmp_path / "report", "--matrix", path)
    assert ended.returncode == 3, ended.stdout
    assert told in ended.stderr
