"""What settles: told as soon as its loop has run, and never before."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conformance.checks.registry import Check, registered
from conformance.judging.decide import decide, judge_told, settling, unsettled
from conformance.judging.terms import Terms
from conformance.model.evidence import RawSnapshot, Snapshot, Story
from conformance.model.expectation import Expectation
from conformance.model.finding import Verdict
from conformance.parsing import assemble
from tests.selfproof import recording as good

BEGAN = datetime(2026, 8, 1, 10, tzinfo=UTC)
TERMS = Terms("v1", {}, setting=good.SETTING)
PERIOD = 10.0
"""The default, which the recording's kubelet has."""


def look(after: float, raw: RawSnapshot | None = None) -> RawSnapshot:
    """A look so many seconds after the first."""
    raw = raw or good.running()
    return replace(raw, began=(BEGAN + timedelta(seconds=after)).isoformat())


def verdict(requirement: str, *looks: RawSnapshot, terms: Terms = TERMS) -> Verdict:
    check: Check = registered()[requirement]
    facts: list[Snapshot] = [assemble(each) for each in looks]
    wanted = terms.catalogue.requirement(requirement)
    return decide(terms, wanted, check, facts, good.EXPECTATION)[1].verdict


def overlapping(started: float) -> RawSnapshot:
    """Another container may run where compute is alone, which was started so long ago."""
    raw = good.running()
    files = dict(raw.files)
    (pool,) = {
        path for path in files if path.endswith("/cpuset.cpus.effective") and good.HANDLER in path
    }
    files[pool] = "0-7\n"
    when = (BEGAN - timedelta(seconds=started)).strftime("%Y-%m-%dT%H:%M:%SZ")
    pods = copy.deepcopy([dict(pod) for pod in raw.pods])
    for status in pods[0]["status"]["containerStatuses"]:
        status["state"] = {"running": {"startedAt": when}}
    return replace(raw, files=files, pods=tuple(pods), pod=pods[0])


@pytest.mark.parametrize(
    ("started", "looks", "told"),
    [
        (1, (0,), Verdict.NOT_OBSERVED),
        (1, (0, 5), Verdict.NOT_OBSERVED),
        (1, (0, 15, 28), Verdict.NOT_OBSERVED),
        (1, (0, 15, 30), Verdict.FAIL),
        (40, (0,), Verdict.FAIL),
    ],
)
def test_a_shared_container_that_stays_is_told_when_the_kubelet_has_come_by(
    started: float, looks: tuple[float, ...], told: Verdict
) -> None:
    raw = overlapping(started)
    assert verdict("CPU-EXCLUSIVE", *(look(after, raw) for after in looks)) is told


@pytest.mark.parametrize("ahead", [-40, 0, 40, 3600])
def test_one_look_is_enough_whatever_time_it_is_on_the_node(ahead: float) -> None:
    """The container was started by the node's clock, and the look began by that of the observer."""
    node = (BEGAN + timedelta(seconds=ahead)).isoformat(timespec="milliseconds")
    recent, long_ago = overlapping(1 - ahead), overlapping(40 - ahead)
    told = [
        verdict("CPU-EXCLUSIVE", look(0, replace(each, clock=node))) for each in (recent, long_ago)
    ]
    assert told == [Verdict.NOT_OBSERVED, Verdict.FAIL]


def test_another_objection_begins_anew() -> None:
    """Somebody else may be on its way each time."""
    first, second = overlapping(1), overlapping(1)
    path = next(p for p, t in second.files.items() if t == "0-7\n" and good.HANDLER in p)
    second = replace(second, files={**second.files, path: "0-6\n"})
    assert verdict("CPU-EXCLUSIVE", look(0, first), look(40, second)) is Verdict.FAIL
    recent = replace(second, pods=tuple(_just_started(second, 39)))
    assert verdict("CPU-EXCLUSIVE", look(0, first), look(40, recent)) is Verdict.NOT_OBSERVED


def _just_started(raw: RawSnapshot, after: float) -> list[Any]:
    pods = copy.deepcopy([dict(pod) for pod in raw.pods])
    when = (BEGAN + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for status in pods[0]["status"]["containerStatuses"]:
        status["state"] = {"running": {"startedAt": when}}
    return pods


def labelled(value: str, beat: float, ready: float) -> RawSnapshot:
    """A static node with that label; the last heartbeat and the kubelet's start in seconds."""
    raw = good.running()
    node = copy.deepcopy(dict(raw.node or {}))

    def at(seconds: float) -> str:
        return (BEGAN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    for key in ("cpumanager", "kubevirt.io/cpumanager"):
        node["metadata"]["labels"][key] = value
    node["metadata"]["annotations"] = {"kubevirt.io/heartbeat": at(beat)}
    node["status"]["conditions"] = [
        {"type": "Ready", "status": "True", "lastTransitionTime": at(ready)}
    ]
    return replace(raw, node=node)


def test_a_label_is_told_with_the_first_heartbeat_after_the_kubelets_start() -> None:
    assert verdict("NODE-LABEL", look(0, labelled("false", -10, -60))) is Verdict.FAIL
    assert verdict("NODE-LABEL", look(0, labelled("false", -60, -10))) is Verdict.NOT_OBSERVED
    assert verdict("NODE-LABEL", look(0, labelled("true", -60, -10))) is Verdict.PASS


def test_two_heartbeats_tell_whatever_the_clocks_say() -> None:
    beats = [look(60 * n, labelled("false", 60 * n - 900, 0)) for n in range(3)]
    assert verdict("NODE-LABEL", *beats[:2]) is Verdict.NOT_OBSERVED
    assert verdict("NODE-LABEL", *beats) is Verdict.FAIL


def test_what_may_never_be_is_told_at_once() -> None:
    raw = overlapping(1)
    checkpoint = next(path for path in raw.files if path.endswith("cpu_manager_state"))
    nobody = raw.files[checkpoint].replace('"compute"', '"another"')
    raw = replace(raw, files={**raw.files, checkpoint: nobody})
    assert verdict("CPU-EXCLUSIVE", look(0, raw)) is Verdict.FAIL


def waited_for(*looks: RawSnapshot) -> list[str]:
    expectation: Expectation = good.EXPECTATION
    return unsettled(TERMS, [assemble(each) for each in looks], expectation, "running")


def test_another_look_is_taken_while_a_loop_may_run_and_not_any_more_when_it_has() -> None:
    raw = overlapping(1)
    assert "CPU-EXCLUSIVE" in waited_for(look(0, raw))
    assert "CPU-EXCLUSIVE" in waited_for(look(0, raw), look(20, raw))
    assert "CPU-EXCLUSIVE" not in waited_for(look(0, raw), look(31, raw))
    assert waited_for(look(0)) == []


def test_what_was_wrong_once_is_looked_at_twice() -> None:
    raw = overlapping(600)
    assert "CPU-EXCLUSIVE" in waited_for(look(0, raw))
    assert "CPU-EXCLUSIVE" not in waited_for(look(0, raw), look(1, raw))


def test_only_what_may_settle_is_waited_for_where_others_vms_are_looked_at() -> None:
    silent = replace(good.running(), console=None)
    facts = [assemble(look(0, silent))]
    assert settling(TERMS, facts, good.EXPECTATION, "running") == []
    facts = [assemble(look(0, overlapping(1)))]
    assert "CPU-EXCLUSIVE" in settling(TERMS, facts, good.EXPECTATION, "running")


def aborted(after: float, phase: str = "Scheduling") -> RawSnapshot:
    """A VMI when it is deleted before it runs."""
    vmi = {"metadata": {"namespace": "ns", "name": "demo", "uid": "u"}, "status": {"phase": phase}}
    raw = look(after, good.deleted())
    return replace(raw, moment="aborted", vmi=vmi, not_observed={}, former=None)


def left(after: float) -> RawSnapshot:
    """The node by itself, whose checkpoint still has an entry of a pod that is gone."""
    raw = look(after, good.deleted())
    state = json.loads(raw.files[good.CHECKPOINT])
    state["entries"][good.UID] = {"compute": "2-4"}
    state["defaultCpuSet"] = good.POOL
    files = {**raw.files, good.CHECKPOINT: json.dumps(state)}
    return replace(raw, moment="after", manifest={}, files=files, former=None, not_observed={})


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ((140,), Verdict.NOT_OBSERVED),
        ((140, 150), Verdict.NOT_OBSERVED),
        ((140, 171), Verdict.FAIL),
    ],
)
def test_how_long_a_scenario_took_before_says_nothing_of_what_settles_now(
    looks: tuple[float, ...], told: Verdict
) -> None:
    """On a slow cluster minutes pass while VMIs are aborted; the kubelet has seconds since."""
    taken = [*map(aborted, (0, 60, 130)), *map(left, looks)]
    story = Story("deleted-while-starting", "v1", tuple(assemble(each) for each in taken))
    found = {each.requirement: each.verdict for each in judge_told(TERMS, story)}
    assert found["LIFE-ABORTED"] is told


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ((0,), Verdict.NOT_OBSERVED),
        ((0, 200, 400), Verdict.NOT_OBSERVED),
        ((0, 200, 430), Verdict.FAIL),
    ],
)
def test_a_label_of_real_time_is_told_when_the_labeller_has_come_by(
    looks: tuple[float, ...], told: Verdict
) -> None:
    today = replace(TERMS, profile="current")
    limited = [look(after, unlimited(after, "950000")) for after in looks]
    assert verdict("RT-LABEL", *limited, terms=today) is told
    assert verdict("RT-LABEL", *(look(after) for after in looks), terms=today) is Verdict.PASS


def test_a_virt_handler_that_gives_no_sign_of_life_labels_nothing() -> None:
    today = replace(TERMS, profile="current")
    silent = [look(after, unlimited(0, "950000")) for after in (0, 200, 430)]
    assert verdict("RT-LABEL", *silent, terms=today) is Verdict.NOT_OBSERVED


def unlimited(beat: float, runtime: str) -> RawSnapshot:
    """A node with the label, a heartbeat in seconds, and that limit of real time."""
    raw = labelled("true", beat, -60)
    return replace(raw, files={**raw.files, good.RT_RUNTIME: f"{runtime}\n"})


def test_nobody_is_to_blame_for_labels_that_the_labeller_leaves_alone() -> None:
    raw = good.running()
    node = copy.deepcopy(dict(raw.node or {}))
    node["metadata"]["annotations"] = {"node-labeller.kubevirt.io/skip-node": "true"}
    limited = replace(raw, node=node, files={**raw.files, good.RT_RUNTIME: "950000\n"})
    today = replace(TERMS, profile="current")
    looks = [look(after, limited) for after in (0, 430)]
    assert verdict("RT-LABEL", *looks, terms=today) is Verdict.NOT_APPLICABLE
