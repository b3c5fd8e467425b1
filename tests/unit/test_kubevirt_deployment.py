"""KubeVirt deployed on an API server that is real enough to apply to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.contract.provider import ClusterError
from clusters.kit import kubevirt_deployment, waiting
from clusters.kit.deployment_troubles import deployment_troubles, pod_troubles
from clusters.kit.kubevirt_deployment import (
    Settings,
    deploy,
    kubevirt_cr,
    manifests,
    prepare,
)
from clusters.reference.apiserver.resources import EVENT, KUBEVIRT, POD
from tests.unit.reference.apiserver.world import World

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubevirt"}}
ACCOUNT = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "kubevirt-operator", "namespace": "kubevirt"},
}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "kubevirts.kubevirt.io"},
}
OPERATOR = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "virt-operator", "namespace": "kubevirt"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "virt-operator",
                        "livenessProbe": {"initialDelaySeconds": 5},
                        "readinessProbe": {"initialDelaySeconds": 5},
                    }
                ]
            }
        }
    },
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    with World(tmp_path).running() as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with what this API server can take of an operator's manifests."""
    directory = tmp_path / "kubevirt"
    directory.mkdir()
    (directory / "operator.yaml").write_text(yaml.safe_dump_all([ACCOUNT, NAMESPACE, None]))
    return directory


def available(world: World) -> None:
    """What virt-operator does once it has deployed everything."""
    world.mutate(
        KUBEVIRT,
        "kubevirt",
        "kubevirt",
        phase="Deployed",
        observedKubeVirtVersion="v1.8.4",
        conditions=[{"type": "Available", "status": "True"}],
    )


def when(text: str, then: Callable[[], None], said: list[str]) -> Callable[[str], None]:
    def say(line: str) -> None:
        if text in line and not any(text in earlier for earlier in said):
            then()
        said.append(line)

    return say


def test_it_is_applied_and_waited_for(world: World, source: Path) -> None:
    said: list[str] = []
    operator = when("not looked at by its operator", lambda: available(world), said)
    settings = Settings(str(source), use_emulation=True)
    assert deploy(str(world.config), settings, operator) == "v1.8.4"
    assert said[0] == f"deploying KubeVirt from {source}"
    assert said[-1] == "KubeVirt v1.8.4 is available"
    found = world.request("GET", "/api/v1/namespaces/kubevirt/serviceaccounts/kubevirt-operator")
    assert found.json["metadata"]["managedFields"][0]["manager"] == "cpu-conformance"
    cr = world.request("GET", "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt").json
    developer = cr["spec"]["configuration"]["developerConfiguration"]
    assert developer == {"featureGates": ["CPUManager", "NUMA", "Sidecar"], "useEmulation": True}
    # Once more: it is there, and nothing is waited for.
    assert deploy(str(world.config), settings, said.append) == "v1.8.4"


def test_a_failure_tells_what_pods_and_events_say(world: World, source: Path) -> None:
    def fail() -> None:
        pod = {
            "metadata": {"name": "virt-operator-x", "namespace": "kubevirt"},
            "spec": {"containers": [{"name": "virt-operator", "image": "none"}]},
            "status": {
                "phase": "Pending",
                "containerStatuses": [
                    {
                        "name": "virt-operator",
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    }
                ],
            },
        }
        event = {
            "metadata": {"name": "e1", "namespace": "kubevirt"},
            "involvedObject": {"kind": "Pod", "name": "virt-operator-x"},
            "type": "Warning",
            "reason": "BackOff",
            "message": "restarting failed container",
        }
        world.do(lambda: world.store.create(POD, pod))
        world.do(lambda: world.store.create(EVENT, event))

    said: list[str] = []
    with pytest.raises(ClusterError) as failed:
        deploy(
            str(world.config),
            Settings(str(source), seconds=0.5),
            when("not looked at", fail, said),
        )
    text = str(failed.value)
    assert text.startswith("KubeVirt did not become available: waited 0 s for KubeVirt: ")
    assert "\n- pod virt-operator-x (virt-operator): CrashLoopBackOff: back-off" in text
    assert "\n- event of Pod virt-operator-x: BackOff: restarting failed container" in text
    waited = "KubeVirt is not looked at by its operator; virt-operator-x (virt-operator): Crash"
    assert any(line.startswith(waited) for line in said)


def test_an_image_that_cannot_be_had_ends_the_waiting(
    world: World, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubevirt_deployment, "PULL_SECONDS", 0.0)
    status = {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}
    pod = {
        "metadata": {"name": "virt-api-x", "namespace": "kubevirt"},
        "spec": {"containers": [{"name": "virt-api", "image": "none"}]},
        "status": {"containerStatuses": [{"name": "virt-api", "state": status}]},
    }
    world.do(lambda: world.store.create(POD, pod))
    with pytest.raises(ClusterError, match="preload it with --images DIR") as failed:
        deploy(str(world.config), Settings(str(source)), lambda _: None)
    assert "virt-api-x (virt-api): ImagePullBackOff: no such host" in str(failed.value)


def test_a_type_that_is_never_served_is_named(
    world: World, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubevirt_deployment, "OPERATOR_SECONDS", 0.0)
    unknown = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x"}}
    (source / "more.yaml").write_text(yaml.safe_dump(unknown))
    with pytest.raises(ClusterError, match=r"example\.org/v1 Thing is not served yet"):
        deploy(str(world.config), Settings(str(source)), lambda _: None)


def test_a_refusal_is_final(world: World, source: Path) -> None:
    (source / "cr.yaml").write_text(
        yaml.safe_dump(kubevirt_cr(None, Settings()) | {"metadata": {"name": "BAD NAME"}})
    )
    with pytest.raises(ClusterError, match="KubeVirt BAD NAME is refused"):
        deploy(str(world.config), Settings(str(source)), lambda _: None)


def test_an_api_server_that_is_away(world: World, source: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(world.config.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "other").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubevirt_deployment, "OPERATOR_SECONDS", 0.0)
        with pytest.raises(ClusterError, match=r"nothing answers at https://127\.0\.0\.1:1"):
            deploy(str(tmp_path / "other"), Settings(str(source)), lambda _: None)


def test_a_cluster_that_has_died_is_not_waited_for(world: World, source: Path) -> None:
    dead: list[str] = []

    def require_alive() -> None:
        if dead:
            raise ClusterError(dead[0])

    said: list[str] = []
    operator = when("not looked at by its operator", lambda: dead.append("node-1 died"), said)
    with pytest.raises(ClusterError, match="node-1 died"):
        deploy(str(world.config), Settings(str(source)), operator, require_alive)


def test_what_others_need_comes_first() -> None:
    found = [OPERATOR, ACCOUNT, CRD, kubevirt_cr(None, Settings()), NAMESPACE]
    others, cr = prepare(found, Settings())
    assert [content["kind"] for content in others] == [
        "Namespace",
        "CustomResourceDefinition",
        "Deployment",
        "ServiceAccount",
    ]
    assert cr["kind"] == "KubeVirt"
    with pytest.raises(ClusterError, match="holds 2 KubeVirt CRs"):
        prepare([cr, cr], Settings("x"))


def test_a_given_cr_is_completed() -> None:
    developer = {"featureGates": ["Root", "NUMA"], "logVerbosity": {"virtAPI": 4}}
    given = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kv", "namespace": "elsewhere"},
        "spec": {"configuration": {"developerConfiguration": developer}},
    }
    cr = kubevirt_cr(given, Settings(disabled_gates=["ImageVolume"]))
    assert cr["metadata"] == given["metadata"]
    assert cr["spec"]["configuration"]["developerConfiguration"] == {
        "featureGates": ["CPUManager", "NUMA", "Root", "Sidecar"],
        "logVerbosity": {"virtAPI": 4},
        "disabledFeatureGates": ["ImageVolume"],
    }
    assert developer["featureGates"] == ["Root", "NUMA"], "what was given is changed"


def test_slow_nodes_get_patient_probes() -> None:
    (operator,), cr = prepare([OPERATOR], Settings(start_delay_seconds=200, replicas=1))
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"] == {"initialDelaySeconds": 200}
    assert container["readinessProbe"] == {"initialDelaySeconds": 5}, "it ends nobody"
    assert "startupProbe" not in container, "a probe without a handler is invalid"
    assert operator["spec"]["replicas"] == cr["spec"]["infra"]["replicas"] == 1
    patches = {
        patch["resourceName"]: patch for patch in cr["spec"]["customizeComponents"]["patches"]
    }
    assert set(patches) == {"virt-controller", "virt-handler"}
    assert patches["virt-handler"]["resourceType"] == "DaemonSet"
    told = json.loads(patches["virt-handler"]["patch"])
    (container,) = told["spec"]["template"]["spec"]["containers"]
    assert container == {"name": "virt-handler", "livenessProbe": {"initialDelaySeconds": 200}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("", "holds nothing, which is no Kubernetes object"),
        ("<html>", "holds '<html>', which is no Kubernetes object"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "operator.yaml"
    path.write_text(text)
    with pytest.raises(ClusterError, match=message):
        manifests(str(path))


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is not there: give the URL"):
        manifests(str(tmp_path / "none.yaml"))
    with pytest.raises(ClusterError, match=r"cannot be fetched .* give --kubevirt FILE"):
        manifests("http://127.0.0.1:1/kubevirt-operator.yaml")


def test_the_pinned_release_must_be_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer:
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self) -> bytes:
            return yaml.safe_dump(NAMESPACE).encode()

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer())
    with pytest.raises(ClusterError, match=r"has SHA-256 \w+ instead of d1d8264e"):
        manifests(kubevirt_deployment.RELEASE)
    digest = hashlib.sha256(Answer().read()).hexdigest()
    monkeypatch.setattr(kubevirt_deployment, "RELEASE_SHA256", digest)
    assert manifests(kubevirt_deployment.RELEASE) == [NAMESPACE]


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": status}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, []),
        ({"phase": "Succeeded"}, []),
        ({}, ["p: no kubelet has seen it"]),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/2 nodes are available",
                    }
                ]
            },
            ["p: Unschedulable: 0/2 nodes are available"],
        ),
        (
            {"initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 3}}}]},
            ["p (i): ended: exit code 3"],
        ),
        (
            {
                "containerStatuses": [
                    {"name": "a", "state": {"running": {}}},
                    {
                        "name": "b",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"message": "panic: no route"}},
                    },
                ]
            },
            ["p (b): CrashLoopBackOff: panic: no route"],
        ),
    ],
)
def test_why_a_pod_is_not_ready(status: dict[str, Any], expected: list[str]) -> None:
    assert [str(trouble) for trouble in pod_troubles([pod(**status)])] == expected


def test_why_a_deployment_lacks_replicas() -> None:
    condition = {"type": "Available", "status": "False", "message": "minimum availability"}
    found = {
        "metadata": {"name": "virt-operator"},
        "spec": {"replicas": 2},
        "status": {"availableReplicas": 1, "conditions": [condition]},
    }
    told = ["deployment virt-operator has 1 of 2 replicas: minimum availability"]
    assert list(deployment_troubles([found])) == told
    found["status"] = {"availableReplicas": 2}
    assert not list(deployment_troubles([found]))


@pytest.mark.parametrize(("field", "named"), [("disabledFeatureGates", True), ("other", False)])
def test_gates_are_turned_off_only_where_the_release_knows_how(field: str, named: bool) -> None:
    """The API server of a release before 1.8 refuses a CR with a field that it does not know."""
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "kubevirts.kubevirt.io"},
        "spec": {"names": {"kind": "KubeVirt"}, "versions": [{"schema": {field: {}}}]},
    }
    _others, cr = prepare([crd], Settings(disabled_gates=["ImageVolume"]))
    developer = cr["spec"]["configuration"]["developerConfiguration"]
    assert ("disabledFeatureGates" in developer) is named
