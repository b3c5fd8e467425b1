"""The scenarios: stories of more than one VMI, told by the tests in ``tests/conformance``.

Here is what must be known of a scenario without telling it. Which requirements it shows is
said where they are judged (`conformance.checks.registry.told`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BOTH = ("v1", "v1alpha2")


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        title: a sentence without its full stop.
        story: what happens, in order.
        needs: capabilities without which it cannot be told.
        profiles: generations in which it is told.
        smoke: whether it belongs to the smoke matrix, which has to be quick.
        pods: whether it is told of plain pods alone, and so needs no KubeVirt.
    """

    id: str
    title: str
    story: str
    needs: tuple[str, ...] = ()
    profiles: tuple[str, ...] = BOTH
    smoke: bool = False
    pods: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    scenario.id: scenario
    for scenario in (
        Scenario(
            "shared-beside-dedicated",
            "VMIs without dedicated CPUs make room for one that has them, before and after",
            "A shared VMI runs; a dedicated one starts beside it; another shared one starts; "
            "the dedicated one is deleted.",
        ),
        Scenario(
            "deleted-while-starting",
            "VMIs that are deleted while they start leave nothing behind",
            "VMIs are deleted right after their creation, once they have a pod, and once that "
            "is bound to a node.",
        ),
        Scenario(
            "coming-and-going",
            "No pCPU has two owners while VMIs come and go",
            "Several VMIs start at once, and others as soon as those have gone; all the while "
            "the nodes are looked at.",
        ),
        Scenario(
            "container-restart",
            "A container that is killed comes back with its CPUs",
            "A pod with exclusive CPUs runs; its container is killed and restarted.",
            pods=True,
        ),
        Scenario(
            "kubelet-restart",
            "A kubelet restart changes nothing",
            "A dedicated and a shared VMI run; the kubelet of their node is restarted.",
            needs=("kubelet-control",),
            smoke=True,
        ),
        Scenario(
            "kubelet-restart-pods",
            "A kubelet restart changes nothing for plain pods",
            "A pod with exclusive CPUs and one without run; the kubelet is restarted.",
            needs=("kubelet-control",),
            pods=True,
        ),
        Scenario(
            "node-full",
            "A VMI waits for CPUs and starts when they are free",
            "Pods fill every node but for one VMI, which starts; a second one has to wait until "
            "the first is deleted.",
            needs=("disruption",),
        ),
        Scenario(
            "sidecar-edge",
            "A sidecar's CPU decides whether a VMI fits",
            "A VMI with a hook sidecar runs, to see what it costs. Then pods leave a thousandth "
            "of a CPU less than that, and it has to wait; then exactly that, and it starts.",
            needs=("disruption",),
        ),
        Scenario(
            "cpu-manager-stops",
            "A node whose CPU manager stops loses its label and takes no dedicated VMI",
            "The policy of a node becomes none: its label is withdrawn, and a VMI for that node "
            "waits. The policy becomes static again: the label is back, and the VMI starts.",
            needs=("kubelet-control",),
        ),
        Scenario(
            "gate-off",
            "With the identification off, labels are the administrator's",
            "The gate CPUManager is turned off and the labels are taken from every node; an "
            "administrator labels a node, and a VMI starts there. The gate is turned on again.",
            needs=("disruption",),
        ),
        Scenario(
            "labelled-only",
            "A dedicated VMI rather waits than run on an unlabelled node",
            "Pods fill every labelled node; a VMI waits although an unlabelled node has room.",
            needs=("disruption", "unlabelled-node"),
        ),
        Scenario(
            "sidecar-gate",
            "Hook sidecars need their gate",
            "The gate Sidecar is turned off, and a VMI with a hook sidecar is created; then it is "
            "turned on, and another one is.",
            needs=("disruption",),
            profiles=("v1",),
        ),
    )
}
"""By id, in the order in which they are told: what disturbs a cluster comes last."""


def scenarios(matrix: str, profile: str) -> tuple[Scenario, ...]:
    """Those of a matrix. ``scenarios`` is the name of all of them, and of no case.

    A user's own file has none; ``pods`` has those that need no KubeVirt.
    """
    in_profile = [each for each in SCENARIOS.values() if profile in each.profiles]
    match matrix:
        case "smoke":
            return tuple(each for each in in_profile if each.smoke)
        case "pods":
            return tuple(each for each in in_profile if each.pods)
        case "standard" | "full" | "scenarios":
            return tuple(in_profile)
    return ()
