"""What other processes know of a cluster of the reference stack, by its handle.

Nothing of the stack itself is imported here: a run that only uses the cluster need not load it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from clusters.contract.access import Capability
from clusters.contract.provider import Handle
from clusters.contract.shape import ClusterSpec
from clusters.kit.api import Api, ApiError
from clusters.kit.hugepages import hugepages
from clusters.kit.migration import migration
from clusters.kit.realtime import realtime
from clusters.reference.options import broken


def details(spec: ClusterSpec) -> dict[str, str]:
    """What other processes want to know of the cluster: for its handle."""
    static = [node.name for node in spec.nodes if node.cpu_manager.policy == "static"]
    return {
        "nodes": ",".join(node.name for node in spec.nodes),
        "static": ",".join(static),
        "faults": ",".join(broken(spec)),
    }


def stack_description(handle: Handle) -> str:
    """The reference stack in one line, with whatever it does wrong on purpose."""
    faults = handle.details["faults"]
    broken = f", broken on purpose ({faults})" if faults else ""
    return f"the reference stack{broken}"


def stack_capabilities(handle: Handle, *, immobile: str = "") -> Mapping[str, Capability]:
    """What a run may do with a cluster that was made for it.

    Args:
        handle: of the cluster.
        immobile: why guests of its nodes cannot migrate; empty where they can.
    """
    nodes, static = (set(handle.details[key].split(",")) for key in ("nodes", "static"))
    rest = ", ".join(sorted(nodes - static))
    every = "every node has a CPU manager (--shape policy-none makes one without)"
    try:
        with contextlib.closing(Api(handle.kubeconfig)) as api:
            pages, fifo = hugepages(api), realtime(api)
    except ApiError as error:
        pages = fifo = Capability(None, str(error))
    return {
        "hugepages": pages,
        "realtime": fifo,
        "disruption": Capability(True, "the cluster was made for the run"),
        "kubelet-control": Capability(True, "the kubelets live in the cluster's process"),
        "live-migration": Capability(False, immobile) if immobile else migration(static),
        "unlabelled-node": Capability(bool(rest), f"{rest} has policy none" if rest else every),
    }
