"""Stories of labels and gates."""

from __future__ import annotations

from conformance.matrix.manifests import Wish
from conformance.settling import HEARTBEAT
from fixtures.stories import Telling
from fixtures.suite import scenario

TWO = Wish(cores=2)
HOOKED = Wish(cores=2, hooks=1)


@scenario("cpu-manager-stops")
def test_label_goes_when_the_cpu_manager_stops(story: Telling) -> None:
    """NODE-UNLABEL: the label follows the policy, and dedicated VMIs follow the label."""
    node, *_ = story.labelled_nodes()
    story.look_at_nodes("static", node)
    story.administrator.set_cpu_manager_policy(node, "none")
    story.look_at_nodes("none", node, seconds=HEARTBEAT)
    late = story.vmi("late", TWO, node=node)
    story.waits(late)
    story.look("waiting", late)
    story.administrator.set_cpu_manager_policy(node, "static")
    story.look_at_nodes("back", node, seconds=HEARTBEAT)
    story.runs(late)
    story.look("started", late)
    story.must_be_kept()


@scenario("gate-off")
def test_with_the_identification_off_labels_are_the_administrators(story: Telling) -> None:
    """NODE-GATE and NODE-MANUAL: without the gate nobody labels nodes but the administrator,
    whose label stays and is enough; with it nodes are labelled again.
    """
    node, *_ = story.labelled_nodes()
    story.administrator.gate("CPUManager", on=False)
    story.administrator.unlabel()
    story.administrator.await_heartbeats()
    story.look_at_nodes("off")
    story.administrator.label(node)
    story.administrator.await_heartbeats()
    story.look_at_nodes("by-hand", node)
    manual = story.vmi("manual", TWO, node=node)
    story.decides(manual)
    story.look("by-hand", manual)
    story.delete(manual)
    story.administrator.gate("CPUManager", on=True)
    story.look_at_nodes("on", seconds=HEARTBEAT)
    story.must_be_kept()


@scenario("labelled-only")
def test_dedicated_vmi_rather_waits_than_runs_on_an_unlabelled_node(story: Telling) -> None:
    """NODE-ONLY: an unlabelled node gets no dedicated VMI, however much room it has."""
    story.fill()
    waits = story.vmi("waits", TWO)
    story.waits(waits)
    story.look("full", waits)
    story.look_at_nodes("full")
    story.must_be_kept()


@scenario("sidecar-gate")
def test_hook_sidecars_need_their_gate(story: Telling) -> None:
    """SIDE-GATE: without the gate no hook sidecar runs; with it, it does."""
    story.administrator.gate("Sidecar", on=False)
    without = story.vmi("without", HOOKED)
    story.decides(without)
    story.look("off", without)
    story.delete(without)
    story.administrator.gate("Sidecar", on=True)
    with_ = story.vmi("with", HOOKED)
    story.runs(with_)
    story.look("on", with_)
    story.must_be_kept()
