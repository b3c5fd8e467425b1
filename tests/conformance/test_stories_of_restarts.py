"""Stories of what is restarted and has to be as before."""

from __future__ import annotations

from conformance.matrix.manifests import Wish
from conformance.matrix.pods import guaranteed
from fixtures.stories import Telling
from fixtures.subject import Subject
from fixtures.suite import scenario


@scenario("container-restart")
def test_killed_container_comes_back_with_its_cpus(story: Telling) -> None:
    """LIFE-RESTART: the assignment belongs to the pod and outlives its containers."""
    own = story.pod("own", guaranteed(2), restart_policy="Always")
    story.runs(own)
    story.look("before", own)
    story.kill_container(own)
    story.look("after", own)
    story.must_be_kept()


@scenario("kubelet-restart")
def test_kubelet_restart_changes_nothing(story: Telling) -> None:
    """LIFE-KUBELET: the same pods run on, with the same CPUs."""
    own = story.vmi("own", Wish(cores=2))
    story.runs(own)
    shared = story.vmi("shared", Wish(cores=1, dedicated=None), node=story.node_of(own))
    story.runs(shared)
    _restart_beneath(story, own, shared)


@scenario("kubelet-restart-pods")
def test_kubelet_restart_changes_nothing_for_plain_pods(story: Telling) -> None:
    """LIFE-KUBELET, where there is no KubeVirt."""
    own = story.pod("own", guaranteed(2))
    story.runs(own)
    shared = story.pod("shared", guaranteed("100m"), node=story.node_of(own))
    story.runs(shared)
    _restart_beneath(story, own, shared)


def _restart_beneath(story: Telling, own: Subject, shared: Subject) -> None:
    """Restarts the kubelet of what runs; nothing of it may change."""
    node = story.node_of(own)
    story.look("before", own, shared)
    story.administrator.restart_kubelet(node)
    # Only a kubelet that has given CPUs and taken them back has read what it knew before.
    following = story.pod("following", guaranteed(2), node=node)
    story.helped_by(following)
    story.delete(following)
    story.look("after", own, shared)
    story.must_be_kept()
