"""The nodes as the report shows them: what they are, and who has each of their pCPUs, and when."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from conformance.judging.claims import Said, said, workload
from conformance.judging.marks import guest_marks, marks, together_by_cpus
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Node, RawSnapshot, Snapshot
from conformance.model.topology import Topology
from reports import document as report

ROOM = 50_000
"""pCPUs on all maps of a report: two thousand VMIs on small nodes, two hundred on large ones."""

Look = tuple[str, RawSnapshot, Snapshot]
"""A snapshot: its file, as recorded, and its facts."""


class Maps:
    """A map of every node at every moment of the cases that were judged, as far as there is room.

    Those that matter have the room first, the others as they come.
    """

    def __init__(self, room: int = ROOM) -> None:
        """`room` is the number of pCPUs on all maps together."""
        self._room = room
        self._nodes: dict[str, Node] = {}
        self._seen: Counter[str] = Counter()
        self._mattering: list[_Kept] = []
        self._others: list[_Kept] = []

    def add(
        self, case: str, looks: Sequence[Look], *, matters: bool, judged: Collection[str] = ()
    ) -> None:
        """Takes the maps of a case: of each moment the last look, and what else was decisive.

        Args:
            case: its id.
            looks: all of its snapshots, oldest first.
            matters: whether something about it is wrong or open.
            judged: files of snapshots on which something wrong was found.
        """
        for _path, _raw, facts in looks:
            if facts.node is not None and facts.node.topology is not None:
                self._nodes.setdefault(facts.node.name, facts.node)
        for together in _moments(looks, judged):
            node = together[-1][2].node
            if node is None or node.topology is None:
                continue
            self._seen[node.name] += 1
            kept = self._mattering if matters else self._others
            left = (kept[-1].room if kept else self._room) - len(node.topology.cpus)
            # To draw one takes longer than to judge its VMI.
            if left >= 0:
                place = self._seen.total()
                kept.append(_Kept(place, node.name, left, _map(case, together)))

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
                cpus=_cpus(node.topology) if node.topology else (),
                reserved=tuple(sorted((node.kubelet.reserved if node.kubelet else None) or ())),
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


def _moments(looks: Sequence[Look], judged: Collection[str]) -> Iterator[list[Look]]:
    """The snapshots of each map: of one node at one moment, one of each workload."""
    last: dict[tuple[str, str], dict[str, Look]] = defaultdict(dict)
    for look in looks:
        path, _raw, facts = look
        if facts.node is None or not (facts.subject or facts.pod):
            continue
        if path in judged:
            last[facts.moment, f"{facts.node.name} {path}"] = {facts.subject: look}
        last[facts.moment, facts.node.name].pop(facts.subject, None)
        last[facts.moment, facts.node.name][facts.subject] = look
    shown: set[str] = set()
    for together in sorted(last.values(), key=_ended):
        paths = {path for path, _raw, _facts in together.values()}
        if not paths <= shown:
            shown |= paths
            yield list(together.values())


def _ended(together: Mapping[str, Look]) -> str:
    return max(facts.ended for _path, _raw, facts in together.values())


def _map(case: str, together: Sequence[Look]) -> report.CpuMap:
    path, raw, facts = together[-1]
    found = list(said(facts))
    for _path, _raw, other in together[:-1]:
        # The node is the one of the last look; of the others it has their own guest's pins.
        guest = (each for each in said(other) if each.claim.source is report.Source.LIBVIRT)
        found += [replace(each, own=False) for each in guest]
    told = facts.node.kubelet if facts.node else None
    reserved = CpuSet((told.reserved if told else None) or ())
    stand_out = marks(found, isolated=_isolated(raw), reserved=reserved)
    for _path, other_raw, other in together[:-1]:
        # What another look says of its own guest; of the node the last one tells.
        stand_out += guest_marks(said(other), isolated=_isolated(other_raw))
    own = facts.vmi
    return report.CpuMap(
        case=case,
        moment=facts.moment,
        workload=workload(facts.pod) if facts.pod else own.name if own else facts.subject,
        claims=tuple(each.claim for each in _worth(found)),
        marks=together_by_cpus(stand_out),
        at=facts.ended,
        evidence=f"evidence/{path}" if path else "",
    )


def _worth(found: Iterable[Said]) -> Iterator[Said]:
    """Without claims of none: a container that has ended has no CPUs."""
    return (each for each in found if each.cpus)


def _isolated(raw: RawSnapshot) -> bool:
    """Whether the VMI, as the API or its user has it, asks for pCPUs of the emulator's own."""
    return any(_asks(vmi) for vmi in (raw.vmi, raw.manifest))


def _asks(vmi: object) -> bool:
    for key in ("spec", "domain", "cpu", "isolateEmulatorThread"):
        vmi = vmi.get(key) if isinstance(vmi, Mapping) else None
    return vmi is True


@lru_cache(maxsize=64)
def _cpus(topology: Topology) -> tuple[report.Cpu, ...]:
    """Nodes of the same hardware share them."""
    return tuple(
        report.Cpu(cpu.id, cpu.core, cpu.socket, cpu.node, tuple(sorted(cpu.siblings)))
        for cpu in topology.cpus
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
