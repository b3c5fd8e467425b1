"""Whether the nodes of a cluster have huge pages to give, as their API server tells it."""

from __future__ import annotations

from clusters.contract.access import Capability
from clusters.kit.api import Api

RESOURCE = "hugepages-2Mi"


def hugepages(api: Api) -> Capability:
    """The capability ``hugepages``. Raises ApiError."""
    allocatable = {
        node["metadata"]["name"]: (node.get("status", {}).get("allocatable") or {}).get(RESOURCE)
        for node in api.items("/api/v1/nodes")
    }
    offered = [f"{node} ({text})" for node, text in allocatable.items() if text not in (None, "0")]
    if offered:
        return Capability(True, f"{RESOURCE} can be allocated on {', '.join(offered[:3])}")
    how = "set vm.nr_hugepages on a node, and restart its kubelet"
    return Capability(False, f"no node has allocatable {RESOURCE}: {how}")
