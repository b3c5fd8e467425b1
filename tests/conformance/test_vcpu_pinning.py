"""Where the vCPUs run, by four witnesses."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("PIN-XML")
def test_domain_pins_every_vcpu_to_a_pcpu_of_its_own(judged: Judged) -> None:
    """The domain XML pins every enabled vCPU to one pCPU of the container, no two to the same."""
    judged.must_be_kept()


@requirement("PIN-HINT")
def test_guest_is_told_that_its_cpus_are_its_own(judged: Judged) -> None:
    """The domain of an x86_64 guest has the KVM hint hint-dedicated."""
    judged.must_be_kept()


@requirement("PIN-LIVE")
def test_running_libvirt_says_the_same(judged: Judged) -> None:
    """The running libvirt reports the pins that the domain XML declares."""
    judged.must_be_kept()


@requirement("PIN-THREADS")
def test_vcpu_threads_really_run_where_they_are_pinned(judged: Judged) -> None:
    """The kernel lets each vCPU thread run on exactly the pCPU that libvirt says."""
    judged.must_be_kept()


@requirement("PIN-CGROUP")
def test_vcpu_threads_sit_in_a_cgroup_that_owns_their_pcpu(judged: Judged) -> None:
    """The cgroup of each vCPU thread holds its pCPU."""
    judged.must_be_kept()
