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


@requirement("IOT-WITHIN")
def test_iothreads_stay_on_the_pcpus_of_the_vmi(judged: Judged) -> None:
    """Every IOThread runs on pCPUs that the VMI owns."""
    judged.must_be_kept()


@requirement("IOT-ISOLATED")
def test_iothreads_join_the_isolated_emulator(judged: Judged) -> None:
    """With isolateEmulatorThread and ioThreadsPolicy auto, IOThreads run beside the emulator."""
    judged.must_be_kept()
