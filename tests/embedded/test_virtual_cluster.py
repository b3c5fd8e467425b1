"""A real Kubernetes on a virtual node; needs its programs: ``pytest --kubernetes DIR``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.provider import Handle
from clusters.contract.shape import ClusterSpec
from clusters.host import rundir
from clusters.kit.api import Api, ApiError
from clusters.kit.pod_exec import ApiExec
from clusters.virtual.access import VirtualAccess
from clusters.virtual.node_layout import CHECKPOINT
from clusters.virtual.provider import PROVIDER
from conformance.collecting.api import core
from conformance.matrix.pods import guaranteed, pod
from conformance.model.cpuset import CpuSet
from conformance.model.vocabulary import COMPUTE
from conformance.parsing.cpulist import cpulist

pytestmark = pytest.mark.machine

NAMESPACE = "default"
POD_SECONDS = 180.0


@pytest.fixture(scope="module")
def handle(request: pytest.FixtureRequest) -> Iterator[Handle]:
    """A cluster of one node of the default shape."""
    directory = request.config.getoption("conform_kubernetes")
    if directory is None:
        pytest.skip("no real Kubernetes to run: give --kubernetes DIR with its programs")
    name = f"test-{os.getpid()}"
    spec = ClusterSpec(options={"kubernetes": directory})
    place = rundir.create(name)
    try:
        made = PROVIDER.up(name, spec, place, progress=print, detached=False)
        yield made
        PROVIDER.down(made)
    finally:
        rundir.remove(place)


@pytest.fixture(scope="module")
def access(handle: Handle) -> VirtualAccess:
    """What the harness sees of it."""
    return VirtualAccess(handle)


@pytest.fixture(scope="module")
def running(access: VirtualAccess) -> dict[str, Any]:
    """A pod with two CPUs of its own."""
    api = Api(access.kubeconfig)
    manifest = pod("two", guaranteed(2))
    until(lambda: created(api, manifest), "the namespace's service account")
    found: dict[str, Any] = until(lambda: with_phase(api, "two", "Running"), "pod two to run")
    return found


def until(look: Any, what: str) -> Any:
    deadline = time.monotonic() + POD_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)
    return found


def created(api: Api, manifest: dict[str, Any]) -> Any:
    try:
        return api.create(core("pods", NAMESPACE), manifest)
    except ApiError as error:
        if error.code == 403:
            return None
        raise


def with_phase(api: Api, name: str, phase: str) -> Any:
    found = api.get(core("pods", NAMESPACE, name))
    return found if found["status"].get("phase") == phase else None


def exclusive(access: VirtualAccess, uid: str) -> CpuSet:
    """What the kubelet's checkpoint gives the pod's container."""
    text = access.node_shell("node-1").read([CHECKPOINT]).files[CHECKPOINT]
    return cpulist(json.loads(text)["entries"][uid][COMPUTE], CHECKPOINT)


def test_the_node_is_as_it_was_asked_for(access: VirtualAccess) -> None:
    capabilities = access.capabilities()
    assert capabilities["smt"].available
    assert capabilities["numa"].available
    assert not capabilities["libvirt"].available
    node = Api(access.kubeconfig).get(core("nodes", name="node-1"))
    # The kubelet counts reserved CPUs off.
    assert node["status"]["capacity"]["cpu"] == "12"
    assert node["status"]["allocatable"]["cpu"] == "10"


def test_a_guaranteed_pod_has_cpus_of_its_own(
    access: VirtualAccess, running: dict[str, Any]
) -> None:
    metadata, status = running["metadata"], running["status"]
    assert status["qosClass"] == "Guaranteed"
    given = exclusive(access, metadata["uid"])
    assert len(given) == 2
    container = status["containerStatuses"][0]["containerID"].partition("://")[2]
    cpuset = f"/sys/fs/cgroup/kubepods/pod{metadata['uid']}/{container}/cpuset.cpus.effective"
    text = access.node_shell("node-1").read([cpuset]).files[cpuset]
    assert cpulist(text.strip(), cpuset) == given


def test_the_api_server_reaches_the_kubelet(access: VirtualAccess, running: dict[str, Any]) -> None:
    del running
    ended = ApiExec(access.kubeconfig).run(NAMESPACE, "two", COMPUTE, ["echo", "hello"])
    assert (ended.returncode, ended.stdout) == (0, "hello\n")
    configz = Api(access.kubeconfig).get("/api/v1/nodes/node-1/proxy/configz")
    assert configz["kubeletconfig"]["reservedSystemCPUs"] == "0,1"


def test_a_restarted_kubelet_keeps_what_it_gave(
    access: VirtualAccess, running: dict[str, Any]
) -> None:
    uid = running["metadata"]["uid"]
    before = exclusive(access, uid)
    words = access.control.restart_kubelet("node-1")
    processes = words.removeprefix("the kubelet was process ").split(", then ")
    assert len(set(processes)) == 2
    assert exclusive(access, uid) == before
    again = with_phase(Api(access.kubeconfig), "two", "Running")
    assert again["status"]["containerStatuses"] == running["status"]["containerStatuses"]


def test_logs_of_everything_are_collected(access: VirtualAccess, tmp_path: Path) -> None:
    access.collect_logs(str(tmp_path))
    found = {path.name for path in tmp_path.iterdir() if path.stat().st_size}
    assert {
        "cluster.log",
        "etcd.log",
        "kube-apiserver.log",
        "kube-scheduler.log",
        "node-1.kubelet.log",
    } <= found
