"""The cluster is ready when its own pod runs on every node, else it says what holds it up."""

from __future__ import annotations

from typing import Any

from clusters.virtual import resident


def own(node: str, status: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": resident.NAME}},
        "spec": {"nodeName": node},
        "status": status,
    }


def test_each_node_without_it_is_named_with_the_reason() -> None:
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "no registry"}}}
    pods = [
        own("node-1", {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}),
        own("node-2", {"phase": "Pending", "containerStatuses": [waiting]}),
        own("node-3", {"phase": "Pending"}),
        {"metadata": {}, "spec": {"nodeName": "node-4"}, "status": {"phase": "Running"}},
    ]
    nodes = ("node-1", "node-2", "node-3", "node-4")
    assert resident.absent(pods, nodes) == {
        "node-2": "ErrImagePull no registry",
        "node-3": "Pending",
        "node-4": "it was not created",
    }


def test_it_runs_everywhere() -> None:
    assert not resident.absent([own("node-1", {"phase": "Running"})], ("node-1",))
