"""The scheduler counts and selects as upstream's does."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.contract.shape import NodeSpec
from clusters.reference.apiserver.resources import NODE, POD
from clusters.reference.apiserver.store import Object
from clusters.reference.conditions import get_condition
from clusters.reference.pod_resources import effective_requests, qos_class, with_defaults
from clusters.reference.scheduler import matches_node
from tests.unit.reference.cluster import SimulatedCluster, on_cluster, plain_pod


def container(cpu: str = "", *, limit: str = "", memory: str = "1Mi", **more: Any) -> Object:
    requests = {"cpu": cpu, "memory": memory} if cpu else {}
    limits = {"cpu": limit, "memory": memory} if limit else {}
    return {"name": "c", "resources": {"requests": requests, "limits": limits}, **more}


def test_init_containers_count_only_while_they_run() -> None:
    spec = {
        "initContainers": [
            container("15m", restartPolicy="Always"),
            container("3"),
            container("10m"),
        ],
        "containers": [container("2"), container("200m")],
    }
    assert effective_requests(spec)["cpu"] == 3015
    spec["initContainers"][1] = container("1")
    assert effective_requests(spec)["cpu"] == 2215


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [container()]}, "BestEffort"),
        ({"containers": [container("1")]}, "Burstable"),
        ({"containers": [container(limit="1")]}, "Guaranteed"),
        ({"containers": [container("1", limit="2")]}, "Burstable"),
        ({"containers": [container(limit="1"), container()]}, "Burstable"),
        ({"containers": [container(limit="1")], "initContainers": [container()]}, "Burstable"),
    ],
)
def test_every_container_decides_the_qos_class(spec: Object, expected: str) -> None:
    assert qos_class(with_defaults({"spec": spec})["spec"]) == expected


@pytest.mark.parametrize(
    ("operator", "values", "holds"),
    [
        ("In", ["a", "b"], True),
        ("NotIn", ["a"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_required_node_affinity(operator: str, values: list[str], holds: bool) -> None:
    expression = {"key": "zone", "operator": operator, "values": values}
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": term}
    spec = {"affinity": {"nodeAffinity": affinity}}
    assert matches_node(spec, {"metadata": {"name": "n", "labels": {"zone": "a"}}}) is holds


def test_each_node_tells_why_it_does_not_fit() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
        cluster.store.mutate(NODE, "node-2", "", lambda n: n["spec"].update(taints=[taint]))
        cluster.store.mutate(NODE, "node-3", "", lambda n: n["spec"].update(unschedulable=True))
        resources = {"requests": {"cpu": "64", "memory": "1Ti"}}
        cluster.create(POD, plain_pod("big", resources=resources))
        pod = await cluster.until(POD, "big", lambda p: get_condition(p["status"], "PodScheduled"))
        condition = get_condition(pod["status"], "PodScheduled") or {}
        assert condition["reason"] == "Unschedulable"
        assert condition["message"] == (
            "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, "
            "1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable. "
            "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming "
            "pod, 2 Preemption is not helpful for scheduling."
        )

    on_cluster(test, nodes=[NodeSpec(f"node-{n}") for n in (1, 2, 3)])


def test_pods_are_spread_to_the_emptier_node() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        for number in range(4):
            resources = {"requests": {"cpu": "2", "memory": "1Mi"}}
            cluster.create(POD, plain_pod(f"p{number}", resources=resources))
        pods = [
            await cluster.until(POD, f"p{n}", lambda p: p["status"]["phase"] == "Running")
            for n in range(4)
        ]
        nodes = sorted(pod["spec"]["nodeName"] for pod in pods)
        assert nodes == ["node-1", "node-1", "node-2", "node-2"]

    on_cluster(test, nodes=[NodeSpec("node-1"), NodeSpec("node-2")])
