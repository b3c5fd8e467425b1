"""Which pod runs the guest of a VMI, asked of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clusters.access import AccessError
from clusters.api import Api

SOCKETS = ("var/run/libvirt/virtqemud-sock", "run/libvirt/virtqemud-sock")
"""Of libvirt, below a launcher's root. The first may lead through an absolute link, and then
not there."""


def launcher_pod(api: Api, namespace: str, vmi: str) -> Mapping[str, Any]:
    """The running launcher pod of a VMI. Raises AccessError when none runs."""
    found = api.get(f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{vmi}")
    pods = api.get(
        f"/api/v1/namespaces/{namespace}/pods",
        labelSelector=f"kubevirt.io/created-by={found['metadata']['uid']}",
    )["items"]
    for pod in pods:
        running = (pod.get("status") or {}).get("phase") == "Running"
        if running and not pod["metadata"].get("deletionTimestamp"):
            return dict(pod)
    raise AccessError(f"no launcher pod of {namespace}/{vmi} runs")


def container_id(pod: Mapping[str, Any], name: str) -> str:
    """The id of a pod's container, without its scheme. Raises AccessError."""
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == name and status.get("containerID"):
            return str(status["containerID"]).rpartition("://")[2]
    raise AccessError(f"container {name} of pod {pod['metadata']['name']} has not started")
