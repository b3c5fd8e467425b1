"""Which pod runs a VMI's guest: one answer for whoever reads, waits or asks libvirt."""

from __future__ import annotations

from typing import Any

from clusters.kit.launchers import launchers

VMI: dict[str, Any] = {
    "metadata": {"namespace": "ns", "name": "vm", "uid": "u1"},
    "status": {"nodeName": "n1"},
}


def pod(name: str, node: str = "n1", phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    owner = {"kind": "VirtualMachineInstance", "uid": "u1", "controller": True}
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": "1",
            "ownerReferences": [owner],
            **metadata,
        },
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }


class FakeApi:
    """Serves one VMI and its pods."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = pods
        self.selectors: list[str] = []

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        self.selectors.append(query["labelSelector"])
        return list(self.pods)


def names(*pods: dict[str, Any]) -> list[str]:
    api: Any = FakeApi(*pods)
    found = [each["metadata"]["name"] for each in launchers(api, "ns", VMI)]
    assert api.selectors == ["kubevirt.io/created-by=u1"]
    return found


def test_the_guest_is_where_the_vmi_says() -> None:
    """Of a migration, the source counts until the VMI names another node."""
    target = pod("target", "n2", creationTimestamp="2")
    assert names(target, pod("source")) == ["source", "target"]


def test_of_several_on_a_node_the_youngest_that_has_not_ended() -> None:
    pods = (
        pod("failed", phase="Failed", creationTimestamp="4"),
        pod("leaving", deletionTimestamp="5", creationTimestamp="3"),
        pod("older"),
        pod("younger", creationTimestamp="2"),
    )
    assert names(*pods) == ["younger", "older", "failed", "leaving"]


def test_a_pod_that_another_controls_is_none_of_its_launchers() -> None:
    """Anybody may write a label; whose pod it is the owner says."""
    other = {"kind": "ReplicaSet", "uid": "u2", "controller": True}
    assert names(pod("forged", ownerReferences=[other]), pod("own")) == ["own"]
