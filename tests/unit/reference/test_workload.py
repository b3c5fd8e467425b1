"""What the reference kubelet gives to a container of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clusters.kit.oci_images import Image
from clusters.reference.apiserver.store import Object
from clusters.reference.kubelet import workload
from clusters.reference.kubelet.workload import ApiForPods, Workloads
from clusters.reference.machine import Mount, NodeError
from conformance.deploying.manifests import Deployment, manifests

IMAGE = Image(
    archive=Path("harness.tar"),
    layer="blobs/sha256/abc",
    entrypoint=("/usr/bin/conform",),
    arguments=("status",),
    environment=(("HOME", "/tmp"),),
    user=65532,
    directory="/tmp",
)
API = ApiForPods("127.0.0.1", 6443, b"PEM", lambda namespace, name: f"token of {namespace}/{name}")


def pod(**container: Any) -> Object:
    return {
        "metadata": {"name": "p", "namespace": "here", "uid": "1-2"},
        "spec": {"containers": [{"name": "main", "image": "tool", **container}]},
    }


@pytest.mark.parametrize(
    ("container", "runs"),
    [
        ({}, ("/usr/bin/conform", "status")),
        ({"args": ["run", "-v"]}, ("/usr/bin/conform", "run", "-v")),
        ({"command": ["sh"]}, ("sh",)),
        ({"command": ["sh", "-c"], "args": ["true"]}, ("sh", "-c", "true")),
    ],
)
def test_command_and_arguments_replace_those_of_the_image(
    container: Object, runs: tuple[str, ...]
) -> None:
    assert workload.command(container, IMAGE) == runs


def test_the_environment_names_the_api_and_what_the_pod_says_wins() -> None:
    container = {"env": [{"name": "HOME", "value": "/home"}, {"name": "EMPTY"}]}
    assert workload.environment(container, IMAGE, API) == {
        "HOME": "/home",
        "EMPTY": "",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "6443",
    }


def test_a_value_from_elsewhere_is_refused_and_not_left_out() -> None:
    container = {"env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}
    with pytest.raises(NodeError, match="NODE"):
        workload.environment(container, IMAGE, API)


def test_a_service_account_is_known_by_its_own_token() -> None:
    named = pod()
    named["spec"]["serviceAccountName"] = "runner"
    content = {path.rpartition("/")[2]: text for path, text in workload.files(named, API).items()}
    assert content == {"token": "token of here/runner", "ca.crt": "PEM", "namespace": "here"}
    assert "token of here/default" in workload.files(pod(), API).values()


def test_the_pod_of_the_printed_job_runs_as_it_asks() -> None:
    *_, job = manifests(Deployment("run", ("run",), "harness"))
    printed = pod()
    printed["spec"] = job["spec"]["template"]["spec"]
    (container,) = printed["spec"]["containers"]
    found = workload.inside(printed, container, IMAGE)
    assert (found.user, found.groups) == (65532, (65532,))
    assert not found.capable
    assert not found.escalates
    mounts = {each.path: each for each in found.mounts}
    assert {"/reports", "/tmp"} < set(mounts)
    assert mounts["/reports"].group == 65532
    assert mounts[workload.SERVICE_ACCOUNT].read_only
    (source,) = {path.rpartition("/")[0] for path in workload.files(printed, API)}
    assert mounts[workload.SERVICE_ACCOUNT].source == source
    assert source.startswith(workload.directory_of("1-2"))


def test_a_pod_that_asks_for_nothing_runs_as_its_image_says() -> None:
    found = workload.inside(pod(), pod()["spec"]["containers"][0], IMAGE)
    assert (found.user, found.groups, found.directory) == (65532, (), "/tmp")
    assert found.capable
    assert found.escalates
    assert Mount("/etc/hosts", "/etc/hosts", read_only=True) in found.mounts


@pytest.mark.parametrize(
    ("volume", "mount"),
    [
        ({"persistentVolumeClaim": {"claimName": "reports"}}, {}),
        ({"emptyDir": {}}, {"subPath": "below"}),
    ],
)
def test_a_volume_that_there_is_not_is_refused(volume: Object, mount: Object) -> None:
    asking = pod(volumeMounts=[{"name": "reports", "mountPath": "/reports", **mount}])
    asking["spec"]["volumes"] = [{"name": "reports", **volume}]
    with pytest.raises(NodeError, match="reports"):
        workload.inside(asking, asking["spec"]["containers"][0], IMAGE)


def test_images_are_known_by_their_whole_names() -> None:
    known = Workloads({"registry.example/tool:1": IMAGE})
    assert known.image_of({"image": "registry.example/tool:1"}) is IMAGE
    assert known.image_of({"image": "registry.example/tool:2"}) is None
    assert Workloads(None).image_of({"image": "registry.example/tool:1"}) is None
