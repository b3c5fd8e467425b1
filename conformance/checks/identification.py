"""Labels and gates over time: when a node is labelled, who may say so, who goes there."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.refusals import somebody_else
from conformance.checks.registry import Loop, told
from conformance.checks.storytelling import (
    at,
    free_milli,
    labelled,
    labels,
    nodes_at,
    phase,
    require_done,
    runs,
    waits_for_cpus,
)
from conformance.checks.witnesses import checkpoint, launcher, node
from conformance.model.evidence import Snapshot, Story
from conformance.model.vocabulary import CPUMANAGER

HOOK = "hook-sidecar-"
HEARTBEATS = "heartbeats seen"
"""What the story notes when every node has been looked at by its virt-handler since."""
_HEARTBEAT = "Look at virt-handler's log of its heartbeat, and at the kubelet's checkpoint."


@told("NODE-UNLABEL", "cpu-manager-stops", look=_HEARTBEAT, settles=Loop.HEARTBEAT)
def label_goes_with_the_cpu_manager(story: Story, seen: Comparison) -> str:
    """No label while the policy is none, no dedicated VMI there; both when it is static."""
    # One moment after the other: what is wrong at one needs nothing of the later ones.
    _has_labels(at(story, "static"), story, seen)
    stopped = at(story, "none")
    _saw_policy(stopped, seen, "none")
    for key, value in labels(stopped, story, seen).items():
        if value is not None:
            seen.wrong(
                f"node {node(stopped).name} has {key}={value} while its policy is none"
                + (", instead of no such label" if value == "false" else ""),
                known=value == "false",
            )
    _goes_nowhere(at(story, "waiting", "late"), seen)
    _has_labels(at(story, "back"), story, seen)
    runs(at(story, "started", "late"), seen)
    return "the label went and came with the CPU manager, and a dedicated VMI waited for it"


def _has_labels(snapshot: Snapshot, story: Story, seen: Comparison) -> None:
    """Objects to a label that is not true while the policy is static."""
    _saw_policy(snapshot, seen, "static")
    for key, value in labels(snapshot, story, seen).items():
        if value != "true":
            seen.wrong(
                f"node {node(snapshot).name} has {key}={value or '(none)'} while its policy "
                f"is static, at the moment “{snapshot.moment}”"
            )


def _goes_nowhere(waiting: Snapshot, seen: Comparison) -> None:
    """Objects to a dedicated VMI that goes to a node without a CPU manager."""
    pod = launcher(waiting)
    seen.saw("phase of late", phase(waiting), "moment “waiting”")
    seen.saw("node of late", pod.node or "none", f"pod {pod.name} .spec.nodeName")
    if pod.node or phase(waiting) == "Running":
        seen.wrong(f"a dedicated VMI went to {pod.node or 'a node'} while its policy was none")


def _saw_policy(snapshot: Snapshot, seen: Comparison, wanted: str) -> None:
    state = checkpoint(snapshot)
    seen.saw("policy", state.policy, f"{state.path} policyName, moment “{snapshot.moment}”")
    if state.policy != wanted:
        raise Unobserved(
            f"at the moment “{snapshot.moment}” the policy is {state.policy} instead of {wanted}"
        )


@told("NODE-GATE", "gate-off", look=_HEARTBEAT, settles=Loop.HEARTBEAT)
def gate_decides(story: Story, seen: Comparison) -> str:
    """No node is labelled by itself while the gate is off; with it those with a manager are."""
    for snapshot in nodes_at(story, "off"):
        require_done(snapshot, "gate CPUManager off", seen)
        require_done(snapshot, HEARTBEATS, seen)
        for key, value in labels(snapshot, story, seen).items():
            if value == "true":
                seen.wrong(f"node {node(snapshot).name} has {key}=true while the gate is off")
    managed = 0
    for snapshot in nodes_at(story, "on"):
        require_done(snapshot, "gate CPUManager on", seen)
        if checkpoint(snapshot).policy != "static":
            continue
        managed += 1
        for key, value in labels(snapshot, story, seen).items():
            if value != "true":
                seen.wrong(
                    f"node {node(snapshot).name} has {key}={value or '(none)'} while the gate is on"
                )
    if not managed:
        raise Unobserved("no node had a static CPU manager when the gate was on again")
    return "nodes are labelled with the gate, and not without it"


@told("NODE-MANUAL", "gate-off", look=_HEARTBEAT)
def administrators_label_stays(story: Story, seen: Comparison) -> str:
    """A label put by hand outlives heartbeats, and a dedicated VMI starts there."""
    by_hand = at(story, "by-hand")
    require_done(by_hand, f"labelled {CPUMANAGER}=true", seen)
    require_done(by_hand, HEARTBEATS, seen)
    found = node(by_hand)
    value = found.labels.get(CPUMANAGER)
    seen.saw(f"label {CPUMANAGER}", value or "none", f"node {found.name} .metadata.labels")
    if value != "true":
        seen.wrong(
            f"the label {CPUMANAGER}=true that an administrator put on {found.name} became "
            f"{value or '(none)'}",
            known=value == "false",
        )
    runs(at(story, "by-hand", "manual"), seen, known=value == "false")
    return f"{CPUMANAGER}=true put by hand stays on {found.name}, and a dedicated VMI runs there"


@told(
    "NODE-ONLY",
    "labelled-only",
    look="Look at .spec.nodeSelector of the launcher pod and at the labels of its node.",
)
def waits_rather_than_goes_elsewhere(story: Story, seen: Comparison) -> str:
    """It waits while an unlabelled node has room for it and no labelled one has."""
    waiting = at(story, "full", "waits")
    wanted = waiting.pod.cpu_milli if waiting.pod else 0
    room = 0
    for snapshot in nodes_at(story, "full"):
        labels(snapshot, story, seen)
        free = free_milli(snapshot, seen)
        if labelled(snapshot, story) and free >= wanted:
            raise Unobserved(f"labelled node {node(snapshot).name} has {free}m left")
        room += not labelled(snapshot, story) and free >= wanted
    if not room:
        raise Unobserved(f"no unlabelled node had {wanted}m left")
    waits_for_cpus(waiting, seen)
    return "it waited for a labelled node although an unlabelled one had room"


@told(
    "SIDE-GATE",
    "sidecar-gate",
    look="Look at the feature gates of the KubeVirt CR and at the launcher pod's containers.",
)
def hooks_need_their_gate(story: Story, seen: Comparison) -> str:
    """Without the gate the VMI is refused or runs without its hook; with it, with it."""
    without, with_ = at(story, "off", "without"), at(story, "on", "with")
    require_done(without, "gate Sidecar off", seen)
    seen.saw("answer without the gate", _answer(without), "API, creation; the pod's containers")
    if without.rejection is None:
        launcher(without)
    elif (somebody := somebody_else(without.rejection)) is not None:
        raise Unobserved(f"the VMI without the gate was refused by {somebody}")
    if _hooks(without):
        seen.wrong(f"{', '.join(_hooks(without))} runs although the gate Sidecar is off")
    require_done(with_, "gate Sidecar on", seen)
    runs(with_, seen)
    seen.saw("hooks with the gate", ", ".join(_hooks(with_)) or "none", "the pod's containers")
    if not _hooks(with_):
        seen.wrong("the VMI has no hook sidecar although the gate Sidecar is on")
    return "hook sidecars run with their gate, and not without it"


def _hooks(snapshot: Snapshot) -> list[str]:
    containers = snapshot.pod.containers if snapshot.pod else ()
    return [each.name for each in containers if each.name.startswith(HOOK)]


def _answer(snapshot: Snapshot) -> str:
    if snapshot.rejection is not None:
        return f"refused with {snapshot.rejection.code}: {snapshot.rejection.message}"
    return f"{phase(snapshot)}, hooks {', '.join(_hooks(snapshot)) or 'none'}"
