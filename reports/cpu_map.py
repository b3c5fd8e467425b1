"""Who has which pCPU, laid out as the hardware is: sockets, NUMA nodes, cores, threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from string import ascii_uppercase

from reports.cpulist import parsed, written
from reports.document import Claim, Cpu, CpuMap, Node, OwnerKind, Source
from reports.pcpus import who

SOURCES: Mapping[Source, str] = {
    Source.CHECKPOINT: "checkpoint",
    Source.CGROUP: "cgroup cpuset",
    Source.AFFINITY: "thread affinity",
    Source.LIBVIRT: "libvirt",
}
"""What is said of each source, in the order of the table."""
_POOL = (OwnerKind.SHARED, OwnerKind.RESERVED)
_USES = (OwnerKind.VCPU, OwnerKind.IOTHREAD, OwnerKind.EMULATOR)
_REAL_FIRST = (Source.AFFINITY, Source.LIBVIRT)
_LABELS = 2
"""Uses that a box has room for."""
DENSE = 48
"""pCPUs above which boxes are small."""


@dataclass(frozen=True)
class Box:
    """One pCPU; or several that are in the pool side by side, of a node that has many.

    Attributes:
        cpus: its id, or a CPU list.
        kind: an `OwnerKind`, or ``unseen``: nobody says who has it.
        label: short enough for a small box, such as ``A·v1``.
        title: everything that is said of it.
        letter: of the workload that owns it; empty when there is none or several.
        marked: whether sources disagree about it, or it has two owners.
    """

    cpus: str
    kind: str
    label: str
    title: str
    letter: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Core:
    """One core: its hardware threads. Several that are in the pool are one, by the first's id."""

    id: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class NumaNode:
    """One NUMA node's cores in one socket."""

    id: int
    cores: tuple[Core, ...]


@dataclass(frozen=True)
class Socket:
    """One socket."""

    id: int
    numa_nodes: tuple[NumaNode, ...]


@dataclass(frozen=True)
class Row:
    """What one source says of one owner."""

    source: str
    who: str
    cpus: str
    detail: str


@dataclass(frozen=True)
class Layout:
    """A map ready to be drawn.

    Attributes:
        workloads: name by letter; A is the VMI that the map is about, where it has any pCPU.
        rows: the same as a table.
        summary: the same in a sentence, for whoever does not see it.
        dense: whether there are so many pCPUs that boxes are small.
    """

    sockets: tuple[Socket, ...]
    workloads: Mapping[str, str]
    rows: tuple[Row, ...]
    summary: str
    dense: bool


def lay_out(node: Node, cpu_map: CpuMap) -> Layout:
    """The map on the hardware of its node.

    Claims on CPUs that the node does not have are left out: they are not its hardware.
    """
    letters = _letters(cpu_map)
    dense = len(node.cpus) > DENSE
    claims: dict[int, list[Claim]] = defaultdict(list)
    for claim in cpu_map.claims:
        for cpu in parsed(claim.cpus):
            claims[cpu].append(claim)
    marked: dict[int, list[str]] = defaultdict(list)
    for mark in cpu_map.marks:
        for cpu in parsed(mark.cpus):
            marked[cpu].append(mark.says)

    def box(cpu: Cpu) -> Box:
        return _box(cpu, claims.get(cpu.id, []), marked.get(cpu.id, []), letters)

    sockets = tuple(
        Socket(
            socket,
            tuple(
                NumaNode(numa, _cores(cores, box, dense=dense))
                for numa, cores in (
                    (numa, _by("core", in_numa)) for numa, in_numa in _by("node", in_socket)
                )
            ),
        )
        for socket, in_socket in _by("socket", node.cpus)
    )
    rows = tuple(
        Row(SOURCES[claim.source], who(claim), claim.cpus, claim.detail)
        for source in SOURCES
        for claim in cpu_map.claims
        if claim.source is source
    )
    workloads = {letter: name for name, letter in letters.items()}
    return Layout(sockets, workloads, rows, _summary(node, cpu_map), dense)


def _cores(
    cores: Iterable[tuple[int, list[Cpu]]], box: Callable[[Cpu], Box], *, dense: bool
) -> tuple[Core, ...]:
    """The cores of a NUMA node. Of a node that has many, those in the pool are drawn together."""
    drawn = [(Core(core, tuple(map(box, cpus))), cpus) for core, cpus in cores]
    found: list[Core] = []
    for plain, run in groupby(drawn, lambda each: dense and _in_pool(each[0])):
        together = list(run)
        if plain and len(together) > 1:
            cpus = written(cpu.id for _core, of in together for cpu in of)
            title = f"pCPUs {cpus} ({len(together)} cores): shared pool"
            found.append(
                Core(together[0][0].id, (Box(cpus, OwnerKind.SHARED.value, "pool", title),))
            )
        else:
            found += [core for core, _cpus in together]
    return tuple(found)


def _in_pool(core: Core) -> bool:
    return all(each.kind == OwnerKind.SHARED and not each.marked for each in core.boxes)


def _by(field: str, cpus: Iterable[Cpu]) -> list[tuple[int, list[Cpu]]]:
    ordered = sorted(cpus, key=lambda cpu: (getattr(cpu, field), cpu.id))
    return [(n, list(group)) for n, group in groupby(ordered, lambda cpu: getattr(cpu, field))]


def _letters(cpu_map: CpuMap) -> dict[str, str]:
    names = {
        claim.workload
        for claim in cpu_map.claims
        if claim.workload and claim.kind in (*_USES, OwnerKind.EXCLUSIVE)
    }
    ordered = sorted(names, key=lambda name: (name != cpu_map.workload, name))
    # A stays free for the VMI that the map is about: another one must not look like it.
    first = 0 if cpu_map.workload in names else 1
    return {name: _letter(number) for number, name in enumerate(ordered, start=first)}


def _letter(number: int) -> str:
    more, last = divmod(number, len(ascii_uppercase))
    return (_letter(more - 1) if more else "") + ascii_uppercase[last]


def _box(
    cpu: Cpu, claims: Sequence[Claim], marks: Sequence[str], letters: Mapping[str, str]
) -> Box:
    where = f"pCPU {cpu.id} (core {cpu.core})"
    if not claims:
        return Box(str(cpu.id), "unseen", "?", f"{where}: not observed", marked=bool(marks))
    said = "; ".join(f"{SOURCES[each.source]}: {who(each)}" for each in claims)
    title = f"{where}: {'; '.join(marks)} — {said}" if marks else f"{where}: {said}"
    owners = [each for each in claims if each.source is Source.CHECKPOINT]
    names = {each.workload for each in owners if each.kind not in _POOL}
    # A pin beyond what the guest's container owns has no effect: it is in the table alone.
    uses = _uses(
        [each for each in claims if not owners or any(_within(each, own) for own in owners)],
        marked=bool(marks),
    )
    names = names or {each.workload for each in uses}
    letter = letters.get(next(iter(names)), "") if len(names) == 1 else ""
    kind = uses[0].kind if uses else owners[0].kind if owners else _others(claims)
    return Box(
        str(cpu.id), kind.value, _label(kind, uses, names, letters), title, letter, bool(marks)
    )


def _within(claim: Claim, owner: Claim) -> bool:
    """Whether an owner is the container of a claim, or its pod as a whole."""
    same = owner.container in ("", claim.container)
    return owner.kind not in _POOL and owner.workload == claim.workload and same


def _uses(claims: Sequence[Claim], *, marked: bool) -> list[Claim]:
    """What a guest uses a pCPU for: by its threads, where they were seen, else by libvirt.

    An emulator that is not isolated may run wherever a vCPU does, which is worth no word.
    """
    by_source = [
        [each for kind in _USES for each in claims if each.source is source and each.kind is kind]
        for source in _REAL_FIRST
    ]
    if marked:
        return [each for found in by_source for each in found]
    found = next(filter(None, by_source), [])
    return [each for each in found if each.kind is OwnerKind.VCPU] or found


def _others(claims: Sequence[Claim]) -> OwnerKind:
    """Without a checkpoint: an owner, if anybody has it to himself."""
    kinds = [each.kind for each in claims]
    return next((kind for kind in kinds if kind not in _POOL), kinds[0])


def _label(
    kind: OwnerKind, uses: Sequence[Claim], names: Iterable[str], letters: Mapping[str, str]
) -> str:
    match kind:
        case OwnerKind.SHARED:
            return "pool"
        case OwnerKind.RESERVED:
            return "resv"
        case OwnerKind.HOST:
            return "host"
    own = "+".join(sorted(letters.get(name, "?") for name in names))
    if not uses:
        return f"{own}·excl"
    ordered = sorted(uses, key=lambda each: _USES.index(each.kind))
    short = list(dict.fromkeys(_use(each) for each in ordered))
    more = "+…" if len(short) > _LABELS else ""
    return f"{own}·{'+'.join(short[:_LABELS])}{more}"


def _use(claim: Claim) -> str:
    match claim.kind:
        case OwnerKind.VCPU:
            return f"v{claim.number}"
        case OwnerKind.IOTHREAD:
            return f"io{claim.number}"
        case _:
            return "emu"


def _summary(node: Node, cpu_map: CpuMap) -> str:
    parts = [
        f"{who(claim)}: {claim.cpus}"
        for claim in cpu_map.claims
        if claim.source in (Source.CHECKPOINT, Source.LIBVIRT)
    ]
    marked = written(cpu for mark in cpu_map.marks for cpu in parsed(mark.cpus))
    stands_out = f"pCPUs that stand out: {marked}. " if marked else ""
    return f"{len(node.cpus)} pCPUs of {node.name}. {stands_out}{'; '.join(parts[:20])}"
