"""Stories of VMIs that migrate: their CPUs are exclusive on the way, too."""

from __future__ import annotations

from conformance.matrix.manifests import Wish
from conformance.matrix.pods import guaranteed
from fixtures.stories import Telling
from fixtures.suite import scenario

OWN = Wish(cores=2)


@scenario("migration")
def test_vmi_that_migrates_has_cpus_of_its_own_on_both_sides(story: Telling) -> None:
    """MIG-PINNED, MIG-EXCLUSIVE, MIG-RELEASED: the kubelet of the target gives other CPUs than that
    of the source, since somebody has those there; pins follow, and nothing is left behind.
    """
    own = story.vmi("own", OWN)
    story.runs(own)
    source = story.node_of(own)
    taken = [
        story.pod(f"taken-{node}", guaranteed(2), node=node)
        for node in story.labelled_nodes()
        if node != source
    ]
    story.helped_by(*taken)
    story.look("source", own)
    with story.sampling():
        story.mover.migrate(own)
    story.look("target", own)
    story.mover.await_left(own, source)
    story.look_for("left", own, of="source")
    story.must_be_kept()


@scenario("migration-no-room")
def test_migration_without_room_leaves_its_vmi_alone(story: Telling) -> None:
    """MIG-KEPT: while its target pod waits for room, and when it is withdrawn, nothing changes."""
    own = story.vmi("own", OWN)
    story.runs(own)
    story.fill()
    story.look("before", own)
    story.mover.migrate_in_vain(own)
    story.look("waiting", own)
    story.mover.withdraw()
    story.look("after", own)
    story.must_be_kept()
