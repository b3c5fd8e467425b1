"""Whether nodes of a cluster say that they can run threads in real time."""

from __future__ import annotations

from clusters.contract.access import Capability
from clusters.kit.api import Api

LABEL = "kubevirt.io/realtime"


def realtime(api: Api) -> Capability:
    """The capability ``realtime``. Raises ApiError."""
    names = [
        node["metadata"]["name"]
        for node in api.items("/api/v1/nodes")
        if LABEL in (node["metadata"].get("labels") or {})
    ]
    if names:
        return Capability(True, f"{', '.join(names[:3])} has the label {LABEL}")
    how = "set kernel.sched_rt_runtime_us to -1 on a node"
    return Capability(False, f"no node has the label {LABEL}: {how}")
