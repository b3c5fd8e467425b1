"""Which pod runs the guest of a VMI, asked of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clusters.contract.access import AccessError
from clusters.kit.api import Api

SOCKETS = ("var/run/libvirt/virtqemud-sock", "run/libvirt/virtqemud-sock")
"""Of libvirt, below a launcher's root. The first may lead through an absolute link, and then
not there."""


def launcher_pod(api: Api, namespace: str, vmi: str) -> Mapping[str, Any]:
    """The running launcher pod of a VMI. Raises AccessError when none runs.

    While it migrates there are two: its guest is on the node that the VMI names.
    """
    found = api.get(f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{vmi}")
    pods = api.items(
        f"/api/v1/namespaces/{namespace}/pods",
        labelSelector=f"kubevirt.io/created-by={found['metadata']['uid']}",
    )
    node = (found.get("status") or {}).get("nodeName")
    running = [
        pod
        for pod in pods
        if (pod.get("status") or {}).get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
    ]
    # First those where the guest is.
    for pod in sorted(running, key=lambda pod: (pod.get("spec") or {}).get("nodeName") != node):
        return dict(pod)
    raise AccessError(f"no launcher pod of {namespace}/{vmi} runs")


def container_id(pod: Mapping[str, Any], name: str) -> str:
    """The id of a pod's container, without its scheme. Raises AccessError."""
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == name and status.get("containerID"):
            return str(status["containerID"]).rpartition("://")[2]
    raise AccessError(f"container {name} of pod {pod['metadata']['name']} has not started")
