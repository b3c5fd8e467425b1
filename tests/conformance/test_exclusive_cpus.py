"""Whose the pCPUs are."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("CPU-COUNT")
def test_compute_container_gets_as_many_pcpus_as_the_vmi_needs(judged: Judged) -> None:
    """The compute container owns one pCPU for each vCPU, and those of isolated emulator and
    supplemental IOThreads, no fewer and no more.
    """
    judged.must_be_kept()


@requirement("CPU-EXCLUSIVE")
def test_nobody_else_may_run_on_the_pcpus_of_the_vmi(judged: Judged) -> None:
    """The pCPUs that the kubelet assigned are those of the compute container's cgroup, and no
    other container of the node may run there.
    """
    judged.must_be_kept()


@requirement("CPU-RESERVED")
def test_reserved_cpus_are_never_given_away(judged: Judged) -> None:
    """CPUs reserved for the system are not among the exclusive ones."""
    judged.must_be_kept()


@requirement("CPU-POOL")
def test_everybody_else_shares_what_is_left(judged: Judged) -> None:
    """The shared pool is what nobody owns; every other container is confined to it."""
    judged.must_be_kept()


@requirement("CPU-QUOTA")
def test_exclusive_cpus_are_not_throttled(judged: Judged) -> None:
    """The CFS quota does not throttle a container that owns its CPUs."""
    judged.must_be_kept()
