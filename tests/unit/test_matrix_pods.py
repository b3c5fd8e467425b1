"""What is expected of plain pods."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.matrix.matrices import matrix
from conformance.matrix.oracle import expect
from conformance.matrix.pods import guaranteed, pod

DEDICATED = {"pod-1": 1, "pod-2": 2, "pod-3": 3, "pod-4": 4, "pod-sidecar": 2}
MEMORY = {"memory": "32Mi"}


def test_every_class_of_pod_is_in_the_matrix() -> None:
    cases = {case.id: case.expectation for case in matrix("pods")}
    assert {name: each.compute_cpus for name, each in cases.items() if each.dedicated} == DEDICATED
    assert {name for name, each in cases.items() if not each.dedicated} == {
        "pod-half",
        "pod-burstable",
        "pod-spoilt",
        "pod-plain",
    }
    assert not any(each.guest for each in cases.values())


@pytest.mark.parametrize(
    ("resources", "own"),
    [
        ({"limits": {"cpu": "2", **MEMORY}}, 2),
        ({"requests": {"cpu": "2000m", **MEMORY}, "limits": {"cpu": "2", **MEMORY}}, 2),
        ({"requests": {"cpu": "2", **MEMORY}}, 0),
        ({"limits": {"cpu": "2"}}, 0),
        (guaranteed("500m"), 0),
        (guaranteed(0), 0),
    ],
)
def test_exclusive_cpus_go_to_guaranteed_whole_numbers(resources: Any, own: int) -> None:
    expectation = expect(pod("one", resources))
    assert (expectation.dedicated, expectation.compute_cpus) == (own > 0, own)
    assert [each.name for each in expectation.sidecars] == ([] if own else ["compute"])
