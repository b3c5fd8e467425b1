"""cpusets and quantities are read as the kernel and Kubernetes read them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.contract import cpuset
from clusters.contract.shape import NodeShape
from clusters.reference import quantity
from clusters.reference.node_topology import discover
from clusters.simulated.machine import SimulatedMachine


@given(st.frozensets(st.integers(0, 300)))
def test_cpusets_survive_a_round_trip(cpus: frozenset[int]) -> None:
    assert cpuset.parse(cpuset.render(cpus)) == cpus


@pytest.mark.parametrize(("text", "cpus"), [("", set()), ("0-2,5\n", {0, 1, 2, 5}), ("7", {7})])
def test_cpuset_syntax(text: str, cpus: set[int]) -> None:
    assert cpuset.parse(text) == cpus


@pytest.mark.parametrize("text", ["3-1", "a", "1--2"])
def test_malformed_cpusets_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        cpuset.parse(text)


@pytest.mark.parametrize(
    ("text", "value", "milli"),
    [
        ("2", 2, 2000),
        (2, 2, 2000),
        ("1500m", 2, 1500),
        (0.5, 1, 500),
        ("64M", 64_000_000, 64_000_000_000),
        ("2Gi", 2 * 1024**3, 2 * 1024**3 * 1000),
        ("1e3", 1000, 1_000_000),
        ("-1500m", -2, -1500),
        (".5", 1, 500),
        (None, 0, 0),
    ],
)
def test_quantities_round_away_from_zero(
    text: quantity.Written | None, value: int, milli: int
) -> None:
    assert (quantity.value(text), quantity.milli(text)) == (value, milli)


@pytest.mark.parametrize("text", ["", "two", "1 Gi", "1gi", "--1", "1.2.3", True])
def test_malformed_quantities_are_refused(text: quantity.Written) -> None:
    with pytest.raises(quantity.MalformedError, match="quantit"):
        quantity.parse(text)


def test_quantities_are_written_as_kubernetes_does() -> None:
    assert quantity.render_bytes(556 * 1024**2) == "556Mi"
    assert quantity.render_bytes(1000) == "1000"
    assert (quantity.render_milli(1500), quantity.render_milli(2000)) == ("1500m", "2")


def test_the_topology_is_read_from_the_node() -> None:
    topology = asyncio.run(discover(SimulatedMachine(NodeShape(2, 3, 2, 2))))
    assert topology.numa_cells == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    assert topology.threads_per_core == 2
    assert topology.siblings({1, 6}) == {0, 1, 6, 7}
