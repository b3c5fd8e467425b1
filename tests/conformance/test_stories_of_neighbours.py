"""Stories of VMIs beside each other: nobody is ever where somebody else is alone."""

from __future__ import annotations

from conformance.matrix.manifests import Wish
from fixtures.stories import Telling
from fixtures.suite import scenario

TWO = Wish(cores=2)
TRIES = 5
SHARED = Wish(cores=1, dedicated=None)


@scenario("shared-beside-dedicated")
def test_shared_vmis_make_room_for_a_dedicated_one(story: Telling) -> None:
    """LIFE-SHARED: a VMI without dedicated CPUs leaves the pCPUs of a dedicated one when that
    starts, one that starts later never enters them, and both have them back afterwards.
    """
    early = story.vmi("early", SHARED)
    story.runs(early)
    node = story.node_of(early)
    story.look("alone", early)
    owner = story.vmi("owner", TWO, node=node)
    story.runs(owner)
    story.look("beside", early, owner)
    late = story.vmi("late", SHARED, node=node)
    story.runs(late)
    story.look("joined", early, late, owner)
    story.delete(owner)
    story.look("after", early, late)
    story.must_be_kept()


@scenario("deleted-while-starting")
def test_vmis_deleted_while_they_start_leave_nothing(story: Telling) -> None:
    """LIFE-ABORTED: whatever a VMI had when it was deleted, no pod, cgroup or assignment stays."""
    # One that is quicker than its deletion shows nothing, and another one is tried.
    any(story.abort_at_once(f"at-once-{number}", TWO) for number in range(TRIES))
    with_pod = story.vmi("with-pod", TWO)
    story.has_pod(with_pod)
    story.abort(with_pod)
    bound = story.vmi("bound", TWO)
    story.has_pod(bound, bound=True)
    story.abort(bound)
    story.look_at_nodes("after")
    story.must_be_kept()


@scenario("coming-and-going")
def test_no_pcpu_has_two_owners_while_vmis_come_and_go(story: Telling) -> None:
    """LIFE-CHURN: in whatever order VMIs start and stop, the exclusive sets are always apart."""
    waves = (("a1", "a2", "a3"), ("b1", "b2", "b3"))
    with story.sampling():
        living = [story.vmi(name, TWO) for name in waves[0]]
        for name in waves[1]:
            first, *living = living
            story.starts(first)
            story.delete(first)
            living.append(story.vmi(name, TWO))
        story.starts(*living)
        # At least one sample in which nothing changes: cgroups of others are not compared.
        story.look_at_nodes("sample")
        story.delete(*living)
    story.look_at_nodes("after")
    story.must_be_kept()
