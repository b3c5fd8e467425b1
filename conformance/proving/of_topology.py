"""Saboteurs of what the topology manager's policies promise."""

from __future__ import annotations

import json
from typing import Any

from conformance.model.cpuset import CpuSet
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene


def _under(scene: Scene, policy: str) -> Scene:
    """The kubelet has run with the policy since long before the pod came."""

    def ready(node: Any) -> None:
        for each in node["status"].get("conditions", ()):
            each["lastTransitionTime"] = "2020-01-01T00:00:00Z"

    return scene.node(ready).kubelet(
        lambda config: config.update(topologyManagerPolicy=policy, topologyManagerScope="container")
    )


def _torn(scene: Scene) -> Scene:
    """A whole core of compute is on another NUMA node than its others, by every source."""
    if "guestMappingPassthrough" in json.dumps(scene.raw.manifest):
        raise NothingToSpoilError("a guest without mapped NUMA nodes")
    host = scene.host
    nodes = {host.by_id[cpu].node for cpu in scene.owned}
    cores = sorted(host.whole_cores(scene.owned), key=min)
    if len(nodes) != 1 or not cores or len(scene.owned) <= len(cores[0]):
        raise NothingToSpoilError("a core and more on one NUMA node")
    free = sorted(host.whole_cores(scene.pool), key=min)
    wanted = (c for c in free if len(c) == len(cores[0]) and host.by_id[min(c)].node not in nodes)
    other = next(wanted, CpuSet())
    if not other:
        raise NothingToSpoilError("a free core on another NUMA node")
    return scene.renumbered(dict(zip(sorted(cores[0]), sorted(other), strict=True)))


@spoils("NUMA-ALIGNED", alone=True)
def two_nodes_under_single_numa_node(scene: Scene) -> Scene:
    """The kubelet, whose policy is single-numa-node, has given CPUs of two NUMA nodes."""
    if len({scene.host.by_id[cpu].node for cpu in scene.owned}) < 2:
        raise NothingToSpoilError("CPUs of two NUMA nodes")
    return _under(scene, "single-numa-node")


@spoils("NUMA-ALIGNED")
def core_of_another_node_under_single_numa_node(scene: Scene) -> Scene:
    """A core is of another NUMA node, by every source, and the policy is single-numa-node."""
    return _under(_torn(scene), "single-numa-node")


@spoils("NUMA-ALIGNED")
def core_of_another_node_under_restricted(scene: Scene) -> Scene:
    """A core is of another NUMA node, by every source, although one node could hold all."""
    return _under(_torn(scene), "restricted")
