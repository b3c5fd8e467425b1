"""The scenarios: stories of more than one VMI, told by the tests in ``tests/conformance``.

Here is what must be known of a scenario without telling it. Which requirements it shows is
said where they are judged (`conformance.checks.registry.told`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conformance.model.vocabulary import (
    CURRENT,
    DISRUPTION,
    KUBELET_CONTROL,
    LIVE_MIGRATION,
    PROFILES,
    UNLABELLED_NODE,
    V1,
    holds,
)


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        title: a sentence without its full stop.
        story: what happens, in order.
        needs: capabilities without which it cannot be told.
        profiles: in which it is told, and in those that include one of them.
        left_out: why the smoke matrix, which has to be quick, leaves it out; empty when it has it.
        even_parity: whether its VMIs are made while the KubeVirt CR asks for an even number of
            CPUs, for which it sees.
        pods: whether it is told of plain pods alone, and so needs no KubeVirt.
    """

    id: str
    title: str
    story: str
    needs: tuple[str, ...] = ()
    profiles: tuple[str, ...] = PROFILES
    left_out: str = ""
    even_parity: bool = False
    pods: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    scenario.id: scenario
    for scenario in (
        Scenario(
            "shared-beside-dedicated",
            "VMIs without dedicated CPUs make room for one that has them, before and after",
            "A shared VMI runs; a dedicated one starts beside it; another shared one starts; "
            "the dedicated one is deleted.",
            left_out="three VMIs boot one after the other",
        ),
        Scenario(
            "deleted-while-starting",
            "VMIs that are deleted while they start leave nothing behind",
            "VMIs are deleted right after their creation, once they have a pod, and once that "
            "is bound to a node.",
            left_out="it waits for three deletions, one after the other",
        ),
        Scenario(
            "coming-and-going",
            "No pCPU has two owners while VMIs come and go",
            "Several VMIs start at once, and others as soon as those have gone; all the while "
            "the nodes are looked at.",
            left_out="it starts and deletes VMIs in turn until the nodes are crowded",
        ),
        Scenario(
            "hotplug",
            "More sockets of a running VM take effect, or it is told why not",
            "A VirtualMachine with one socket of at the most two runs. Three are asked for, then "
            "two; the VMI is looked at when its CPUs have changed, or a condition says that they "
            "will not.",
            profiles=(CURRENT,),
            left_out="a VM boots, and may migrate",
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
            needs=(KUBELET_CONTROL,),
        ),
        Scenario(
            "kubelet-restart-pods",
            "A kubelet restart changes nothing for plain pods",
            "A pod with exclusive CPUs and one without run; the kubelet is restarted.",
            needs=(KUBELET_CONTROL,),
            pods=True,
            left_out="kubelet-restart shows the same of a VMI",
        ),
        Scenario(
            "node-full",
            "A VMI waits for CPUs and starts when they are free",
            "Pods fill every node but for one VMI, which starts; a second one has to wait until "
            "the first is deleted.",
            needs=(DISRUPTION,),
            left_out="the second VMI boots when the first has gone",
        ),
        Scenario(
            "sidecar-edge",
            "A sidecar's CPU decides whether a VMI fits",
            "A VMI with a hook sidecar runs, to see what it costs. Then pods leave a thousandth "
            "of a CPU less than that, and it has to wait; then exactly that, and it starts.",
            needs=(DISRUPTION,),
            left_out="two VMIs boot, one after the other",
        ),
        Scenario(
            "migration",
            "A VMI that migrates has CPUs of its own on both sides, and leaves none behind",
            "A dedicated VMI runs, and pods take CPUs of the other nodes. It migrates, while the "
            "nodes are looked at; then it is looked at on its target, and the node that it left.",
            needs=(LIVE_MIGRATION,),
            profiles=(CURRENT,),
            left_out="it takes a second node, which the smoke matrix does not ask for",
        ),
        Scenario(
            "migration-no-room",
            "A migration that finds no room leaves its VMI alone",
            "A dedicated VMI runs, and pods fill every node. Its migration waits for room, and is "
            "withdrawn.",
            needs=(LIVE_MIGRATION, DISRUPTION),
            profiles=(CURRENT,),
            left_out="it takes a second node, which the smoke matrix does not ask for",
        ),
        Scenario(
            "cpu-manager-stops",
            "A node whose CPU manager stops loses its label and takes no dedicated VMI",
            "The policy of a node becomes none: its label is withdrawn, and a VMI for that node "
            "waits. The policy becomes static again: the label is back, and the VMI starts.",
            needs=(KUBELET_CONTROL,),
            left_out="the label follows virt-handler's heartbeat, a minute or two later, twice",
        ),
        Scenario(
            "gate-off",
            "With the identification off, labels are the administrator's",
            "The gate CPUManager is turned off and the labels are taken from every node; an "
            "administrator labels a node, and a VMI starts there. The gate is turned on again.",
            needs=(DISRUPTION,),
            left_out="labels follow virt-handler's heartbeat, a minute or two later, twice",
        ),
        Scenario(
            "labelled-only",
            "A dedicated VMI rather waits than run on an unlabelled node",
            "Pods fill every labelled node; a VMI waits although an unlabelled node has room.",
            needs=(DISRUPTION, UNLABELLED_NODE),
            left_out="it takes a second node, which the smoke matrix does not ask for",
        ),
        Scenario(
            "sidecar-gate",
            "Hook sidecars need their gate",
            "The gate Sidecar is turned off, and a VMI with a hook sidecar is created; then it is "
            "turned on, and another one is.",
            needs=(DISRUPTION,),
            profiles=(V1,),
            left_out="virt-api and virt-controller take the gate over in their own time, twice",
        ),
        Scenario(
            "even-parity",
            "An isolated emulator thread makes the number of CPUs even, where the cluster asks so",
            "The gate AlignCPUs is turned on, and the KubeVirt CR has the annotation for even "
            "parity. A VMI with two vCPUs and one with one are created, one after the other; both "
            "isolate their emulator thread.",
            needs=(DISRUPTION,),
            profiles=(CURRENT,),
            even_parity=True,
            left_out="virt-api takes it over in its own time, and two VMIs boot",
        ),
    )
}
"""By id, in the order in which they are told: what disturbs a cluster comes last."""


def scenarios(matrix: str, profile: str) -> tuple[Scenario, ...]:
    """Those of a matrix. ``scenarios`` is the name of all of them, and of no case.

    A user's own file has none; ``pods`` has those that need no KubeVirt.
    """
    in_profile = [each for each in SCENARIOS.values() if holds(profile, each.profiles)]
    match matrix:
        case "smoke":
            return tuple(each for each in in_profile if not each.left_out)
        case "pods":
            return tuple(each for each in in_profile if each.pods)
        case "standard" | "full" | "scenarios":
            return tuple(in_profile)
    return ()
