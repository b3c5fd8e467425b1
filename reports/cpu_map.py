"""Who has which pCPU, laid out as the hardware is: sockets, NUMA nodes, cores, threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from string import ascii_uppercase

from reports.document import Cpu, CpuMap, Node, Owner, OwnerKind

_OWNED = (OwnerKind.VCPU, OwnerKind.EMULATOR, OwnerKind.EXCLUSIVE)


@dataclass(frozen=True)
class Box:
    """One pCPU.

    Attributes:
        kind: an `OwnerKind`, ``unseen`` (no owner is known) or ``collision`` (several are).
        label: short enough for a small box, such as ``A·v1``.
        title: the same in a sentence.
        letter: of the workload; empty when there is none or several.
    """

    cpu: int
    kind: str
    label: str
    title: str
    letter: str = ""


@dataclass(frozen=True)
class Core:
    """One core: its hardware threads."""

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
class Layout:
    """A map ready to be drawn.

    Attributes:
        workloads: name by letter; A is the VMI that the map is about, where it has any pCPU.
    """

    sockets: tuple[Socket, ...]
    workloads: Mapping[str, str]


def lay_out(node: Node, cpu_map: CpuMap) -> Layout:
    """The map on the hardware of its node.

    Owners of CPUs that the node does not have are left out: they are not its hardware.
    """
    letters = _letters(cpu_map)
    owners: dict[int, list[Owner]] = defaultdict(list)
    for owner in cpu_map.owners:
        owners[owner.cpu].append(owner)

    def box(cpu: Cpu) -> Box:
        return _box(cpu, owners.get(cpu.id, []), letters)

    sockets = tuple(
        Socket(
            socket,
            tuple(
                NumaNode(numa, tuple(Core(core, tuple(map(box, cpus))) for core, cpus in cores))
                for numa, cores in (
                    (numa, _by("core", in_numa)) for numa, in_numa in _by("node", in_socket)
                )
            ),
        )
        for socket, in_socket in _by("socket", node.cpus)
    )
    return Layout(sockets, {letter: name for name, letter in letters.items()})


def _by(field: str, cpus: Iterable[Cpu]) -> list[tuple[int, list[Cpu]]]:
    ordered = sorted(cpus, key=lambda cpu: (getattr(cpu, field), cpu.id))
    return [(n, list(group)) for n, group in groupby(ordered, lambda cpu: getattr(cpu, field))]


def _letters(cpu_map: CpuMap) -> dict[str, str]:
    names = {owner.workload for owner in cpu_map.owners if owner.kind in _OWNED}
    ordered = sorted(names, key=lambda name: (name != cpu_map.workload, name))
    # A stays free for the VMI that the map is about: another one must not look like it.
    first = 0 if cpu_map.workload in names else 1
    return {name: _letter(number) for number, name in enumerate(ordered, start=first)}


def _letter(number: int) -> str:
    more, last = divmod(number, len(ascii_uppercase))
    return (_letter(more - 1) if more else "") + ascii_uppercase[last]


def _box(cpu: Cpu, owners: list[Owner], letters: Mapping[str, str]) -> Box:
    where = f"pCPU {cpu.id}"
    if not owners:
        return Box(cpu.id, "unseen", "?", f"{where}: not observed")
    said = " and ".join(_sentence(owner) for owner in owners)
    if len(owners) > 1:
        label = "+".join(_label(owner, letters) for owner in owners)
        return Box(cpu.id, "collision", label, f"{where}: collision: {said}")
    (owner,) = owners
    letter = letters.get(owner.workload, "") if owner.kind in _OWNED else ""
    return Box(cpu.id, owner.kind.value, _label(owner, letters), f"{where}: {said}", letter)


def _label(owner: Owner, letters: Mapping[str, str]) -> str:
    letter = letters.get(owner.workload, "")
    match owner.kind:
        case OwnerKind.VCPU:
            return f"{letter}·v{owner.vcpu}"
        case OwnerKind.EMULATOR:
            return f"{letter}·emu"
        case OwnerKind.EXCLUSIVE:
            return f"{letter}·excl"
        case OwnerKind.SHARED:
            return "pool"
        case OwnerKind.RESERVED:
            return "resv"


def _sentence(owner: Owner) -> str:
    match owner.kind:
        case OwnerKind.VCPU:
            return f"vCPU {owner.vcpu} of {owner.workload}"
        case OwnerKind.EMULATOR:
            return f"emulator of {owner.workload}"
        case OwnerKind.EXCLUSIVE:
            return f"exclusive to {owner.container or 'a container'} of {owner.workload}"
        case OwnerKind.SHARED:
            return "shared pool"
        case OwnerKind.RESERVED:
            return "reserved for the system"
