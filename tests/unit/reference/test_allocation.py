"""The static CPU manager takes the same pCPUs as the released kubelet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusters.contract import cpuset
from clusters.reference.kubelet.allocation import AllocationError, take
from clusters.reference.node_topology import Cpu, NodeTopology

VECTORS = json.loads(
    (Path(__file__).parents[2] / "recorded" / "kubelet-allocation.json").read_text()
)


def test_there_are_recorded_answers() -> None:
    assert len(VECTORS) == 600


def test_every_recorded_answer_is_reproduced() -> None:
    wrong = []
    for vector in VECTORS:
        topology = NodeTopology(
            {row[0]: Cpu(row[0], row[1], row[2], row[3]) for row in vector["cpus"]}
        )
        options = frozenset(vector["option"].split(","))
        try:
            answer = cpuset.render(
                take(topology, cpuset.parse(vector["available"]), vector["request"], options)
            )
        except AllocationError as error:
            answer = str(error)
        if answer != vector.get("result", vector.get("error")):
            wrong.append((answer, vector))
    assert not wrong, f"{len(wrong)} of {len(VECTORS)} differ, such as {wrong[0]}"


def test_more_than_is_free_is_refused_with_both_numbers() -> None:
    topology = NodeTopology({n: Cpu(n, n, 0, 0) for n in range(4)})
    with pytest.raises(AllocationError, match="requested=3, available=2"):
        take(topology, frozenset({1, 2}), 3)
