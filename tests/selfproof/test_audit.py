"""An audit of a stack that is broken on purpose names what is broken, from the node alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.shape import SHAPES
from conformance.exits import Exit
from tests.unit.existing.test_existing_audit import SIDECAR, audit, cluster, populate, vmi

Json = dict[str, Any]


def everything() -> list[Json]:
    """VMIs that between them have all that an audit judges."""
    hooked, io = vmi("hooked"), vmi("io", isolate=True)
    hooks = json.dumps([{"image": SIDECAR}])
    hooked["metadata"]["annotations"] = {"hooks.kubevirt.io/hookSidecars": hooks}
    io["spec"]["domain"] |= {"ioThreadsPolicy": "auto"}
    io["spec"]["domain"]["devices"] = {"disks": [{"name": "d", "disk": {"bus": "virtio"}}]}
    io["spec"]["volumes"] = [{"name": "d", "emptyDisk": {"capacity": "8Mi"}}]
    return [hooked, io]


@pytest.mark.parametrize(
    ("fault", "requirement"),
    [
        ("qos_broken", "QOS-POD"),
        ("sidecar_without_resources", "SIDE-RESOURCES"),
        ("sidecar_pinned", "SIDE-RESOURCES"),
        ("quota_kept", "CPU-QUOTA"),
        ("reserved_handed_out", "CPU-RESERVED"),
        ("overlapping_sets", "CPU-EXCLUSIVE"),
        ("shared_pool_not_updated", "CPU-POOL"),
        ("shared_on_exclusive", "CPU-POOL"),
        ("vcpu_pinned_to_neighbour", "PIN-THREADS"),
        ("vcpus_not_pinned", "PIN-THREADS"),
        ("emulator_not_isolated", "EMU-ISOLATED"),
        ("housekeeping_missing", "EMU-HOUSEKEEPING"),
        ("selector_missing", "NODE-SELECT"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, fault: str, requirement: str) -> None:
    with cluster(SHAPES["default"], fault) as handle:
        populate(handle, *everything())
        code, report = audit(handle, tmp_path)
    failed = {each["requirement"] for each in report["findings"] if each["verdict"] == "fail"}
    assert requirement in failed
    assert code == Exit.NOT_CONFORMANT


def test_what_only_libvirt_tells_is_named_when_it_is_asked(tmp_path: Path) -> None:
    with cluster(SHAPES["default"], "iothreads_on_vcpus") as handle:
        populate(handle, *everything())
        code, report = audit(handle, tmp_path, "--libvirt")
    failed = {each["requirement"] for each in report["findings"] if each["verdict"] == "fail"}
    assert "IOT-ISOLATED" in failed
    assert code == Exit.NOT_CONFORMANT


@pytest.mark.parametrize(
    ("fault", "shape"), [("label_missing", "default"), ("label_always_true", "policy-none")]
)
def test_a_node_that_is_labelled_wrongly_is_named_though_nobody_runs_there(
    tmp_path: Path, fault: str, shape: str
) -> None:
    with cluster(SHAPES[shape], fault) as handle:
        code, report = audit(handle, tmp_path)
    failed = {each["requirement"] for each in report["findings"] if each["verdict"] == "fail"}
    assert failed == {"NODE-LABEL"}
    assert code == Exit.NOT_CONFORMANT


def test_the_same_stack_without_a_fault_is_clean(tmp_path: Path) -> None:
    with cluster(SHAPES["default"]) as handle:
        populate(handle, *everything())
        code, report = audit(handle, tmp_path)
    assert code == Exit.CONFORMANT
    assert {each["verdict"] for each in report["findings"]} <= {"pass", "not-applicable"}
