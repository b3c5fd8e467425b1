"""The story of a VM that is to have more CPUs while it runs."""

from __future__ import annotations

from conformance.checks.hotplug import FEW, GROWING, MORE, TOO_MANY
from conformance.matrix.manifests import Wish
from fixtures.stories import Telling
from fixtures.suite import scenario


@scenario("hotplug")
def test_sockets_of_a_running_vm_follow_or_it_is_told_why_not(story: Telling) -> None:
    """PLUG-LIVE and PLUG-MAX: more sockets up to maxSockets take effect, or a condition says that
    they do not; more than those are refused.
    """
    growing = story.machine(GROWING, Wish(sockets=FEW, max_sockets=MORE, isolate=True))
    story.runs(growing)
    story.look("before", growing)
    if story.ask_for_sockets(growing, TOO_MANY, "beyond"):
        story.look("beyond", growing)
    if story.ask_for_sockets(growing, MORE, "grown"):
        story.grows(growing)
        story.look("grown", growing)
    story.must_be_kept()
