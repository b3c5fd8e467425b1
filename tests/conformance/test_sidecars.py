"""The containers beside the compute container."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("SIDE-RESOURCES")
def test_sidecars_cost_cpu_and_memory(judged: Judged) -> None:
    """Sidecars carry the CPU and memory that the promise names."""
    judged.must_be_kept()


@requirement("SIDE-UNPINNED")
def test_sidecars_are_not_pinned(judged: Judged) -> None:
    """Sidecars own no pCPU; they run in the shared pool."""
    judged.must_be_kept()
