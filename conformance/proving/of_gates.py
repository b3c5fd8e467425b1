"""Saboteurs of gates and labels over time: scenarios in which an administrator acts."""

from __future__ import annotations

from conformance.model.vocabulary import COMPUTE
from conformance.proving.of_objects import hook_is_missing
from conformance.proving.of_scenarios import NODE, STRANGER, TAINT, because, bound
from conformance.proving.saboteur import spoils
from conformance.proving.scene import Scene


@spoils("SIDE-GATE", scenario="sidecar-gate", moment="off", subject="without", alone=True)
def hook_without_its_gate(scene: Scene) -> Scene:
    """A launcher pod has a hook sidecar although the gate is off."""
    name = scene.raw.manifest["metadata"]["name"]
    amount = {"cpu": "200m", "memory": "64M"}
    resources = {"requests": amount, "limits": amount}
    containers = [
        {"name": each, "image": each, "resources": resources}
        for each in (COMPUTE, "hook-sidecar-0")
    ]
    metadata = {"namespace": "default", "name": name, "uid": STRANGER}
    pod = {"metadata": metadata, "spec": {"containers": containers}, "status": {"phase": "Pending"}}
    vmi = {"metadata": metadata, "status": {"phase": "Scheduling"}}
    return scene.but(rejection=None, vmi=vmi, pod=pod, pods=(pod,), not_observed={})


@spoils(
    "SIDE-GATE",
    "SIDE-RESOURCES",
    "SIDE-UNPINNED",
    scenario="sidecar-gate",
    moment="on",
    subject="with",
    alone=True,
)
def no_hook_with_its_gate(scene: Scene) -> Scene:
    """The launcher pod has no hook sidecar although the gate is on."""
    return hook_is_missing(scene)


@spoils("SIDE-GATE", "RUN-STARTED", scenario="sidecar-gate", moment="on", subject="with")
def hook_breaks_the_vmi(scene: Scene) -> Scene:
    """The VMI with a hook sidecar fails although the gate is on."""
    return scene.failed()


@spoils("NODE-ONLY", scenario="labelled-only", moment="full", subject="waits", alone=True)
def goes_to_an_unlabelled_node(scene: Scene) -> Scene:
    """The dedicated VMI is given a node without the label."""
    return bound(scene, "node-2")


@spoils("NODE-ONLY", scenario="labelled-only", moment="full", subject="waits", alone=True)
def waits_for_no_cpus(scene: Scene) -> Scene:
    """The dedicated VMI waits, and the reason names no CPUs."""
    return because(scene, TAINT)


@spoils("NODE-ONLY", "RUN-STARTED", scenario="labelled-only", moment="full", subject="waits")
def fails_instead_of_waiting(scene: Scene) -> Scene:
    """The dedicated VMI fails instead of waiting for a labelled node."""
    return scene.failed()


@spoils(
    "NODE-UNLABEL",
    "NODE-LABEL",
    scenario="cpu-manager-stops",
    moment="none",
    subject=NODE,
    alone=True,
    bug="kubevirt#14078",
)
def label_outlives_the_policy(scene: Scene) -> Scene:
    """The label stays true while the kubelet's policy is none."""
    return scene.labelled("true")


@spoils(
    "NODE-UNLABEL",
    "NODE-LABEL",
    scenario="cpu-manager-stops",
    moment="back",
    subject=NODE,
    alone=True,
)
def label_does_not_come_back(scene: Scene) -> Scene:
    """The label does not come back when the kubelet's policy is static again."""
    return scene.labelled(None)


@spoils("NODE-UNLABEL", scenario="cpu-manager-stops", moment="waiting", subject="late", alone=True)
def goes_where_no_manager_is(scene: Scene) -> Scene:
    """A dedicated VMI is given a node whose policy is none."""
    return bound(scene)


@spoils("NODE-GATE", "NODE-LABEL", scenario="gate-off", moment="off", subject=NODE, alone=True)
def labelled_without_the_gate(scene: Scene) -> Scene:
    """Nodes are labelled although the gate is off."""
    return scene.labelled("true")


@spoils("NODE-GATE", "NODE-LABEL", scenario="gate-off", moment="on", subject=NODE, alone=True)
def unlabelled_with_the_gate(scene: Scene) -> Scene:
    """Nodes are not labelled although the gate is on."""
    return scene.labelled(None)


@spoils("NODE-GATE", "NODE-LABEL", scenario="gate-off", moment="on", subject=NODE, alone=True)
def false_with_the_gate(scene: Scene) -> Scene:
    """Nodes are labelled false although the gate is on."""
    return scene.labelled("false")


@spoils(
    "NODE-MANUAL",
    "NODE-LABEL",
    "NODE-GATE",
    scenario="gate-off",
    moment="by-hand",
    subject=NODE,
    alone=True,
)
def administrators_label_is_removed(scene: Scene) -> Scene:
    """The label that an administrator put is gone."""
    return scene.labelled(None)


@spoils(
    "NODE-MANUAL",
    "NODE-LABEL",
    "NODE-GATE",
    scenario="gate-off",
    moment="by-hand",
    subject=NODE,
    alone=True,
)
def administrators_label_is_changed(scene: Scene) -> Scene:
    """The label that an administrator put has another value."""
    return scene.labelled("unknown")


@spoils("NODE-MANUAL", "RUN-STARTED", "NODE-LABEL", scenario="gate-off", moment="by-hand")
def administrators_label_does_not_count(scene: Scene) -> Scene:
    """A dedicated VMI fails on a node that an administrator has labelled."""
    if not scene.raw.vmi:
        return scene.labelled("true")
    return bound(scene.vmi(lambda vmi: vmi.update(status={"phase": "Failed"})))
