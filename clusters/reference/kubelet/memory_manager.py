"""The memory manager: from which NUMA nodes a container gets its memory.

kubernetes pkg/kubelet/cm/memorymanager (policy_static.go, state). One thing is stricter than
upstream: what an init container was given is not used again by the containers after it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from clusters.contract.cpuset import CpuSet
from clusters.reference import pod_resources
from clusters.reference.apiserver.store import Object
from clusters.reference.kubelet.checkpoint import CheckpointError
from clusters.reference.kubelet.topology_manager import Hint, Hints, masks
from clusters.reference.machine import Machine

PATH = "/var/lib/kubelet/memory_manager_state"
STATIC = "Static"
_HUGEPAGES = "hugepages-"


class NoMemoryError(Exception):
    """The request cannot be met as the topology manager wants it."""


@dataclass
class _Table:
    """Bytes of one resource on one NUMA node."""

    total: int
    reserved_for_system: int
    free: int
    reserved: int = 0

    @property
    def allocatable(self) -> int:
        return self.free + self.reserved


@dataclass
class _Node:
    tables: dict[str, _Table]
    cells: CpuSet
    assignments: int = 0


@dataclass(frozen=True)
class Block:
    """So many bytes of a resource, from these NUMA nodes."""

    nodes: CpuSet
    type: str
    size: int


@dataclass
class _State:
    nodes: dict[int, _Node]
    entries: dict[str, dict[str, tuple[Block, ...]]] = field(default_factory=dict)


class MemoryManager:
    """Decides from which NUMA nodes containers of Guaranteed pods get memory; keeps the checkpoint.

    Under policy ``None`` it decides nothing.
    """

    def __init__(
        self, machine: Machine, policy: str, resources: Mapping[int, Mapping[str, int]], system: int
    ) -> None:
        """Begins with nothing given away.

        Args:
            machine: the node.
            policy: ``None`` or ``Static``.
            resources: bytes by resource, such as ``memory`` and ``hugepages-2Mi``, by NUMA node;
                ``memory`` is all of it.
            system: bytes of memory kept from pods; all of them on the first node with as much.
        """
        self._machine = machine
        self._policy = policy
        self._state = _State({n: _node(n, own) for n, own in sorted(resources.items())})
        for node in self._state.nodes.values():
            memory = node.tables[pod_resources.MEMORY]
            if memory.free >= system:
                memory.free -= system
                memory.reserved_for_system = system
                break

    @property
    def static(self) -> bool:
        """Whether the policy is ``Static``."""
        return self._policy == STATIC

    @property
    def reserved(self) -> list[Object]:
        """``reservedMemory`` of the KubeletConfiguration."""
        return [
            {"numaNode": number, "limits": {name: str(table.reserved_for_system)}}
            for number, node in self._state.nodes.items()
            for name, table in node.tables.items()
            if table.reserved_for_system
        ]

    async def start(self) -> None:
        """Takes up the state of the checkpoint. Raises CheckpointError when it does not fit."""
        text = (await self._machine.read([PATH])).files.get(PATH)
        if text is not None:
            self._restore(text)
        await self.save()

    def hints(self, amounts: Mapping[str, int], pod: Object) -> Hints:
        """Where so much could come from (calculateHints)."""
        wanted = self._wanted(amounts, pod)
        if not wanted:
            return ()
        possible, fewest = [], len(self._state.nodes)
        for mask in masks(frozenset(self._state.nodes)):
            if not self._holds(mask, wanted, "allocatable"):
                continue
            fewest = min(fewest, len(mask))
            if self._may_group(mask) and self._holds(mask, wanted, "free"):
                possible.append(mask)
        return [[Hint(mask, len(mask) == fewest) for mask in possible]] * len(wanted)

    def allocate(self, pod: Object, container: Object, hint: Hint) -> None:
        """Gives a container memory. Raises NoMemoryError; it then has none."""
        wanted = self._wanted(pod_resources.requests_of(container), pod)
        if not wanted:
            return
        nodes = hint.nodes
        if nodes is None or not self._holds(nodes, wanted, "free"):
            own = self.hints(wanted, pod)[0]
            around = [each for each in own if not nodes or nodes <= (each.nodes or frozenset())]
            best = next((each for each in around if each.preferred), next(iter(around), None))
            if best is None:
                what = "default" if nodes is None else "extended"
                raise NoMemoryError(
                    f"[memorymanager] failed to get the {what} NUMA affinity, no NUMA nodes with "
                    "enough memory is available"
                )
            if hint.preferred and not best.preferred:
                what = "default" if nodes is None else "extended"
                raise NoMemoryError(f"[memorymanager] failed to find the {what} preferred hint")
            nodes = best.nodes
        assert nodes is not None
        if not self._may_group(nodes):
            raise NoMemoryError("[memorymanager] preferred hint violates NUMA node allocation")
        blocks = tuple(Block(nodes, name, size) for name, size in wanted.items())
        self._state.entries.setdefault(pod["metadata"]["uid"], {})[container["name"]] = blocks
        for block in blocks:
            self._take(block)

    def nodes_of(self, uid: str, container: str) -> CpuSet | None:
        """Where the container's memory is from (``cpuset.mems``), None for anywhere."""
        blocks = self._state.entries.get(uid, {}).get(container, ())
        return frozenset().union(*(block.nodes for block in blocks)) or None

    def give_back(self, uid: str) -> None:
        """The containers of the pod are gone."""
        for blocks in self._state.entries.pop(uid, {}).values():
            for block in blocks:
                self._release(block)

    def keep_only(self, uids: Collection[str]) -> None:
        """Takes back what belongs to pods that no longer exist."""
        for uid in self._state.entries.keys() - set(uids):
            self.give_back(uid)

    async def save(self) -> None:
        """Writes the checkpoint, without a checksum, which upstream accepts."""
        if not self.static:
            return
        machine = {
            str(number): {
                "numberOfAssignments": node.assignments,
                "memoryMap": {
                    name: {
                        "total": table.total,
                        "systemReserved": table.reserved_for_system,
                        "allocatable": table.allocatable,
                        "reserved": table.reserved,
                        "free": table.free,
                    }
                    for name, table in sorted(node.tables.items())
                },
                "cells": sorted(node.cells),
            }
            for number, node in self._state.nodes.items()
        }
        entries = {
            uid: {
                name: [
                    {"numaAffinity": sorted(b.nodes), "type": b.type, "size": b.size}
                    for b in blocks
                ]
                for name, blocks in containers.items()
            }
            for uid, containers in self._state.entries.items()
        }
        content = {"policyName": STATIC, "machineState": machine, "entries": entries, "checksum": 0}
        await self._machine.write({PATH: json.dumps(content, separators=(",", ":"))})

    def _restore(self, text: str) -> None:
        content = json.loads(text)
        if content["policyName"] != self._policy:
            raise CheckpointError(
                f'configured policy "{self._policy}" differs from state checkpoint policy '
                f'"{content["policyName"]}"'
            )
        for uid, containers in content.get("entries", {}).items():
            for name, blocks in containers.items():
                own = tuple(
                    Block(frozenset(b["numaAffinity"]), b["type"], b["size"]) for b in blocks
                )
                self._state.entries.setdefault(uid, {})[name] = own
                for block in own:
                    self._take(block)

    def _wanted(self, amounts: Mapping[str, int], pod: Object) -> dict[str, int]:
        if not self.static or pod["status"]["qosClass"] != pod_resources.GUARANTEED:
            return {}
        return {
            name: amount
            for name, amount in amounts.items()
            if amount and (name == pod_resources.MEMORY or name.startswith(_HUGEPAGES))
        }

    def _holds(self, nodes: CpuSet, wanted: Mapping[str, int], which: str) -> bool:
        """Whether these nodes have as much free, or as much at all."""
        return all(
            sum(getattr(self._state.nodes[n].tables[name], which) for n in nodes) >= amount
            for name, amount in wanted.items()
        )

    def _may_group(self, nodes: CpuSet) -> bool:
        """A node never serves one container alone and another one together with other nodes."""
        used = [self._state.nodes[n] for n in nodes if self._state.nodes[n].assignments]
        return all(node.cells == nodes for node in used)

    def _take(self, block: Block) -> None:
        left = block.size
        for number in sorted(block.nodes):
            node = self._state.nodes[number]
            node.assignments += 1
            node.cells = block.nodes
            table = node.tables[block.type]
            part = min(left, table.free)
            table.free, table.reserved, left = table.free - part, table.reserved + part, left - part

    def _release(self, block: Block) -> None:
        left = block.size
        for number in sorted(block.nodes):
            node = self._state.nodes[number]
            node.assignments -= 1
            if not node.assignments:
                node.cells = frozenset({number})
            table = node.tables[block.type]
            part = min(left, table.reserved)
            table.free, table.reserved, left = table.free + part, table.reserved - part, left - part


def _node(number: int, resources: Mapping[str, int]) -> _Node:
    tables = {name: _Table(amount, 0, amount) for name, amount in resources.items()}
    memory = tables[pod_resources.MEMORY]
    memory.free -= sum(amount for name, amount in resources.items() if name.startswith(_HUGEPAGES))
    return _Node(tables, frozenset({number}))
