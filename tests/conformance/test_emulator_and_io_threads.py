"""Where everything of QEMU that is no vCPU runs."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("EMU-ISOLATED")
def test_isolated_emulator_has_a_pcpu_of_its_own(judged: Judged) -> None:
    """With isolateEmulatorThread the emulator threads run on a pCPU apart from every vCPU."""
    judged.must_be_kept()


@requirement("EMU-HOUSEKEEPING")
def test_housekeeping_cgroup_holds_all_but_the_vcpus(judged: Judged) -> None:
    """With isolateEmulatorThread the container's own cgroup holds vCPU threads only; all others
    are in its child, housekeeping.
    """
    judged.must_be_kept()


@requirement("EMU-PIT")
def test_timer_of_the_guest_runs_beside_vcpu_0(judged: Judged) -> None:
    """The kernel thread kvm-pit of the guest runs where vCPU 0 does, and nowhere else."""
    judged.must_be_kept()


@requirement("IOT-WITHIN")
def test_iothreads_stay_on_the_pcpus_of_the_vmi(judged: Judged) -> None:
    """Every IOThread runs on pCPUs that the VMI owns."""
    judged.must_be_kept()


@requirement("IOT-POOL")
def test_iothreads_of_a_pool_have_a_pcpu_each(judged: Judged) -> None:
    """Each IOThread of a supplemental pool has a pCPU apart from vCPUs and emulator."""
    judged.must_be_kept()


@requirement("IOT-SPREAD")
def test_iothreads_are_spread_over_the_pcpus(judged: Judged) -> None:
    """More IOThreads than vCPUs are pinned in turn, fewer to shares of the pCPUs."""
    judged.must_be_kept()


@requirement("IOT-DISKS")
def test_dedicated_iothread_is_never_shared(judged: Judged) -> None:
    """A disk with dedicatedIOThread has an IOThread that no other disk uses."""
    judged.must_be_kept()


@requirement("IOT-ISOLATED")
def test_iothreads_join_the_isolated_emulator(judged: Judged) -> None:
    """With isolateEmulatorThread and ioThreadsPolicy auto, IOThreads run beside the emulator."""
    judged.must_be_kept()
