"""The scheduler: binds pods to nodes that fit, and says why none does.

Filters and wording of kubernetes pkg/scheduler/framework/plugins; each node is refused by
the first filter that it fails, as there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from clusters.reference import events, quantity
from clusters.reference.apiserver.resources import NODE, POD
from clusters.reference.apiserver.store import Change, Object, Store
from clusters.reference.conditions import set_condition
from clusters.reference.faults import Faults
from clusters.reference.pod_resources import CPU, effective_requests, requests_of
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow

COMPONENT = "default-scheduler"
OVER = ("Succeeded", "Failed")

_APART = "node(s) didn't match pod anti-affinity rules"
_RESOLVED_BY_PREEMPTION = ("Insufficient", "Too many pods", _APART)
_HOSTNAME = "kubernetes.io/hostname"
_EFFECTS = ("NoSchedule", "NoExecute")


class Scheduler:
    """Binds what can be bound; tries the rest again whenever nodes or pods change."""

    def __init__(self, store: Store, faults: Faults, health: Health) -> None:
        self._store = store
        self._faults = faults
        self._tasks = Tasks(health)
        self._queue: WorkQueue[str] = WorkQueue("scheduler", self._reconcile, health)

    async def start(self) -> None:
        """Begins to watch."""
        self._tasks.start("scheduler", follow(self._store, [POD, NODE], self._on_change))

    async def stop(self) -> None:
        """Stops."""
        await self._tasks.stop()
        await self._queue.stop()

    def _on_change(self, change: Change) -> None:
        if change.kind == NODE.kind or _waits(change.object) or _frees(change):
            self._queue.add("pending pods")

    async def _reconcile(self, _: str) -> None:
        pods, nodes = self._store.stored(POD), self._store.stored(NODE)
        used = {node["metadata"]["name"]: usage(pods, node["metadata"]["name"]) for node in nodes}
        waiting = [pod for pod in pods if _waits(pod) and not self._is_forgotten(pod)]
        for pod in sorted(waiting, key=lambda p: int(p["metadata"]["resourceVersion"])):
            self._schedule(pod, nodes, used)

    def _is_forgotten(self, pod: Object) -> bool:
        conditions = pod.get("status", {}).get("conditions") or ()
        return self._faults.waiting_forgotten and any(
            each["type"] == "PodScheduled" and each["status"] == "False" for each in conditions
        )

    def _schedule(
        self, pod: Object, nodes: Sequence[Object], used: dict[str, Counter[str]]
    ) -> None:
        refusals: list[list[str]] = []
        fitting: list[tuple[float, str]] = []
        for node in nodes:
            name = node["metadata"]["name"]
            reasons = self._refusals(pod, node, used[name])
            if reasons:
                refusals.append(reasons)
            else:
                fitting.append((_fill(node, used[name]), name))
        if fitting:
            chosen = min(fitting)[1]
            used[chosen].update(_cost(pod))
            self._bind(pod, chosen)
        else:
            self._refuse(pod, _unschedulable_message(refusals))

    def _refusals(self, pod: Object, node: Object, used: Counter[str]) -> list[str]:
        spec, taints = pod["spec"], node.get("spec", {}).get("taints") or ()
        if node.get("spec", {}).get("unschedulable"):
            return ["node(s) were unschedulable"]
        for taint in taints:
            if taint["effect"] in _EFFECTS and not _tolerated(taint, spec.get("tolerations") or ()):
                value = f": {taint['value']}" if taint.get("value") else ": "
                return [f"node(s) had untolerated taint {{{taint['key']}{value}}}"]
        if not matches_node(spec, node):
            return ["node(s) didn't match Pod's node affinity/selector"]
        allocatable = node.get("status", {}).get("allocatable", {})
        reasons = []
        cost = _cost(pod)
        if self._faults.sidecars_not_counted:
            cost |= requests_of(pod["spec"]["containers"][0])
        for resource, amount in cost.items():
            room = _amount(resource, allocatable.get(resource)) - used[resource]
            if amount > room and not (resource == CPU and self._faults.nodes_overcommitted):
                reasons.append(
                    "Too many pods" if resource == "pods" else f"Insufficient {resource}"
                )
        if not reasons and self._shuns(pod, node):
            return [_APART]
        return reasons

    def _shuns(self, pod: Object, node: Object) -> bool:
        """Whether it must be apart from a pod of its namespace that is on the node.

        Of required anti-affinity what live migrations ask for: by labels, and from the whole node.
        """
        affinity = (pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
        terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        wanted = [
            (term.get("labelSelector") or {}).get("matchLabels") or {}
            for term in terms
            if term.get("topologyKey") == _HOSTNAME
        ]
        return any(
            labels.items() <= (other["metadata"].get("labels") or {}).items()
            for other in self._store.stored(POD, pod["metadata"]["namespace"])
            if other["spec"].get("nodeName") == node["metadata"]["name"]
            and other.get("status", {}).get("phase") not in OVER
            for labels in wanted
            if labels
        )

    def _bind(self, pod: Object, node: str) -> None:
        def change(stored: Object) -> None:
            stored["spec"]["nodeName"] = node
            set_condition(stored.setdefault("status", {}), "PodScheduled", "True")

        metadata = pod["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        bound = self._store.mutate(POD, name, namespace, change)
        message = f"Successfully assigned {namespace}/{name} to {node}"
        events.record(self._store, bound, COMPONENT, "Scheduled", message)

    def _refuse(self, pod: Object, message: str) -> None:
        def change(stored: Object) -> None:
            set_condition(
                stored.setdefault("status", {}),
                "PodScheduled",
                "False",
                reason="Unschedulable",
                message=message,
            )

        metadata = pod["metadata"]
        before = pod
        pod = self._store.mutate(POD, metadata["name"], metadata["namespace"], change)
        if pod != before:
            events.record(
                self._store, pod, COMPONENT, "FailedScheduling", message, type_=events.WARNING
            )


def usage(pods: Iterable[Object], node: str) -> Counter[str]:
    """What the pods that are bound to a node take of it."""
    used: Counter[str] = Counter()
    for pod in pods:
        if pod["spec"].get("nodeName") == node and pod.get("status", {}).get("phase") not in OVER:
            used.update(_cost(pod))
    return used


def matches_node(spec: Object, node: Object) -> bool:
    """nodeSelector and required node affinity."""
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(
        all(_expression_holds(e, labels) for e in term.get("matchExpressions") or ())
        and all(
            _expression_holds({**e, "key": "name"}, {"name": node["metadata"]["name"]})
            for e in term.get("matchFields") or ()
        )
        for term in required.get("nodeSelectorTerms") or ()
    )


def _expression_holds(expression: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            if value is None or not value.lstrip("-").isdigit():
                return False
            greater = int(value) > int(values[0])
            return greater if operator == "Gt" else int(value) < int(values[0])


def _tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    return any(
        toleration.get("effect") in (None, "", taint["effect"])
        and (
            (
                toleration.get("operator") == "Exists"
                and toleration.get("key") in (None, "", taint["key"])
            )
            or (
                toleration.get("key") == taint["key"]
                and (toleration.get("value") or "") == (taint.get("value") or "")
            )
        )
        for toleration in tolerations
    )


def _unschedulable_message(refusals: Sequence[Sequence[str]]) -> str:
    total = len(refusals)
    counted = Counter(reason for reasons in refusals for reason in reasons)
    told = ", ".join(sorted(f"{number} {reason}" for reason, number in counted.items()))
    if not total:
        return "no nodes available to schedule pods"
    hopeless = sum(
        not all(reason.startswith(_RESOLVED_BY_PREEMPTION) for reason in reasons)
        for reasons in refusals
    )
    preemption = []
    if total - hopeless:
        preemption.append(f"{total - hopeless} No preemption victims found for incoming pod")
    if hopeless:
        preemption.append(f"{hopeless} Preemption is not helpful for scheduling")
    return (
        f"0/{total} nodes are available: {told}. preemption: 0/{total} nodes are available: "
        f"{', '.join(preemption)}."
    )


def _cost(pod: Object) -> dict[str, int]:
    return {**effective_requests(pod["spec"]), "pods": 1}


def _amount(resource: str, text: str | None) -> int:
    return quantity.milli(text) if resource == CPU else quantity.value(text)


def _fill(node: Object, used: Counter[str]) -> float:
    """How full a node is: the emptiest is preferred (LeastAllocated)."""
    allocatable = node["status"]["allocatable"]
    return sum(used[name] / max(1, _amount(name, allocatable[name])) for name in (CPU, "memory"))


def _waits(pod: Object) -> bool:
    if pod["kind"] != POD.kind:
        return False
    return (
        not pod["spec"].get("nodeName")
        and "deletionTimestamp" not in pod["metadata"]
        and pod["spec"].get("schedulerName", COMPONENT) in ("", COMPONENT)
    )


def _frees(change: Change) -> bool:
    """Whether resources of a node have become free."""
    if change.kind != POD.kind:
        return False
    return change.type == "DELETED" or change.object.get("status", {}).get("phase") in OVER
