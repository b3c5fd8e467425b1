"""Jobs on the reference stack."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from clusters.kit.oci_images import Image
from clusters.reference.apiserver.resources import EVENT, JOB, NAMESPACE, POD
from clusters.reference.apiserver.store import Object
from clusters.reference.conditions import get_condition
from clusters.reference.kubelet.workload import ApiForPods
from clusters.reference.machine import Program
from tests.unit.reference.cluster import SimulatedCluster, on_cluster

IMAGE = Image(Path("tool.tar"), "blobs/sha256/abc", entrypoint=("tail", "-f"))


def job(*command: str, namespace: str = "default", **spec: Any) -> Object:
    container = {"name": "main", "image": "busybox", "command": list(command)}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "metadata": {"name": "job", "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def runs_programs(cluster: SimulatedCluster) -> None:
    """As nodes do that are no simulation."""
    cluster.stack.workloads.images = {"registry.example/tool:1": IMAGE}
    cluster.stack.workloads.api = ApiForPods("127.0.0.1", 1, b"", lambda _, name: name)


def pods(cluster: SimulatedCluster) -> list[Object]:
    return cluster.store.list(POD, "default", where=lambda pod: "job" in pod["metadata"]["name"])


def events_of(cluster: SimulatedCluster, kind: str) -> set[str]:
    found = cluster.store.list(EVENT, "default")
    return {each["reason"] for each in found if each["involvedObject"]["kind"] == kind}


def has(type_: str) -> Any:
    return lambda job: get_condition(job.get("status") or {}, type_)


def test_a_job_is_complete_when_its_pod_has_succeeded() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        runs_programs(cluster)
        cluster.create(JOB, job("sh", "-c", "exit 0"))
        done = await cluster.until(JOB, "job", has("Complete"))
        assert done["status"]["succeeded"] == 1
        assert done["status"]["active"] == 0
        assert done["status"]["completionTime"]
        (pod,) = pods(cluster)
        assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "job"
        assert done["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert {"SuccessfulCreate", "Completed"} <= events_of(cluster, "Job")

    on_cluster(test)


def test_a_job_fails_when_its_pod_has_failed_too_often() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        runs_programs(cluster)
        cluster.create(JOB, job("sh", "-c", "exit 3", backoffLimit=1))
        done = await cluster.until(JOB, "job", has("Failed"))
        failed = get_condition(done["status"], "Failed")
        assert failed
        assert failed["reason"] == "BackoffLimitExceeded"
        assert done["status"]["failed"] == 2 == len(pods(cluster))
        assert get_condition(done["status"], "Complete") is None

    on_cluster(test)


def test_pods_go_with_their_job() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        runs_programs(cluster)
        cluster.create(JOB, job("sleep", "1000"))
        await cluster.until(JOB, "job", lambda found: found.get("status", {}).get("active"))
        (pod,) = pods(cluster)
        name = pod["metadata"]["name"]
        await cluster.until(POD, name, lambda found: found["status"].get("phase") == "Running")
        cluster.store.delete(JOB, "job", "default")
        await cluster.until_gone(POD, name)

    on_cluster(test)


def test_a_job_goes_with_its_namespace_and_makes_no_more_pods() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        runs_programs(cluster)
        cluster.create(NAMESPACE, {"metadata": {"name": "team"}})
        cluster.create(JOB, job("sleep", "1000", namespace="team"))
        await cluster.until(
            JOB, "job", lambda found: found.get("status", {}).get("active"), namespace="team"
        )
        cluster.store.delete(NAMESPACE, "team")
        await cluster.until_gone(NAMESPACE, "team", "")
        assert cluster.store.list(POD, "team") == []

    on_cluster(test)


def test_nodes_in_memory_run_no_job_and_say_so() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        cluster.create(JOB, job("sh", "-c", "exit 0"))
        event = await until_event(cluster, "FailedCreate")
        assert "run no programs" in event["message"]
        assert pods(cluster) == []
        assert not cluster.store.get(JOB, "job", "default").get("status")

    on_cluster(test)


def test_a_container_of_an_image_is_started_with_its_account_and_leaves_nothing() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        runs_programs(cluster)
        started = []
        start = cluster.machine.start_container

        async def noted(spec: Any) -> Any:
            started.append(spec)
            return await start(dataclasses.replace(spec, program=Program.SLEEP))

        async def pulled(image: Image) -> None:
            assert image is IMAGE

        cluster.machine.start_container = noted  # type: ignore[method-assign]
        cluster.machine.pull = pulled  # type: ignore[method-assign]
        wanted = job()
        (container,) = wanted["spec"]["template"]["spec"]["containers"]
        container.update(image="registry.example/tool:1", command=[])
        cluster.create(JOB, wanted)
        await cluster.until(JOB, "job", lambda found: found.get("status", {}).get("active"))
        (pod,) = pods(cluster)
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        await cluster.until(POD, name, lambda found: found["status"].get("phase") == "Running")
        (spec,) = started
        assert (spec.program, spec.inside.image) == (Program.IMAGE, IMAGE)
        assert spec.command == ("tail", "-f")
        place = f"/var/lib/kubelet/pods/{uid}/volumes/*/*/token"
        assert list(cluster.machine.read_now([place]).files.values()) == ["default"]
        cluster.store.delete(JOB, "job", "default")
        await cluster.until_gone(POD, name)
        assert not cluster.machine.read_now([place]).files

    on_cluster(test)


@pytest.mark.parametrize("name", ["tool", "other"])
def test_an_image_that_does_not_reach_the_node_is_waited_for(name: str) -> None:
    async def test(cluster: SimulatedCluster) -> None:
        runs_programs(cluster)
        wanted = job()
        (container,) = wanted["spec"]["template"]["spec"]["containers"]
        container.update(image=f"registry.example/{name}:1", command=[])
        cluster.create(JOB, wanted)
        await cluster.until(JOB, "job", lambda found: found.get("status", {}).get("active"))
        (pod,) = pods(cluster)

        def waits(found: Object) -> bool:
            (status,) = found["status"].get("containerStatuses") or [{}]
            waiting = (status.get("state") or {}).get("waiting") or {}
            return bool(waiting.get("reason") == "ImagePullBackOff")

        await cluster.until(POD, pod["metadata"]["name"], waits)

    on_cluster(test)


async def until_event(cluster: SimulatedCluster, reason: str) -> Object:
    async for change in cluster.store.watch([EVENT]):
        if change.object["reason"] == reason and change.object["involvedObject"]["kind"] == "Job":
            return change.object
    raise AssertionError("a watch never ends")
