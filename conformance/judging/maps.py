"""The nodes as the report shows them: what they are, and who has each of their pCPUs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from conformance.model.evidence import Checkpoint, Node, Snapshot
from conformance.model.same import Same
from conformance.model.topology import Topology
from conformance.model.vocabulary import COMPUTE, RUNNING, VM_NAME
from reports import document as report

ROOM = 50_000
"""pCPUs on all maps of a report: two thousand VMIs on small nodes, two hundred on large ones."""


class Maps:
    """A map for every running workload that was judged, as far as a report has room.

    Those that matter have the room first, the others as they come.
    """

    def __init__(self, room: int = ROOM) -> None:
        """`room` is the number of pCPUs on all maps together."""
        self._room = room
        self._nodes: dict[str, Node] = {}
        self._seen: Counter[str] = Counter()
        self._mattering: list[_Kept] = []
        self._others: list[_Kept] = []

    def add(self, snapshot: Snapshot, *, matters: bool) -> None:
        """Takes the map of a snapshot, if it shows one and there is room."""
        node = snapshot.node
        if node is None or node.topology is None:
            return
        self._nodes.setdefault(node.name, node)
        if snapshot.moment != RUNNING or node.checkpoint is None:
            return
        self._seen[node.name] += 1
        kept = self._mattering if matters else self._others
        room = kept[-1].room if kept else self._room
        if room >= len(node.topology.cpus):
            kept.append(
                _Kept(
                    self._seen.total(),
                    node.name,
                    room - len(node.topology.cpus),
                    _map(snapshot, node, node.checkpoint),
                )
            )

    def descriptions(self) -> dict[str, str]:
        """One line on each node that was seen: its topology and its kubelet, by its name."""
        return {name: ", ".join(_described(node)) for name, node in sorted(self._nodes.items())}

    def nodes(self) -> tuple[report.Node, ...]:
        """The nodes that were seen, each with its maps in time order."""
        taken = self._room - (self._mattering[-1].room if self._mattering else self._room)
        chosen = [*self._mattering, *(each for each in self._others if each.room >= taken)]
        maps: dict[str, list[report.CpuMap]] = defaultdict(list)
        for each in sorted(chosen, key=lambda each: each.place):
            maps[each.node].append(each.map)
        return tuple(
            report.Node(
                name=name,
                cpus=_cpus(Same(node.topology)),
                reserved=tuple(sorted(_reserved(node))),
                maps=tuple(maps[name]),
                left_out=self._seen[name] - len(maps[name]),
            )
            for name, node in sorted(self._nodes.items())
        )


@dataclass(frozen=True)
class _Kept:
    """A map, its place in time, and the room that was left beside it and those before it."""

    place: int
    node: str
    room: int
    map: report.CpuMap


@lru_cache(maxsize=64)
def _cpus(shared: Same[Topology | None]) -> tuple[report.Cpu, ...]:
    """Nodes of the same hardware share them, as they share its files."""
    (topology,) = shared.values
    return tuple(
        report.Cpu(cpu.id, cpu.core, cpu.socket, cpu.node, tuple(sorted(cpu.siblings)))
        for cpu in (topology.cpus if topology else ())
    )


def _described(node: Node) -> Iterator[str]:
    if node.topology is not None:
        counts = {
            "CPU": len(node.topology.cpus),
            "core": len(node.topology.cores),
            "socket": len(node.topology.sockets),
            "NUMA node": len(node.topology.numa_nodes),
        }
        for what, count in counts.items():
            yield f"{count} {what}{'' if count == 1 else 's'}"
    if node.kubelet is not None:
        yield f"CPU manager policy {node.kubelet.policy or 'unknown'}"
        yield from (name for name, value in node.kubelet.options.items() if value.lower() == "true")
        if node.kubelet.reserved is not None:
            yield f"reserved {node.kubelet.reserved}"
    if node.kubelet_version:
        yield f"kubelet {node.kubelet_version}"


def _map(snapshot: Snapshot, node: Node, checkpoint: Checkpoint) -> report.CpuMap:
    own = snapshot.vmi or snapshot.pod
    workload = own.name if own else ""
    owners = tuple(_owners(snapshot, node, checkpoint))
    return report.CpuMap(snapshot.case, snapshot.moment, workload, owners)


def _reserved(node: Node) -> frozenset[int]:
    return (node.kubelet.reserved if node.kubelet else None) or frozenset()


def _owners(snapshot: Snapshot, node: Node, checkpoint: Checkpoint) -> Iterator[report.Owner]:
    reserved = _reserved(node)
    for cpu in sorted(checkpoint.default):
        kind = report.OwnerKind.RESERVED if cpu in reserved else report.OwnerKind.SHARED
        yield report.Owner(cpu, kind)
    names = {pod.uid: pod.labels.get(VM_NAME, pod.name) for pod in snapshot.pods}
    own = snapshot.pod.uid if snapshot.pod else ""
    for (uid, container), cpus in sorted(checkpoint.entries.items()):
        name = names.get(uid, uid)
        uses = _uses(snapshot) if (uid, container) == (own, COMPUTE) else {}
        for cpu in sorted(cpus):
            kind, vcpu = uses.get(cpu, (report.OwnerKind.EXCLUSIVE, None))
            yield report.Owner(cpu, kind, name, container, vcpu)


def _uses(snapshot: Snapshot) -> dict[int, tuple[report.OwnerKind, int | None]]:
    """What the judged workload uses its pCPUs for, by libvirt's live answers."""
    if snapshot.live is None:
        return {}
    uses: dict[int, tuple[report.OwnerKind, int | None]] = dict.fromkeys(
        snapshot.live.emulator_pin, (report.OwnerKind.EMULATOR, None)
    )
    for vcpu, cpus in snapshot.live.vcpu_pins.items():
        uses |= dict.fromkeys(cpus, (report.OwnerKind.VCPU, vcpu))
    return uses
