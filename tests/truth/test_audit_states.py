"""Foreign VMIs in every state: known for what they are, and accused of nothing for it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from conformance.auditing.states import State, dedicated, found
from conformance.judging.terms import Terms
from conformance.model.release import Release
from tests.selfproof import recording as good
from tests.selfproof.mutations import set_path
from tests.selfproof.recording import SETTING
from tests.truth.changes import BROKEN, UNSEEN, judged, pod_objects

Json = dict[str, Any]


def vmi(phase: str = "Running", **status: Any) -> Json:
    return {
        "metadata": {"name": "v", "namespace": "n", "uid": "u"},
        "spec": {
            "domain": {
                "cpu": {"dedicatedCpuPlacement": True, "sockets": 1, "cores": 2, "threads": 1},
                "memory": {"guest": "64Mi"},
                "devices": {},
            }
        },
        "status": {"phase": phase, "nodeName": "node-1", **status},
    }


def launcher(name: str = "p", node: str = "node-1", phase: str = "Running", **meta: Any) -> Json:
    return {
        "metadata": {"name": name, "uid": name, "labels": {}, **meta},
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }


def deleting() -> Json:
    gone = vmi()
    gone["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    return gone


MOVING = {"startTimestamp": "2026-11-30T00:00:00Z", "targetNode": "node-2"}
OVER = {**MOVING, "endTimestamp": "2026-11-30T00:01:00Z", "completed": True}
PAUSED = [{"type": "Paused", "status": "True", "reason": "PausedByUser"}]


@pytest.mark.parametrize(
    ("seen", "pods", "state"),
    [
        (vmi(), [launcher()], State.RUNNING),
        (vmi(), None, State.RUNNING),
        (vmi(""), [], State.STARTING),
        (vmi("Pending"), [], State.STARTING),
        (vmi("Scheduling"), [launcher(phase="Pending")], State.STARTING),
        (vmi("Scheduled"), [launcher()], State.STARTING),
        (vmi("WaitingForSync"), [launcher()], State.STARTING),
        (vmi("Succeeded"), [], State.ENDED),
        (vmi("Failed"), [launcher(phase="Failed")], State.ENDED),
        (vmi("Unknown"), [launcher()], State.UNKNOWN),
        (deleting(), [launcher()], State.STOPPING),
        (vmi(), [launcher(deletionTimestamp="2026-11-30T00:00:00Z")], State.STOPPING),
        (vmi(), [launcher(phase="Failed")], State.STOPPING),
        (vmi(conditions=PAUSED), [launcher()], State.PAUSED),
        (vmi(conditions=[{"type": "Paused", "status": "False"}]), [launcher()], State.RUNNING),
        (vmi(migrationState=MOVING), [launcher()], State.MIGRATING),
        (vmi(migrationState={"migrationUid": "m"}), [launcher()], State.MIGRATING),
        (vmi(migrationState=OVER), [launcher()], State.RUNNING),
        (vmi(migrationState={**MOVING, "failed": True}), [launcher()], State.RUNNING),
        (vmi(), [launcher(), launcher("q")], State.MIGRATING),
        (vmi(migrationState=OVER), [launcher(), launcher("q", phase="Succeeded")], State.RUNNING),
        (vmi(), [launcher(node="node-2")], State.MIGRATING),
        (
            vmi(conditions=[{"type": "HotVCPUChange", "status": "True"}]),
            [launcher()],
            State.CHANGING,
        ),
        (vmi(currentCPUTopology={"sockets": 1, "cores": 2, "threads": 1}), None, State.RUNNING),
        (vmi(currentCPUTopology={"cores": 2}), None, State.RUNNING),
        (vmi(currentCPUTopology={"cores": 1}), None, State.CHANGING),
    ],
)
def test_states(seen: Json, pods: list[Json] | None, state: State) -> None:
    answer = found(seen, pods)
    assert answer.state is state, answer
    assert answer.judged is (state in {State.RUNNING, State.PAUSED})
    assert answer.why or state is State.RUNNING


def test_only_what_asks_for_dedicated_cpus_is_audited() -> None:
    shared = copy.deepcopy(vmi())
    del shared["spec"]["domain"]["cpu"]["dedicatedCpuPlacement"]
    assert dedicated(vmi())
    assert not dedicated(shared)
    assert not dedicated({"spec": {}})


def terms(**setting: Any) -> Terms:
    from dataclasses import replace

    return Terms("v1", {}, setting=replace(SETTING, **setting), found=True)


def test_what_was_configured_since_it_started_is_no_excuse_and_no_charge() -> None:
    """Its stored spec says what virt-api made of it, whatever the CR says today."""
    isolating = vmi()
    isolating["spec"]["domain"]["cpu"]["isolateEmulatorThread"] = True
    today = terms(even_parity=True)
    assert today.expect(isolating).emulator_cpus == 1
    isolating["metadata"]["annotations"] = {
        "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity": ""
    }
    assert today.expect(isolating).emulator_cpus == 2


def test_sidecars_of_before_the_last_change_of_the_cr_are_in_doubt() -> None:
    from datetime import UTC, datetime

    old = vmi()
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    changed = terms(changed=datetime(2026, 6, 1, tzinfo=UTC))
    assert "after it was created" in changed.expect(old).doubts["sidecars"]
    old["metadata"]["creationTimestamp"] = "2026-07-01T00:00:00Z"
    assert "sidecars" not in changed.expect(old).doubts


def test_an_outdated_launcher_may_select_as_its_own_release_did() -> None:
    now = terms(kubevirt="v1.9.0")
    outdated = vmi()
    assert not now.expect(outdated).any_release
    assert len(now.expect(outdated).labels) == 1
    outdated["metadata"]["labels"] = {"kubevirt.io/outdatedLauncherImage": ""}
    expectation = now.expect(outdated)
    assert expectation.any_release
    assert {row.selected for row in expectation.labels} == {"cpumanager", "kubevirt.io/cpumanager"}
    assert Release.parse("v1.9.0") is not None


def test_a_label_that_has_gone_since_a_launcher_was_scheduled_is_no_fault_of_its_own() -> None:
    """A selector is obeyed once; NODE-LABEL is who judges the label of today."""
    found = replace(good.EXPECTATION, doubts=terms(kubevirt="v1.9.0").expect(vmi()).doubts)
    unlabelled = set_path("node", "metadata", "labels", value={"kubernetes.io/hostname": "node-1"})
    select = judged("NODE-SELECT", unlabelled, expectation=found)
    assert select.verdict is UNSEEN
    assert "may have changed since" in select.message
    assert judged("NODE-SELECT", unlabelled).verdict is BROKEN
    assert judged("NODE-LABEL", unlabelled, expectation=found).verdict is BROKEN
    anywhere = pod_objects(lambda pods: pods[0]["spec"].update(nodeSelector={}))
    assert judged("NODE-SELECT", unlabelled, anywhere, expectation=found).verdict is BROKEN


def test_what_a_cluster_could_not_have_today_a_vmi_has_all_the_same() -> None:
    hooked = vmi()
    hooked["metadata"]["annotations"] = {"hooks.kubevirt.io/hookSidecars": "[{}]"}
    gone = terms(gates=frozenset[str]())
    assert Terms("v1", {}, setting=gone.setting).lacks(
        Terms("v1", {}, setting=gone.setting).expect(hooked)
    )
    assert gone.lacks(gone.expect(hooked)) is None


def test_a_stored_spec_that_would_be_refused_today_is_told_and_not_judged() -> None:
    from conformance.auditing.audit import _odd

    assert _odd(terms(), vmi()) is None
    odd = vmi()
    odd["spec"]["domain"]["resources"] = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    answer = _odd(terms(), odd)
    assert answer is not None
    assert not answer.judged
    assert "would be refused for spec.domain.cpu.dedicatedCpuPlacement" in answer.why
