"""What commands print for other programs, and what a run would create."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance import cli
from conformance.exits import Exit


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(list(words)) == Exit.CONFORMANT
    return capsys.readouterr().out


def both(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    as_json = json.loads(said(capsys, *words, "-o", "json"))
    assert as_json == yaml.safe_load(said(capsys, *words, "-o", "yaml"))
    return as_json


def test_requirements(capsys: pytest.CaptureFixture[str]) -> None:
    found = both(capsys, "requirements")
    assert {"id", "level", "text", "sources"} <= found[0].keys()
    assert [each["id"] for each in both(capsys, "requirements", "PIN-THREADS")] == ["PIN-THREADS"]
    assert cli.main(["requirements", "NOTHING", "-o", "json"]) == Exit.USAGE


def test_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    found = both(capsys, "matrix", "smoke")
    assert {each["must_be"] for each in found} == {"admitted", "refused"}
    assert all(each["manifest"]["kind"] for each in found)


def test_status(capsys: pytest.CaptureFixture[str], runtime: Path) -> None:
    assert both(capsys, "status") == []


def test_dry_run_prints_what_would_be_created(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(yaml.safe_load_all(said(capsys, "run", "--dry-run")))
    assert found[0]["kind"] == "Namespace"
    (namespace,) = {each["metadata"]["namespace"] for each in found[1:]}
    assert found[0]["metadata"]["name"] == namespace
    cases = both(capsys, "matrix", "smoke")
    assert len(found) == 1 + len(cases)


def test_images_of_a_run_and_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ours = said(capsys, "run", "--list-images", "--image-prefix", "registry.example/team")
    assert ours.split() == [
        f"registry.example/team/{name}:latest" for name in ("disk", "guest", "sidecar")
    ]
    vmi = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "mine"},
        "spec": {
            "domain": {
                "cpu": {"cores": 2, "dedicatedCpuPlacement": True},
                "memory": {"guest": "64Mi"},
                "devices": {"disks": [{"name": "d", "disk": {"bus": "virtio"}}]},
            },
            "volumes": [{"name": "d", "containerDisk": {"image": "registry.example/mine:1"}}],
        },
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(vmi))
    assert said(capsys, "run", "-f", str(file), "--list-images").split() == [
        "registry.example/mine:1"
    ]
    assert cli.main(["run", "-f", str(tmp_path / "none.yaml"), "--dry-run"]) == Exit.USAGE
