"""Which nodes are said to have a CPU manager, and who goes there."""

from __future__ import annotations

from conformance.checks.comparison import Comparison
from conformance.checks.registry import admitted_vmi, check, dedicated_vmi
from conformance.checks.witnesses import launcher, node
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation

CURRENT = "kubevirt.io/cpumanager"
DEPRECATED = "cpumanager"
_OLD_APIS = ("kubevirt.io/v1alpha2",)


def _keys(snapshot: Snapshot) -> tuple[str, ...]:
    """Label keys of the generation that the manifest is written for, the selecting one first."""
    if snapshot.manifest.get("apiVersion") in _OLD_APIS:
        return (DEPRECATED,)
    return (CURRENT, DEPRECATED)


@check(
    "NODE-LABEL",
    moment="running",
    applies=admitted_vmi,
    settles=True,
    look="Look at the kubelet's checkpoint and at virt-handler's heartbeat in its log; another "
    "kubelet root than the usual one hides the checkpoint from it.",
)
def label_tells_the_policy(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The label is true on a node with the static policy, and on no other."""
    found = node(snapshot)
    policies = {}
    if found.checkpoint is not None:
        policies[f"{found.checkpoint.path} policyName"] = found.checkpoint.policy
    if found.kubelet is not None and found.kubelet.policy is not None:
        policies[f"{found.kubelet.source} cpuManagerPolicy"] = found.kubelet.policy
    if not policies:
        seen.missing(
            "neither the kubelet's checkpoint nor its configuration was read: "
            + snapshot.not_observed.get("checkpoint", "no reason is known")
        )
    for source, policy in policies.items():
        seen.saw("CPU manager policy", policy, source)
        for key in _keys(snapshot):
            value = found.labels.get(key)
            seen.saw(f"label {key}", value or "none", f"node {found.name} .metadata.labels")
            if (value == "true") != (policy == "static"):
                seen.wrong(
                    f"node {found.name} has label {key}={value or '(none)'} while its kubelet's "
                    f"policy is {policy} ({source})"
                )
    return f"the label of node {found.name} tells its CPU manager policy"


@check(
    "NODE-SELECT",
    moment="running",
    applies=dedicated_vmi,
    look="Look at .spec.nodeSelector of the launcher pod and at the labels of its node.",
)
def launcher_selects_the_label(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """The launcher pod selects the label and is on a node that has it."""
    pod, found = launcher(snapshot), node(snapshot)
    key = _keys(snapshot)[0]
    selected, label = pod.node_selector.get(key), found.labels.get(key)
    seen.saw(f"selector {key}", selected or "none", f"pod {pod.name} .spec.nodeSelector")
    seen.saw(f"label {key}", label or "none", f"node {found.name} .metadata.labels")
    if pod.node != found.name:
        seen.missing(f"pod {pod.name} is on {pod.node or 'no node'}, and {found.name} was read")
    if selected != "true":
        seen.wrong(
            f"launcher pod {pod.name} selects {key}={selected or '(nothing)'} instead of true"
        )
    if label != "true":
        seen.wrong(
            f"launcher pod {pod.name} runs on node {found.name} with label "
            f"{key}={label or '(none)'} instead of true"
        )
    return f"launcher pod {pod.name} selects {key}=true and runs on {found.name}, which has it"
