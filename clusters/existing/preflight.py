"""Whether a run can be made on a cluster, before anything is created: all gaps at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import Any

from clusters.contract.access import AccessError
from clusters.contract.shape import KUBELET_ROOT
from clusters.existing.node import ShellOf, handler_shells, handlers
from clusters.existing.probes import CommandShell
from clusters.existing.rights import DISRUPTIVE, PROBES, RIGHTS, Right, single
from clusters.kit.api import Api, ApiError
from clusters.kit.pod_exec import ApiExec

SCHEDULABLE = "kubevirt.io/schedulable"
CPU_MANAGER = ("kubevirt.io/cpumanager", "cpumanager")
"""Labels of a node with a CPU manager: which of them is written depends on the release."""
GUIDE = "https://kubevirt.io/user-guide/compute/dedicated_cpu_resources/"

CHECKPOINT = "cpu_manager_state"
"""Below the kubelet's root."""
CPUS_ONLINE = "/sys/devices/system/cpu/online"
CGROUP_V2 = "/sys/fs/cgroup/cgroup.controllers"

NODES_AT_ONCE = 8


class State(StrEnum):
    """What a point means for a run."""

    OK = "ok"
    LIMITED = "limited"
    """The run can be made; something will not be observed, or does not apply."""
    GAP = "gap"
    """The run cannot be made."""


@dataclass(frozen=True)
class Point:
    """One thing that was looked at.

    Attributes:
        subject: such as ``rights``; there may be several points about one.
        found: what was seen, as one sentence or part of one.
        mend: what to do; empty when nothing is to be done.
    """

    subject: str
    state: State
    found: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f": {self.mend}" if self.mend else ""
        return f"{self.state:<7}  {self.subject}: {self.found}{mend}"


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
) -> Preflight:
    """Looks at the cluster of a kubeconfig's current context; changes nothing.

    Args:
        kubeconfig: path of a kubeconfig.
        wanted_cpus: exclusive CPUs that one node must have free at the least.
        kubelet_root: where the nodes' kubelets keep their files.
        node_ssh: command by which nodes are read, None for virt-handler.
        probe_image: image of pods by which they will be read: nothing is read yet.
        disruptive: whether scenarios may disturb it, which needs further rights.
    """
    checkpoint = f"{kubelet_root}/{CHECKPOINT}"
    try:
        api = Api(kubeconfig)
        try:
            reach = _Reach(api, ApiExec(kubeconfig), checkpoint, node_ssh, probe_image)
            return _preflight(api, wanted_cpus, reach, disruptive=disruptive)
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


def _preflight(api: Api, wanted_cpus: int, reach: _Reach, *, disruptive: bool) -> Preflight:
    kubernetes = api.get("/version").get("gitVersion", "")
    points = [Point("reachable", State.OK, f"Kubernetes {kubernetes} at {api.server}")]
    # The first question that needs credentials; without them no other has an answer.
    nodes, trouble = _ask("nodes", lambda: api.items("/api/v1/nodes"))
    if trouble is not None and trouble.code == 401:
        return Preflight((*points, Point("credentials", State.GAP, str(trouble))), kubernetes)
    pods, no_pods = _ask("pods", lambda: api.items("/api/v1/pods"))
    found, no_handlers = _ask("virt-handler", lambda: handlers(api))
    wanted = (*RIGHTS, *(PROBES if reach.probe_image else ()), *(DISRUPTIVE if disruptive else ()))
    points += rights(_refused_rights(api, wanted))
    kubevirt, more = _kubevirt(api, any(_pinning(node) for node in nodes or ()))
    points += more
    if trouble is not None or nodes is None:
        points.append(Point("nodes", State.GAP, str(trouble), "see rights"))
        return Preflight(tuple(points), kubernetes, kubevirt)
    points.append(labelled(nodes))
    if pods is None:
        points.append(Point("free CPUs", State.GAP, str(no_pods), "see rights"))
    elif any(map(_pinning, nodes)):
        points.append(free_cpus(nodes, pods, wanted_cpus))
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
            f"`{ssh}`",
            "see that the command reaches a shell of every node, as root, without asking anything",
        )
    elif found is None:
        points.append(Point("node access", State.GAP, str(no_handlers), "see rights"))
    else:
        points += node_access(
            nodes, handler_shells(reach.api, reach.exec_, found), reach.checkpoint
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


def rights(refused: Sequence[tuple[Right, str]] | ApiError) -> Iterator[Point]:
    """What the refused rights mean; one point a right."""
    if isinstance(refused, ApiError):
        yield Point("rights", State.LIMITED, f"they could not be asked for: {refused}")
    elif not refused:
        yield Point("rights", State.OK, "all that a run needs")
    else:
        for right, pairs in groupby(refused, lambda pair: pair[0]):
            verbs = " and ".join(verb for _, verb in pairs)
            name = f"{right.resource}.{right.group}" if right.group else right.resource
            yield Point(
                "rights",
                State.GAP if right.needed else State.LIMITED,
                f"this user may not {verbs} {name} in every namespace, which it takes to "
                f"{right.why}",
                "let an administrator apply clusters/existing/rbac.yaml and give you a token "
                "of its service account",
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


# nodes


def _pinning(node: Mapping[str, Any]) -> bool:
    """Whether a VMI with dedicated CPUs can be scheduled to the node."""
    labels = node["metadata"].get("labels") or {}
    ready = any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in (node.get("status") or {}).get("conditions") or ()
    )
    cordoned = (node.get("spec") or {}).get("unschedulable")
    has_manager = "true" in {labels.get(key) for key in CPU_MANAGER}
    return has_manager and labels.get(SCHEDULABLE) == "true" and ready and not cordoned


def unlabelled(nodes: Sequence[Mapping[str, Any]], wanted: int, called: str) -> str | None:
    """What lacks while fewer nodes pin CPUs than are wanted; None when there are enough."""
    number = sum(labelled([node]).state is State.OK for node in nodes)
    return None if number >= wanted else f"virt-handler has labelled {number} of {wanted} {called}"


def labelled(nodes: Sequence[Mapping[str, Any]]) -> Point:
    """Which nodes can take VMIs with dedicated CPUs."""
    names = [node["metadata"]["name"] for node in nodes if _pinning(node)]
    if names:
        return Point("nodes", State.OK, f"{len(names)} of {len(nodes)} pin CPUs: {_some(names)}")
    return Point(
        "nodes",
        State.GAP,
        f"none of {len(nodes)} nodes is Ready, schedulable and bears both "
        f"{' or '.join(CPU_MANAGER)}=true and {SCHEDULABLE}=true",
        f"give a node's kubelet `cpuManagerPolicy: static` with reserved CPUs ({GUIDE}) and "
        "wait up to 2.2 minutes for virt-handler to label it",
    )


def free_cpus(
    nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]], wanted: int
) -> Point:
    """Allocatable CPUs minus what pods request, on nodes that pin."""
    requested: dict[str, Decimal] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
            requested[node] = requested.get(node, Decimal(0)) + cpu_request(pod["spec"])
    free = {}
    for node in filter(_pinning, nodes):
        name = node["metadata"]["name"]
        allocatable = ((node.get("status") or {}).get("allocatable") or {}).get("cpu", "0")
        free[name] = int(_cpus(allocatable) - requested.get(name, Decimal(0)))
    found = "whole CPUs not requested by any pod: " + _some(
        [f"{max(count, 0)} on {name}" for name, count in sorted(free.items())]
    )
    if max(free.values(), default=0) >= wanted:
        return Point("free CPUs", State.OK, found)
    return Point(
        "free CPUs",
        State.GAP,
        f"{found}; the largest VMI takes {wanted}",
        "free a node of other workloads, or choose a smaller matrix",
    )


def cpu_request(spec: Mapping[str, Any]) -> Decimal:
    """CPUs that the scheduler counts for a pod.

    Source: kubernetes staging/src/k8s.io/component-helpers/resource/helpers.go
    (PodRequests): the containers and the sidecars among the init containers, or, where
    that is more, the largest init container beside the sidecars before it; and overhead.
    """
    sidecars = largest = Decimal(0)
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars += _request(container)
            largest = max(largest, sidecars)
        else:
            largest = max(largest, sidecars + _request(container))
    running = sidecars + sum(map(_request, spec.get("containers") or ()), Decimal(0))
    return max(running, largest) + _cpus((spec.get("overhead") or {}).get("cpu", "0"))


def _request(container: Mapping[str, Any]) -> Decimal:
    return _cpus(((container.get("resources") or {}).get("requests") or {}).get("cpu", "0"))


def _cpus(quantity: object) -> Decimal:
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(quantity))


# node access


def node_access(
    nodes: Sequence[Mapping[str, Any]],
    shell_of: ShellOf,
    checkpoint: str,
    through: str = "virt-handler",
    mend: str = "see that virt-handler runs there and that you may exec into it, or give "
    "--node-ssh or --probe-image",
) -> list[Point]:
    """Whether the files of the nodes that pin can be read, and what is amiss with them.

    Args:
        nodes: all of them.
        shell_of: a node's shell by its name; raises AccessError.
        checkpoint: path of the CPU manager's on the nodes.
        through: names what they are read through.
        mend: what to do where they cannot be read.
    """
    names = [node["metadata"]["name"] for node in nodes if _pinning(node)]

    def look(name: str) -> list[Point]:
        try:
            reading = shell_of(name).read((CPUS_ONLINE, CGROUP_V2, checkpoint))
        except AccessError as error:
            return [_no_access(name, str(error), mend)]
        return list(node_files(name, reading.files, reading.unreadable, checkpoint, mend))

    with ThreadPoolExecutor(NODES_AT_ONCE) as pool:
        seen = list(zip(names, pool.map(look, names), strict=True))
    points = [point for _, amiss in seen for point in amiss]
    if fine := [name for name, amiss in seen if not amiss]:
        found_there = f"{through} shows the node's files on {_some(fine)}"
        points.insert(0, Point("node access", State.OK, found_there))
    return points


def _no_access(name: str, why: str, mend: str) -> Point:
    return Point("node access", State.GAP, f"the files of node {name} cannot be read: {why}", mend)


def node_files(
    name: str,
    files: Mapping[str, str],
    unreadable: Mapping[str, str],
    checkpoint: str,
    mend: str,
) -> Iterator[Point]:
    """What is amiss with the files that were read on a node that pins.

    Args:
        name: of the node.
        files: texts by path.
        unreadable: reasons by path.
        checkpoint: path of the CPU manager's.
        mend: what to do where nothing can be read.
    """
    if CPUS_ONLINE not in files:
        yield _no_access(name, unreadable.get(CPUS_ONLINE, f"{CPUS_ONLINE} is not there"), mend)
        return
    if CGROUP_V2 not in files:
        yield Point(
            "node access",
            State.LIMITED,
            f"node {name} runs cgroup v1, which is not supported: what is read from cgroups "
            "stays unobserved there",
            "boot it with cgroup v2",
        )
    if checkpoint not in files:
        why = unreadable.get(checkpoint, "it is not there; the kubelet's root may be elsewhere")
        yield Point(
            "node access",
            State.LIMITED,
            f"the checkpoint {checkpoint} of node {name} stays unobserved: {why}",
            "give --kubelet-root, the kubelet's --root-dir",
        )
        return
    try:
        policy = json.loads(files[checkpoint])["policyName"]
    except (ValueError, KeyError, TypeError):
        policy = f"unknown ({files[checkpoint][:80]!r})"
    if policy != "static":
        yield Point(
            "node access",
            State.GAP,
            f"node {name} bears a label of the CPU manager, but its kubelet's policy is {policy}",
            "remove the label, or set `cpuManagerPolicy: static`, delete the checkpoint and "
            "restart the kubelet",
        )


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
