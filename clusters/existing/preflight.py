"""Whether a run can be made on a cluster, before anything is created: all gaps at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from clusters.contract.shape import KUBELET_ROOT
from clusters.existing.node import handler_shells, handlers
from clusters.existing.node_points import (
    CHECKPOINT,
    configured_policy,
    free_cpus,
    labelled,
    node_access,
    pinning,
)
from clusters.existing.points import Point, State
from clusters.existing.probes import CommandShell
from clusters.existing.rights import (
    DISRUPTIVE,
    KUBEVIRT,
    PROBES,
    RIGHTS,
    Right,
    rights_in,
    single,
)
from clusters.kit.api import Api, ApiError
from clusters.kit.pod_exec import ApiExec

RBAC = Path(__file__).with_name("rbac")
"""What grants the rights that a run needs."""
_OF_NAMESPACES = frozenset({"pods", "configmaps"})


@dataclass(frozen=True)
class Preflight:
    """Everything that was looked at.

    Attributes:
        kubernetes, kubevirt: versions; empty where they are not known.
    """

    points: tuple[Point, ...]
    kubernetes: str = ""
    kubevirt: str = ""

    @property
    def gaps(self) -> tuple[Point, ...]:
        """What prevents a run."""
        return tuple(point for point in self.points if point.state is State.GAP)

    @property
    def ready(self) -> bool:
        """Whether a run can be made."""
        return bool(self.points) and not self.gaps


def preflight(
    kubeconfig: str,
    *,
    wanted_cpus: int = 1,
    kubelet_root: str = KUBELET_ROOT,
    node_ssh: str | None = None,
    probe_image: str | None = None,
    disruptive: bool = False,
    namespace: str = "",
) -> Preflight:
    """Looks at the cluster of a kubeconfig's current context; changes nothing.

    Args:
        kubeconfig: path of a kubeconfig.
        wanted_cpus: exclusive CPUs that one node must have free at the least.
        kubelet_root: where the nodes' kubelets keep their files.
        node_ssh: command by which nodes are read, None for virt-handler.
        probe_image: image of pods by which they will be read: nothing is read yet.
        disruptive: whether scenarios may disturb it, which needs further rights.
        namespace: that the run uses; empty for one of its own.
    """
    checkpoint = f"{kubelet_root}/{CHECKPOINT}"
    try:
        api = Api(kubeconfig)
        try:
            reach = _Reach(api, ApiExec(kubeconfig), checkpoint, node_ssh, probe_image)
            return _preflight(api, wanted_cpus, reach, namespace, disruptive=disruptive)
        finally:
            api.close()
    except ApiError as error:
        return Preflight((Point("reachable", State.GAP, str(error)),))


@dataclass(frozen=True)
class _Reach:
    """How the nodes are read."""

    api: Api
    exec_: ApiExec
    checkpoint: str
    node_ssh: str | None
    probe_image: str | None


def _preflight(
    api: Api, wanted_cpus: int, reach: _Reach, namespace: str, *, disruptive: bool
) -> Preflight:
    kubernetes = api.get("/version").get("gitVersion", "")
    points = [Point("reachable", State.OK, f"Kubernetes {kubernetes} at {api.server}")]
    # The first question that needs credentials; without them no other has an answer.
    nodes, trouble = _ask("nodes", lambda: api.items("/api/v1/nodes"))
    if trouble is not None and trouble.code == 401:
        return Preflight((*points, Point("credentials", State.GAP, str(trouble))), kubernetes)
    pods, no_pods = _ask("pods", lambda: api.items("/api/v1/pods"))
    found, no_handlers = _ask("virt-handler", lambda: handlers(api))
    wanted: tuple[Right, ...] = RIGHTS
    base = "run"
    if namespace:
        kubevirts = found[0].namespace if found else KUBEVIRT
        wanted, base = rights_in(namespace, kubevirts), "namespaced"
    more_wanted = (*(PROBES if reach.probe_image else ()), *(DISRUPTIVE if disruptive else ()))
    # What is not about the whole cluster is done in the run's namespace.
    wanted += tuple(
        replace(each, namespace=namespace) if each.resource in _OF_NAMESPACES else each
        for each in more_wanted
    )
    points += rights(_refused_rights(api, wanted), base)
    kubevirt, more = _kubevirt(api, any(pinning(node) for node in nodes or ()))
    points += more
    if trouble is not None or nodes is None:
        points.append(Point("nodes", State.GAP, str(trouble), "see rights"))
        return Preflight(tuple(points), kubernetes, kubevirt)
    points.append(labelled(nodes))
    if pods is None:
        points.append(Point("free CPUs", State.GAP, str(no_pods), "see rights"))
    elif any(map(pinning, nodes)):
        points.append(free_cpus(nodes, pods, wanted_cpus))
    policy_of = functools.partial(configured_policy, api)
    if reach.probe_image:
        points.append(
            Point("node access", State.OK, f"probes of image {reach.probe_image} will be started")
        )
    elif reach.node_ssh:
        ssh = reach.node_ssh
        by_name = {node["metadata"]["name"]: node for node in nodes}
        points += node_access(
            nodes,
            lambda name: CommandShell(ssh, by_name[name]),
            reach.checkpoint,
            policy_of,
            through=f"`{ssh}`",
            mend="see that the command reaches a shell of every node, as root, without asking "
            "anything",
        )
    elif found is None:
        points.append(Point("node access", State.GAP, str(no_handlers), "see rights"))
    else:
        points += node_access(
            nodes, handler_shells(reach.api, reach.exec_, found), reach.checkpoint, policy_of
        )
    return Preflight(tuple(points), kubernetes, kubevirt)


def _ask(subject: str, question: Callable[[], Any]) -> tuple[Any, ApiError | None]:
    try:
        return question(), None
    except ApiError as error:
        return None, error
    except (KeyError, TypeError, ValueError) as error:
        return None, ApiError(f"the API's answer about {subject} is not understood: {error!r}")


# rights


def _refused_rights(
    api: Api, wanted: tuple[Right, ...]
) -> tuple[tuple[Right, str], ...] | ApiError:
    refused = []
    for right, verb in single(wanted):
        resource, _, subresource = right.resource.partition("/")
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "group": right.group,
                    "resource": resource,
                    "subresource": subresource,
                    "verb": verb,
                    "namespace": right.namespace,
                    "name": right.name,
                }
            },
        }
        try:
            answer = api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        except ApiError as error:
            return error
        if not answer.get("status", {}).get("allowed"):
            refused.append((right, verb))
    return tuple(refused)


def rights(refused: Sequence[tuple[Right, str]] | ApiError, base: str = "run") -> Iterator[Point]:
    """What the refused rights mean; one point a right.

    Args:
        refused: each with its verb; the error by which they could not be asked for.
        base: the kustomize base that grants them.
    """
    if isinstance(refused, ApiError):
        yield Point("rights", State.LIMITED, f"they could not be asked for: {refused}")
    elif not refused:
        yield Point("rights", State.OK, "all that a run needs")
    else:
        for right, pairs in groupby(refused, lambda pair: pair[0]):
            verbs = " and ".join(verb for _, verb in pairs)
            name = f"{right.resource}.{right.group}" if right.group else right.resource
            name += f" {right.name}" if right.name else ""
            where = f"namespace {right.namespace}" if right.namespace else "every namespace"
            yield Point(
                "rights",
                State.GAP if right.needed else State.LIMITED,
                f"this user may not {verbs} {name} in {where}, which it takes to {right.why}",
                f"let an administrator apply {RBAC / base} and give you a token of its service "
                "account",
            )


# KubeVirt


def _kubevirt(api: Api, pins: bool) -> tuple[str, list[Point]]:
    try:
        items = api.items("/apis/kubevirt.io/v1/kubevirts")
    except ApiError as error:
        if error.code != 404:
            return "", [Point("KubeVirt", State.GAP, str(error), "see rights")]
        return "", [
            Point(
                "KubeVirt",
                State.GAP,
                "the cluster does not serve kubevirt.io/v1",
                "install KubeVirt; releases before 0.36, which serve only v1alpha3, are not "
                "supported",
            )
        ]
    return kubevirt(items, pins=pins)


def kubevirt(items: Sequence[Mapping[str, Any]], *, pins: bool) -> tuple[str, list[Point]]:
    """Version, state and feature gates, from the KubeVirt CRs.

    Args:
        items: the CRs.
        pins: whether a node bears the label of the CPU manager, which virt-handler sets
            only while the gate is on.
    """
    if len(items) != 1:
        return "", [
            Point(
                "KubeVirt",
                State.GAP,
                f"there are {len(items)} KubeVirt CRs instead of one",
                "create one; virt-operator deploys what it asks for",
            )
        ]
    status = items[0].get("status") or {}
    version = str(status.get("observedKubeVirtVersion") or "")
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    points = [_available(version, str(status.get("phase")), conditions)]
    configuration = (items[0].get("spec") or {}).get("configuration") or {}
    developer = configuration.get("developerConfiguration") or {}
    gates = set(developer.get("featureGates") or ())
    points.append(_gate("CPUManager", State.GAP, on=pins or "CPUManager" in gates))
    points.append(_gate("Sidecar", State.LIMITED, on="Sidecar" in gates))
    if developer.get("useEmulation"):
        points.append(
            Point(
                "emulation",
                State.LIMITED,
                "useEmulation is on: vCPU threads are named CPU n/TCG, and with "
                "isolateEmulatorThread virt-handler sweeps them into housekeeping too",
            )
        )
    return version, points


def _available(version: str, phase: str, conditions: Mapping[Any, Mapping[str, Any]]) -> Point:
    available, degraded = conditions.get("Available", {}), conditions.get("Degraded", {})
    said = " ".join(
        str(condition["message"]) for condition in (available, degraded) if condition.get("message")
    )
    name = f"KubeVirt {version}".strip()
    if available.get("status") == "True" and degraded.get("status") != "True":
        return Point("KubeVirt", State.OK, f"{name} is available")
    state = "degraded" if degraded.get("status") == "True" else f"not available ({phase})"
    return Point(
        "KubeVirt",
        State.GAP,
        f"{name} is {state}{': ' if said else ''}{said}",
        "look at `kubectl describe kubevirt -A` and at the pods of its namespace",
    )


def _gate(name: str, without: State, *, on: bool) -> Point:
    if on:
        return Point("gates", State.OK, f"{name} is on")
    return Point(
        "gates",
        without,
        f"{name} is not among the feature gates",
        "an administrator can add it to spec.configuration.developerConfiguration.featureGates "
        "of the KubeVirt CR" + ("" if without is State.GAP else "; hook sidecars need it"),
    )
