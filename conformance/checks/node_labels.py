"""Which nodes are said to have a CPU manager, and who goes there.

Which labels say so depends on the release (`conformance.editions.LABELS`). Where that is not
known, what every release would call wrong is wrong, and what one would call right is not decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import Loop, admitted_vmi, check, dedicated_vmi
from conformance.checks.witnesses import launcher, node
from conformance.editions import Labels
from conformance.model.evidence import Node, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING


@check(
    "NODE-LABEL",
    moment=RUNNING,
    applies=admitted_vmi,
    settles=Loop.HEARTBEAT,
    unstarted=True,
    nodes=True,
    node_alone=True,
    look="Look at the kubelet's checkpoint and at virt-handler's heartbeat in its log; another "
    "kubelet root than the usual one hides the checkpoint from it.",
)
def label_tells_the_policy(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """The label is true on a node with the static policy, and on no other."""
    found = node(snapshot)
    if not found.labels:
        raise Unobserved(f"node {found.name} shows no label at all, not even the kubelet's own")
    require_claim(snapshot, found, expectation)
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
    for key in _keys(expectation):
        value = found.labels.get(key)
        seen.saw(f"label {key}", value or "none", f"node {found.name} .metadata.labels")

    def objections(row: Labels) -> list[str]:
        return [
            f"node {found.name} has label {key}={found.labels.get(key) or '(none)'} while its "
            f"kubelet's policy is {policy} ({source})"
            for source, policy in policies.items()
            for key in row.written
            if (found.labels.get(key) == "true") != (policy == "static")
        ]

    by_release(expectation.labels, objections, seen)
    return f"the label of node {found.name} tells its CPU manager policy"


def require_claim(snapshot: Snapshot, found: Node, expectation: Expectation) -> None:
    """Raises NotApplicable for a node by itself that nobody takes for one with a CPU manager.

    KubeVirt need not be on every node. Where no virt-handler has been and no label is, nothing is
    said of the CPU manager; and nothing starts on a node that is not ready, whatever it says.
    """
    if snapshot.subject:
        return
    keys = {key for row in expectation.labels for key in (*row.written, row.selected)}
    if found.heartbeat is None and not keys & found.labels.keys():
        raise NotApplicable(
            f"node {found.name} bears no label and no heartbeat of virt-handler: KubeVirt is not "
            "there, and sends nothing there that needs a CPU manager"
        )
    if found.ready not in (None, "True"):
        raise NotApplicable(
            f"node {found.name} has the condition Ready {found.ready}: nothing is started there, "
            "and nothing keeps its labels"
        )


def require_labelled(snapshot: Snapshot, expectation: Expectation) -> None:
    """Raises NotApplicable for a node by itself to which no VMI with CPUs of its own is sent."""
    if snapshot.subject:
        return
    found = node(snapshot)
    require_claim(snapshot, found, expectation)
    if not any(found.labels.get(row.selected) == "true" for row in expectation.labels):
        raise NotApplicable(
            f"node {found.name} bears no label that sends VMIs with dedicated CPUs there"
        )


@check(
    "NODE-SELECT",
    moment=RUNNING,
    applies=dedicated_vmi,
    look="Look at .spec.nodeSelector and .spec.affinity of the launcher pod and at the labels of "
    "its node.",
)
def launcher_selects_the_label(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """The launcher pod selects the label and is on a node that has it."""
    pod, found = launcher(snapshot), node(snapshot)
    for key in dict.fromkeys(row.selected for row in expectation.labels):
        selector = f"pod {pod.name} .spec.nodeSelector and required node affinity"
        seen.saw(f"selector {key}", pod.required_labels.get(key) or "none", selector)
        label = found.labels.get(key) or "none"
        seen.saw(f"label {key}", label, f"node {found.name} .metadata.labels")
    if pod.node != found.name:
        seen.missing(f"pod {pod.name} is on {pod.node or 'no node'}, and {found.name} was read")

    def selection(row: Labels) -> list[str]:
        selected = pod.required_labels.get(row.selected)
        if selected == "true":
            return []
        what = f"{row.selected}={selected or '(nothing)'}"
        return [f"launcher pod {pod.name} selects {what} instead of true"]

    def place(row: Labels) -> list[str]:
        label = found.labels.get(row.selected)
        if label == "true":
            return []
        where = f"node {found.name} with label {row.selected}={label or '(none)'}"
        return [f"launcher pod {pod.name} runs on {where} instead of true"]

    def objections(row: Labels) -> list[str]:
        return selection(row) + place(row)

    # Who selected the label met it when it was scheduled.
    doubt = expectation.doubts.get("scheduled")
    since = [clause for row in expectation.labels if not selection(row) for clause in place(row)]
    doubts = dict.fromkeys(since, doubt) if doubt else {}
    if expectation.any_release and not all(map(objections, expectation.labels)):
        seen.note(f"launcher pod {pod.name} is of an older release, and selects as that one does")
    else:
        by_release(expectation.labels, objections, seen, doubts)
    return f"launcher pod {pod.name} selects the label and runs on {found.name}, which has it"


def by_release(
    rows: tuple[Labels, ...],
    objections: Callable[[Labels], list[str]],
    seen: Comparison,
    doubts: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Objects to what is wrong by every row that may hold; what some allow is not decided.

    An objection may be in doubt. Raises Unobserved without a row: nothing says then what is right.
    """
    if not rows:
        raise Unobserved("nothing says which labels this cluster's release has")
    wrong = [objections(row) for row in rows]
    if not all(wrong):
        if any(wrong):
            seen.missing(
                f"{next(filter(None, wrong))[0]}; some releases of KubeVirt do so, and which one "
                "this is is not known"
            )
        return
    for clause in min(wrong, key=len):
        seen.wrong(clause, doubt=doubts.get(clause))


def _keys(expectation: Expectation) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for row in expectation.labels for key in row.written))
