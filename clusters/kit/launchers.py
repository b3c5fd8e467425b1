"""Which pods run the guest of a VMI, asked of the API: for providers, collectors and waiters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clusters.contract.access import AccessError
from clusters.kit.api import Api, Json

CREATED_BY = "kubevirt.io/created-by"
"""Label of a launcher pod: the UID of its VMI."""
COMPUTE = "compute"
"""The container of a launcher pod that runs the guest."""
SOCKETS = ("var/run/libvirt/virtqemud-sock", "run/libvirt/virtqemud-sock")
"""Of libvirt, below a launcher's root. The first may lead through an absolute link, and then
not there."""
_ENDED = ("Succeeded", "Failed")


def launchers(api: Api, namespace: str, vmi: Mapping[str, Any]) -> list[Json]:
    """Every launcher pod of a VMI, first the one in which its guest runs, or is to run.

    A migration makes a second one: the guest is where the VMI says, until that changes. Of
    several there the youngest that has not ended. Raises ApiError.

    Source: a pod is a VMI's when the VMI controls it (kubevirt virt-controller,
    IsControlledBy); the label says so to whoever lists.
    """
    uid = vmi["metadata"]["uid"]
    pods = api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"{CREATED_BY}={uid}")
    node = (vmi.get("status") or {}).get("nodeName")

    def rank(pod: Json) -> tuple[bool, bool, bool, str]:
        there = bool(node) and (pod.get("spec") or {}).get("nodeName") == node
        alive = not pod["metadata"].get("deletionTimestamp")
        ended = (pod.get("status") or {}).get("phase") in _ENDED
        return there, alive, not ended, str(pod["metadata"].get("creationTimestamp"))

    own = [pod for pod in pods if _controller(pod) in (uid, None)]
    return sorted(own, key=rank, reverse=True)


def _controller(pod: Mapping[str, Any]) -> str | None:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(each.get("uid")) for each in owners if each.get("controller")), None)


def container_id(pod: Mapping[str, Any], name: str = COMPUTE) -> str:
    """The id of a pod's container, without its scheme. Raises AccessError."""
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == name and status.get("containerID"):
            return str(status["containerID"]).rpartition("://")[2]
    raise AccessError(f"container {name} of pod {pod['metadata']['name']} has not started")
