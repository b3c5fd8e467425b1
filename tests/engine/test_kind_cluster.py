"""A kind cluster with real nodes, wherever an engine and the image of its nodes are at hand."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.contract import cpuset
from clusters.contract.provider import ClusterError, Handle
from clusters.contract.shape import ClusterSpec
from clusters.host import rundir
from clusters.kind import config, engine, host, slices, tool
from clusters.kind.access import EngineShell
from clusters.kind.provider import CPUSET, PROVIDER
from clusters.kit.api import Api

pytestmark = pytest.mark.engine

CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"
IMAGES = "CONFORM_KIND_IMAGES"
"""Names a directory of archives, as --images does, for hosts that cannot pull."""


def why_not() -> str | None:
    """Why no kind cluster can be made here, None when one can."""
    try:
        found = engine.find()
        cores = host.cores()
        engine.require_slices(found, sum(len(core.threads) for core in cores))
        slices.divide(cores, 1)
        tool.find(found.name, lambda _: None)
        if not os.environ.get(IMAGES) and not found.do("images", "--quiet", "kindest/node"):
            return f"{found.name} has no image kindest/node, and {IMAGES} names no archives"
    except ClusterError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def handle() -> Iterator[Handle]:
    """A cluster with one worker and without KubeVirt."""
    if reason := why_not():
        pytest.skip(reason)
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="c-", dir="/tmp") as place,
    ):
        # Its runs beside those of the user; sockets and mounts want a short path.
        patch.setenv("XDG_RUNTIME_DIR", str(place))
        directory = rundir.create("test")
        spec = ClusterSpec(options={"kubevirt": "none", "images": os.environ.get(IMAGES)})
        try:
            made = PROVIDER.up("test", spec, directory, progress=print, detached=False)
        except BaseException:
            rundir.remove(directory)
            raise
        yield made
        PROVIDER.down(made)
        assert not engine.find().running(made.details["cluster"])


def test_the_worker_owns_its_slice(handle: Handle) -> None:
    shell = EngineShell(engine.find(), handle.details["nodes"].split(",")[1])
    files = shell.read([CPUSET, CHECKPOINT]).files
    assert '"policyName":"static"' in files[CHECKPOINT]
    (worker,) = slices.divide(host.cores(), 1).workers
    assert cpuset.parse(files[CPUSET]) == worker.cpus


def test_the_api_counts_what_the_kubelet_may_give_away(handle: Handle) -> None:
    api = Api(handle.kubeconfig)
    nodes = {node["metadata"]["name"]: node for node in api.get("/api/v1/nodes")["items"]}
    api.close()
    (worker,) = slices.divide(host.cores(), 1).workers
    _, name = config.node_names(handle.details["cluster"], 1)
    free = len(worker.cpus - worker.reserved)
    assert nodes[name]["status"]["allocatable"]["cpu"] == str(free)


def test_the_users_kubeconfig_is_not_touched(handle: Handle) -> None:
    usual = Path.home() / ".kube/config"
    assert not usual.exists() or handle.details["cluster"] not in usual.read_text()
