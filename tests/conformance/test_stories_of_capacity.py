"""Stories of full nodes."""

from __future__ import annotations

from conformance.checks.parity import VCPUS
from conformance.matrix.manifests import Wish
from fixtures.stories import Telling
from fixtures.suite import scenario

TWO = Wish(cores=2)
HOOKED = Wish(cores=2, hooks=1)


@scenario("node-full")
def test_vmi_waits_for_cpus_and_starts_when_they_are_free(story: Telling) -> None:
    """LIFE-PENDING and LIFE-REUSED: a second VMI waits with a reason while the first one has
    the last CPUs, and gets CPUs of its own as soon as that has given them back.
    """
    node, *_ = story.labelled_nodes()
    story.fill(node, leave_milli=3500)
    first = story.vmi("first", TWO)
    story.runs(first)
    second = story.vmi("second", TWO)
    story.waits(second)
    story.look("full", first, second)
    story.look_at_nodes("full")
    story.delete(first)
    story.runs(second)
    story.see_scheduler(second, node)
    story.look("freed", second)
    story.must_be_kept()


@scenario("sidecar-edge")
def test_cpu_of_a_sidecar_decides_whether_a_vmi_fits(story: Telling) -> None:
    """SIDE-CAPACITY: with room for compute alone the VMI waits; with exactly enough it runs."""
    measure = story.vmi("measure", HOOKED)
    story.runs(measure)
    story.look("measured", measure)
    cost = story.cost_milli(measure)
    story.delete(measure)
    node, *_ = story.labelled_nodes()
    story.fill(node, leave_milli=cost)
    thousandth = story.thousandth(node)
    edge = story.vmi("edge", HOOKED)
    story.waits(edge)
    story.look("short", edge)
    story.look_at_nodes("short")
    story.delete(thousandth)
    story.runs(edge)
    story.look("exact", edge)
    story.look_at_nodes("exact", node)
    story.must_be_kept()


@scenario("even-parity")
def test_isolated_emulator_thread_makes_the_cpus_even(story: Telling) -> None:
    """EMU-PARITY: two emulator CPUs beside an even number of vCPUs, one beside an odd one."""
    story.administrator.complete_to_even()
    for name, vcpus in VCPUS.items():
        wish = Wish(sockets=vcpus, isolate=True)
        story.await_parity(wish)
        found = story.vmi(name, wish)
        story.runs(found)
        story.look(name, found)
        story.delete(found)
    story.must_be_kept()
