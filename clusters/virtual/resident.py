"""One pod of the cluster's own on every node, in the shared pool.

That it runs proves that the node takes pods. Any node of a real cluster has such pods, and
without one there is nobody in the shared pool to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clusters.virtual.node_image import SIDECAR

NAMESPACE = "kube-system"
NAME = "resident"
DAEMON_SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"

_LABELS = {"app": NAME}


def daemon_set() -> dict[str, Any]:
    """What is created."""
    container = {"name": NAME, "image": SIDECAR, "imagePullPolicy": "IfNotPresent"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": _LABELS},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                },
            },
        },
    }


def absent(pods: Iterable[Mapping[str, Any]], nodes: Iterable[str]) -> Mapping[str, str]:
    """By node, why its pod does not run; empty when all do."""
    phases = {
        pod["spec"].get("nodeName"): _state(pod["status"])
        for pod in pods
        if pod["metadata"].get("labels", {}).get("app") == NAME
    }
    states = {node: phases.get(node, "it was not created") for node in nodes}
    return {node: state for node, state in states.items() if state != "Running"}


def _state(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        waiting = container["state"].get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'waiting')} {waiting.get('message', '')}".strip()
    return str(status.get("phase", "Pending"))
