"""What the guest sees."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("SMT-SIBLINGS")
def test_guest_siblings_are_host_siblings(judged: Judged) -> None:
    """vCPUs that the guest takes for siblings run on siblings of the host."""
    judged.must_be_kept()


@requirement("GUEST-VCPUS")
def test_guest_sees_its_vcpus(judged: Judged) -> None:
    """The guest sees as many CPUs as the VMI asks for."""
    judged.must_be_kept()


@requirement("GUEST-TOPOLOGY")
def test_guest_sees_the_topology_of_the_vmi(judged: Judged) -> None:
    """The guest sees the sockets, cores and threads of the VMI."""
    judged.must_be_kept()


@requirement("NUMA-MAPPED")
def test_numa_nodes_of_the_guest_mirror_the_hosts(judged: Judged) -> None:
    """A guest that is told of NUMA nodes has its vCPUs grouped as their pCPUs are."""
    judged.must_be_kept()


@requirement("NUMA-MEMORY")
def test_memory_is_bound_where_the_vcpus_are(judged: Judged) -> None:
    """The memory of each NUMA cell is bound to the host's node of its vCPUs."""
    judged.must_be_kept()


@requirement("NUMA-PAGES")
def test_memory_lies_on_huge_pages_where_the_vcpus_run(judged: Judged) -> None:
    """All memory of the guest is on huge pages as asked for, on the nodes of its vCPUs."""
    judged.must_be_kept()


@requirement("RT-SCHED")
def test_vcpus_of_the_mask_are_scheduled_in_real_time(judged: Judged) -> None:
    """vCPUs of the mask run under SCHED_FIFO with priority 1, and no other vCPU does."""
    judged.must_be_kept()


@requirement("PLUG-BOOT")
def test_guest_boots_with_its_sockets_and_room_for_more(judged: Judged) -> None:
    """The domain allows the vCPUs of maxSockets, and enables those of the VMI's sockets."""
    judged.must_be_kept()
