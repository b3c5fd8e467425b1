"""What the kubelet needs to see before it gives exclusive CPUs."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("QOS-POD")
def test_launcher_pod_is_guaranteed(judged: Judged) -> None:
    """The launcher pod of a dedicated VMI has QoS class Guaranteed."""
    judged.must_be_kept()


@requirement("QOS-VMI")
def test_vmi_says_that_it_is_guaranteed(judged: Judged) -> None:
    """The status of a dedicated VMI has the QoS class Guaranteed."""
    judged.must_be_kept()


@requirement("QOS-CONTAINERS")
def test_every_container_requests_what_it_is_limited_to(judged: Judged) -> None:
    """Every container of the launcher pod, init containers included, expresses CPU and memory,
    and requests what it is limited to.
    """
    judged.must_be_kept()


@requirement("QOS-INTEGER")
def test_compute_container_requests_whole_cpus(judged: Judged) -> None:
    """The compute container asks for a whole number of CPUs."""
    judged.must_be_kept()
