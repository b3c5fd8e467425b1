"""What a cluster's nodes lack for a run: labels, free CPUs, files that can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from clusters.contract.access import AccessError
from clusters.existing.node import ShellOf
from clusters.existing.points import Point, State, some
from clusters.kit.api import Api, ApiError

SCHEDULABLE = "kubevirt.io/schedulable"
CPU_MANAGER = ("kubevirt.io/cpumanager", "cpumanager")
"""Labels of a node with a CPU manager: which of them is written depends on the release."""
GUIDE = "https://kubevirt.io/user-guide/compute/dedicated_cpu_resources/"

CHECKPOINT = "cpu_manager_state"
"""Below the kubelet's root."""
CPUS_ONLINE = "/sys/devices/system/cpu/online"
CGROUP_V2 = "/sys/fs/cgroup/cgroup.controllers"

UNKNOWN = "unknown"
NODES_AT_ONCE = 8

PolicyOf = Callable[[str], str | None]
"""The CPU manager policy of a node's kubelet by the node's name; None where it is not known."""


def pinning(node: Mapping[str, Any]) -> bool:
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
    names = [node["metadata"]["name"] for node in nodes if pinning(node)]
    if names:
        return Point("nodes", State.OK, f"{len(names)} of {len(nodes)} pin CPUs: {some(names)}")
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
    for node in filter(pinning, nodes):
        name = node["metadata"]["name"]
        allocatable = ((node.get("status") or {}).get("allocatable") or {}).get("cpu", "0")
        free[name] = int(_cpus(allocatable) - requested.get(name, Decimal(0)))
    found = "whole CPUs not requested by any pod: " + some(
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
    policy_of: PolicyOf,
    *,
    through: str = "virt-handler",
    mend: str = "see that virt-handler runs there and that you may exec into it, or give "
    "--node-ssh or --probe-image",
) -> list[Point]:
    """Whether the files of the nodes that pin can be read, and what is amiss with them.

    Args:
        nodes: all of them.
        shell_of: a node's shell by its name; raises AccessError.
        checkpoint: path of the CPU manager's on the nodes.
        policy_of: asks a kubelet, see `configured_policy`.
        through: names what they are read through.
        mend: what to do where they cannot be read.
    """
    names = [node["metadata"]["name"] for node in nodes if pinning(node)]

    def look(name: str) -> list[Point]:
        try:
            reading = shell_of(name).read((CPUS_ONLINE, CGROUP_V2, checkpoint))
        except AccessError as error:
            return [_no_access(name, str(error), mend)]
        files, unreadable = reading.files, reading.unreadable
        return list(node_files(name, files, unreadable, checkpoint, policy_of, mend=mend))

    with ThreadPoolExecutor(NODES_AT_ONCE) as pool:
        seen = list(zip(names, pool.map(look, names), strict=True))
    points = [point for _, amiss in seen for point in amiss]
    if fine := [name for name, amiss in seen if not amiss]:
        found_there = f"{through} shows the node's files on {some(fine)}"
        points.insert(0, Point("node access", State.OK, found_there))
    return points


def _no_access(name: str, why: str, mend: str) -> Point:
    return Point("node access", State.GAP, f"the files of node {name} cannot be read: {why}", mend)


def node_files(
    name: str,
    files: Mapping[str, str],
    unreadable: Mapping[str, str],
    checkpoint: str,
    policy_of: PolicyOf,
    *,
    mend: str,
) -> Iterator[Point]:
    """What is amiss with the files that were read on a node that pins.

    Args:
        name: of the node.
        files: texts by path.
        unreadable: reasons by path.
        checkpoint: path of the CPU manager's.
        policy_of: asks the kubelet.
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
    text = files.get(checkpoint)
    policy = _policy(text) if text is not None else None
    if policy == "static":
        return
    why = unreadable.get(checkpoint, "it is not there")
    yield _not_static(name, checkpoint, policy, why, policy_of(name))


def _policy(text: str) -> str:
    try:
        return str(json.loads(text)["policyName"])
    except (ValueError, KeyError, TypeError):
        return f"{UNKNOWN} ({text[:80]!r})"


def _not_static(name: str, path: str, policy: str | None, why: str, says: str | None) -> Point:
    """What it means that a labelled node's checkpoint is not that of a static policy.

    A kubelet does not start with a checkpoint of another policy than its own: where the two differ,
    the file is not this kubelet's.

    Args:
        name: of the node.
        path: of the checkpoint.
        policy: which it names; None where there is no checkpoint to be read.
        why: there is none.
        says: the policy by the kubelet itself, None where it could not be asked.
    """
    root = "give --kubelet-root, the kubelet's --root-dir"
    label = (
        "remove the label, or set `cpuManagerPolicy: static`, delete the checkpoint and restart "
        "the kubelet"
    )
    if says is not None and says in (policy, "none"):
        return Point(
            "node access",
            State.LIMITED,
            f"node {name} bears a label of the CPU manager, but its kubelet's policy is {says} "
            f"({'' if policy is None else f'{path} and '}configz): no dedicated VMI can "
            "start there",
            label,
        )
    if policy is None:
        if says == "static":
            why += ", though the kubelet's policy is static (configz): its root is elsewhere"
        else:
            why += "; the kubelet's root may be elsewhere"
        found = f"the checkpoint {path} of node {name} stays unobserved: {why}"
        return Point("node access", State.LIMITED, found, root)
    if policy.startswith(UNKNOWN):
        found = f"the policy in the checkpoint {path} of node {name} is {policy}"
        return Point("node access", State.GAP, found, root)
    if says == "static":
        return Point(
            "node access",
            State.GAP,
            f"the checkpoint {path} of node {name} is not its kubelet's: its policy is {policy}, "
            "and the kubelet's is static (configz)",
            root,
        )
    return Point(
        "node access",
        State.GAP,
        f"node {name} bears a label of the CPU manager, but the policy in {path} is {policy}; the "
        "kubelet could not be asked whether that is its own (configz)",
        f"where the kubelet's root is elsewhere {root}; otherwise {label}",
    )


def configured_policy(api: Api, node: str) -> str | None:
    """The policy that the kubelet runs with, by its own words; None where it does not say."""
    try:
        answer = api.get(f"/api/v1/nodes/{node}/proxy/configz")
        return str(answer["kubeletconfig"]["cpuManagerPolicy"])
    except (ApiError, KeyError, TypeError):
        return None
