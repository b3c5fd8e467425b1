"""A Job of an image that the nodes were given, on an embedded cluster."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from clusters.contract.provider import Handle
from clusters.contract.shape import ClusterSpec
from clusters.embedded import node_image
from clusters.embedded.provider import PROVIDER
from clusters.host import rundir
from clusters.kit import oci_archive
from clusters.kit.api import Api
from clusters.kit.oci_archive import ContainerImage, File
from clusters.virtual_node import image

pytestmark = pytest.mark.machine

NAME = "localhost/tool:1"
JOB = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
SECONDS = 180.0
ASKS_THE_API = """\
cd /var/run/secrets/kubernetes.io/serviceaccount
[ -s token ] && [ -s ca.crt ] && [ "$(cat namespace)" = default ] || exit 11
nc -w 5 "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT" </dev/null || exit 12
echo kept >/reports/file && id -u
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Of an embedded cluster whose nodes were given an image."""
    directory = tmp_path_factory.mktemp("images")
    archive, busybox = directory / "tool.tar", directory / "busybox"
    root = image.build(node_image.extra_files(), progress=print).root
    dump = f"dump /usr/bin/busybox {busybox}"
    subprocess.run(["debugfs", "-R", dump, root], check=True, capture_output=True)
    program = File(busybox.read_bytes(), 0o755)
    files = {f"/bin/{name}": program for name in ("sh", "cat", "id", "nc", "sleep")}
    oci_archive.write(archive, [ContainerImage(NAME, files, owner=0, user=65532)])
    name = f"test-{os.getpid()}"
    place = rundir.create(name)
    try:
        spec = ClusterSpec(options={"images": str(archive)})
        made: Handle = PROVIDER.up(name, spec, place, progress=print, detached=False)
        try:
            api = Api(made.kubeconfig)
            yield api
            api.close()
        finally:
            PROVIDER.down(made)
    finally:
        rundir.remove(place)


def job(name: str, script: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": NAME,
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "reports", "mountPath": "/reports"}],
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "reports", "emptyDir": {}}],
    }
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}


def over(api: Api, name: str) -> dict[str, Any]:
    """The Job when it has ended."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found: dict[str, Any] = api.get(f"{JOB}/{name}")
        if found.get("status", {}).get("conditions"):
            return found
        time.sleep(0.5)
    raise AssertionError(f"the Job {name} has not ended: {api.items(PODS)}")


def test_a_job_has_its_account_its_volume_and_the_api(api: Api) -> None:
    api.create(JOB, job("asks", ASKS_THE_API))
    assert over(api, "asks")["status"]["succeeded"] == 1


def test_a_job_fails_with_its_program(api: Api) -> None:
    api.create(JOB, job("fails", "exit 3"))
    ended = over(api, "fails")
    assert (ended["status"]["succeeded"], ended["status"]["failed"]) == (0, 1)
    (pod,) = api.items(PODS, labelSelector="batch.kubernetes.io/job-name=fails")
    (container,) = pod["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 3
