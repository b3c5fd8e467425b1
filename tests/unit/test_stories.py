"""Scenarios that break in the middle leave the cluster as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters import providers
from clusters.contract.provider import Handle
from clusters.kit import changes
from clusters.kit.api import Api
from conformance.collecting import api as client
from conformance.collecting import bundle
from conformance.collecting.record import describe, record
from conformance.matrix.manifests import Images, Wish
from conformance.matrix.pods import guaranteed
from fixtures.run import Run, new_id, utc_now
from fixtures.stories import Telling
from fixtures.worker import Worker
from tests.unit.clusters_in_memory import brought_up

NODE = "/api/v1/nodes/node-1"
KUBEVIRT = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"
CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"
NAMESPACE = "told"


class BrokenOffError(Exception):
    """What a story is interrupted by."""


@pytest.fixture
def cluster(runtime: Path) -> Iterator[Handle]:
    with brought_up(runtime) as handle:
        yield handle


@pytest.fixture
def api(cluster: Handle) -> Iterator[Api]:
    api = Api(cluster.kubeconfig)
    api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    yield api
    api.close()


def change_gate(story: Telling) -> None:
    story.administrator.gate("CPUManager", on=False)
    story.administrator.gate("Sidecar", on=False)
    story.administrator.gate("CPUManager", on=True)


def change_labels(story: Telling) -> None:
    # With the gate on, virt-handler labels the node again at once.
    story.administrator.gate("CPUManager", on=False)
    story.administrator.unlabel()
    story.administrator.label("node-1")


def change_policy(story: Telling) -> None:
    story.administrator.set_cpu_manager_policy("node-1", "none")


def occupy(story: Telling) -> None:
    story.runs(story.vmi("own", Wish(cores=2)), story.pod("pod", guaranteed(2)))


def found(api: Api, cluster: Handle) -> dict[str, Any]:
    """What stories change: gates, labels, the node's CPU manager, who is there."""
    shell = providers.provider("simulated").connect(cluster).node_shell("node-1")
    return {
        "gates": api.get(KUBEVIRT)["spec"]["configuration"],
        "labels": api.get(NODE)["metadata"]["labels"],
        "checkpoint": shell.read([CHECKPOINT]).files,
        "pods": [pod["metadata"]["name"] for pod in api.get("/api/v1/pods")["items"]],
    }


def a_run(cluster: Handle, directory: Path) -> Run:
    """A run whose record says what cluster it is, as the conductor writes it."""
    run = _run(cluster, directory)
    recorded = record(run.id, "simulated", profile="v1", matrix="scenarios", cases=())
    access = providers.provider("simulated").connect(cluster)
    describe(recorded, access, client.connect(cluster.kubeconfig))
    bundle.write_run(run.evidence, recorded)
    return run


def _run(cluster: Handle, directory: Path) -> Run:
    return Run(
        id=new_id(),
        began=utc_now(),
        handle=cluster.dump(),
        namespace=NAMESPACE,
        report_dir=str(directory),
        profile="v1",
        matrix="scenarios",
        keep="never",
        progress=str(directory / "nobody"),
    )


@pytest.mark.parametrize("act", [change_gate, change_labels, change_policy, occupy])
def test_a_story_that_breaks_off_puts_everything_back(
    act: Callable[[Telling], None], cluster: Handle, api: Api, tmp_path: Path
) -> None:
    run = a_run(cluster, tmp_path)
    worker = Worker("scenarios", "v1", run, patience=1.0, images=Images())
    before = found(api, cluster)

    def break_off() -> None:
        with worker.telling(worker.scenarios["gate-off"]) as story:
            act(story)
            assert found(api, cluster) != before
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        break_off()
    assert found(api, cluster) == before
    assert not list(tmp_path.glob("evidence/problems/*"))


def test_what_a_killed_worker_has_changed_is_put_back_from_its_notes(
    cluster: Handle, api: Api, tmp_path: Path
) -> None:
    run = a_run(cluster, tmp_path)
    worker = Worker("scenarios", "v1", run, patience=1.0, images=Images())
    before = found(api, cluster)
    with worker.telling(worker.scenarios["gate-off"]) as story:
        change_labels(story)
        change_gate(story)
        assert found(api, cluster)["gates"] != before["gates"]
        assert len(changes.noted(api, NAMESPACE)) == 2
        # As the run's own process does when the worker is gone.
        own = client.connect(cluster.kubeconfig)
        changes.put_back(own, NAMESPACE, lambda _: None)
        assert found(api, cluster) == before
        assert not changes.noted(api, NAMESPACE)
