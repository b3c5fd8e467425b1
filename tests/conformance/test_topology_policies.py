"""Nodes that keep the CPUs of a pod on few NUMA nodes."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("NUMA-ALIGNED")
def test_cpus_are_on_as_few_numa_nodes_as_the_policy_says(judged: Judged) -> None:
    """CPUs of too many NUMA nodes are rejected with the reason; what is given is on few."""
    judged.must_be_kept()
