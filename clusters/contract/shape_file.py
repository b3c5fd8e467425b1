"""Shapes in a file: the nodes of a cluster, CPU by CPU, and what their kubelets are told.

The form is strict: what is not known, of a wrong type or impossible is refused with the path of
its field. docs/shapes.md describes it, and has the named shapes in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.contract.hardware import LOCAL, REMOTE, Cpu, Hardware, NumaNode
from clusters.contract.shape import CpuManager, NodeSpec, TopologyManager

MOST_CPUS = 8192
"""What Linux is built for at the most (CONFIG_NR_CPUS of amd64)."""
MOST_THREADS = 8
MEMORY_MIB = 3072
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CPUS = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*")
_FARTHEST = 254
"""255 is unreachable."""


class ShapeError(ValueError):
    """The document is no shape; the message begins with the path of the field."""


def nodes(document: object) -> tuple[NodeSpec, ...]:
    """The nodes that a document describes.

    Args:
        document: as a JSON or YAML file has it, such as
            ``{"nodes": [{"packages": [{"cores": [{"count": 4, "threads": 2}]}], ...}]}``.

    Raises:
        ShapeError: it is none of them.
    """
    fields = _Field("", document).mapping("nodes")
    found: list[NodeSpec] = []
    for number, each in enumerate(fields["nodes"].sequence(), 1):
        node = _node(each, f"node-{number}")
        if any(node.name == other.name for other in found):
            each.refuse(f"a second node is called {node.name}")
        found.append(node)
    return tuple(found)


@dataclass(frozen=True)
class _Field:
    """A value and where it stands."""

    path: str
    value: object

    def refuse(self, why: str) -> NoReturn:
        """Raises ShapeError."""
        raise ShapeError(f"{self.path or 'the document'}: {why}")

    def mapping(self, *required: str, optional: Sequence[str] = ()) -> Mapping[str, _Field]:
        """Its fields; nothing but these."""
        if not isinstance(self.value, Mapping):
            self.refuse(f"a mapping is wanted, not {_said(self.value)}")
        for key in self.value:
            if key not in (*required, *optional):
                known = ", ".join((*required, *optional))
                self.refuse(f"there is no field {_said(key)} here, only {known}")
        for key in required:
            if key not in self.value:
                self.refuse(f"the field {key} is missing")
        return {key: _Field(f"{self.path}.{key}".lstrip("."), v) for key, v in self.value.items()}

    def sequence(self) -> Sequence[_Field]:
        """Its elements, one at the least."""
        if not isinstance(self.value, list) or not self.value:
            self.refuse(f"a list with an element at the least is wanted, not {_said(self.value)}")
        return [_Field(f"{self.path}[{n}]", each) for n, each in enumerate(self.value)]

    def number(self, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.refuse(f"a whole number from {least} to {most} is wanted, not {_said(value)}")
        return value

    def choice(self, *known: str) -> str:
        """One of these words."""
        if self.value not in known:
            self.refuse(f"one of {', '.join(known)} is wanted, not {_said(self.value)}")
        return str(self.value)

    def cpus(self) -> CpuSet:
        """Ids as ``0-3,8``, or one id as a number."""
        value = self.value
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not _CPUS.fullmatch(text):
            self.refuse(f'ids of CPUs are wanted, such as "0-3,8", not {_said(value)}')
        try:
            found = cpuset.parse(text)
        except ValueError as error:
            raise ShapeError(f"{self.path}: {error}") from error
        if max(found) >= MOST_CPUS:
            self.refuse(f"ids of CPUs end at {MOST_CPUS - 1}")
        return found


def _said(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class _Core:
    """One core: its threads by number, or by their ids."""

    place: tuple[int, int, int]
    threads: int
    cpus: Sequence[int] = ()


def _node(field: _Field, name: str) -> NodeSpec:
    optional = ("name", "cpuNumbering", "offline", "memoryMiB", "numaNodes")
    fields = field.mapping("packages", "kubelet", optional=optional)
    if "name" in fields:
        name = str(fields["name"].value)
        if not _NAME.fullmatch(name):
            fields["name"].refuse(f"no node can be called {name!r}")
    cores = _cores(fields["packages"])
    if not cores[0].cpus:
        numbering = fields.get("cpuNumbering", _Field("", "threads")).choice("threads", "cores")
        cores = _numbered(cores, by_core=numbering == "cores")
    elif "cpuNumbering" in fields:
        fields["cpuNumbering"].refuse("the CPUs have ids already")
    present = frozenset(cpu for core in cores for cpu in core.cpus)
    offline = fields["offline"].cpus() if "offline" in fields else frozenset()
    if strange := offline - present:
        fields["offline"].refuse(f"there is no CPU {cpuset.render(strange)}")
    if not present - offline:
        fields["offline"].refuse("no CPU would be online")
    memory = fields["memoryMiB"].number(1, 1 << 30) if "memoryMiB" in fields else None
    asked = fields.get("numaNodes", _Field(f"{field.path}.numaNodes", 1))
    numa = _numa(asked, cores, memory)
    node_of = {cpu: node.id for node, cpus in numa for cpu in cpus}
    hardware = Hardware(
        tuple(
            Cpu(cpu, number, *core.place, node_of[cpu], cpu not in offline)
            for cpu, (number, core) in sorted(
                ((cpu, (number, core)) for number, core in enumerate(cores) for cpu in core.cpus),
                key=lambda placed: placed[0],
            )
        ),
        tuple(node for node, _ in numa),
    )
    return _with_kubelet(fields["kubelet"], name, hardware)


def _cores(packages: _Field) -> list[_Core]:
    """The cores in order. A die, or a list of caches, may be left out where there is one."""
    found: list[_Core] = []
    ids: set[int] = set()
    caches = 0
    for package, number in _repeated(packages, "id", "dies", "l3Caches", "cores"):
        fields = package.mapping(optional=("count", "id", "dies", "l3Caches", "cores"))
        own = fields["id"].number(-1, 1 << 16) + number if "id" in fields else len(ids)
        if own in ids:
            package.refuse(f"a second package has the id {own}")
        ids.add(own)
        for die_number, die in enumerate(_level(package, "dies", ("l3Caches", "cores"))):
            for cache in _level(die, "l3Caches", ("cores",)):
                for threads, cpus in _own_cores(cache):
                    found.append(_Core((own, die_number, caches), threads, cpus))
                    if len(found) > MOST_CPUS:
                        packages.refuse(f"there are more than {MOST_CPUS} cores")
                caches += 1
    seen: set[int] = set()
    for core in found:
        if bool(core.cpus) != bool(found[0].cpus):
            packages.refuse("either every core has cpus, or none has")
        if again := seen.intersection(core.cpus):
            packages.refuse(f"CPU {cpuset.render(again)} is in two cores")
        seen.update(core.cpus)
    if sum(core.threads for core in found) > MOST_CPUS:
        packages.refuse(f"there are more than {MOST_CPUS} CPUs")
    return found


def _repeated(field: _Field, *known: str) -> Iterator[tuple[_Field, int]]:
    """Each element as often as its count says, with which time it is."""
    for each in field.sequence():
        fields = each.mapping(optional=("count", *known))
        count = fields["count"].number(1, MOST_CPUS) if "count" in fields else 1
        for number in range(count):
            yield each, number


def _level(field: _Field, name: str, below: tuple[str, ...]) -> Iterator[_Field]:
    """What a list of the next level holds; the thing itself where the level is left out."""
    fields = field.mapping(optional=("count", "id", name, *below))
    given = [each for each in (name, *below) if each in fields]
    if len(given) != 1:
        field.refuse(f"one of {', '.join((name, *below))} is wanted")
    if name not in fields:
        yield field
        return
    for each, _ in _repeated(fields[name], *below):
        yield each


def _own_cores(field: _Field) -> Iterator[tuple[int, Sequence[int]]]:
    """The threads and, where they are given, the CPUs of each core."""
    fields = field.mapping("cores", optional=("count", "id"))
    for core, number in _repeated(fields["cores"], "threads", "cpus"):
        own = core.mapping(optional=("count", "threads", "cpus"))
        if "cpus" not in own:
            yield own["threads"].number(1, MOST_THREADS) if "threads" in own else 1, ()
            continue
        if "threads" in own or number:
            core.refuse("the CPUs of one core say how many threads it has, and that it is one")
        cpus = sorted(own["cpus"].cpus())
        if len(cpus) > MOST_THREADS:
            own["cpus"].refuse(f"a core has {MOST_THREADS} threads at the most")
        yield len(cpus), cpus


def _numbered(cores: Sequence[_Core], *, by_core: bool) -> list[_Core]:
    """Gives every thread its id: those of a core together, or the first of every core first."""
    slots = [(core, thread) for core in range(len(cores)) for thread in range(cores[core].threads)]
    if by_core:
        slots.sort(key=lambda slot: (slot[1], slot[0]))
    cpus: dict[int, list[int]] = {}
    for cpu, (core, _) in enumerate(slots):
        cpus.setdefault(core, []).append(cpu)
    return [_Core(core.place, core.threads, cpus[n]) for n, core in enumerate(cores)]


def _numa(
    field: _Field, cores: Sequence[_Core], memory: int | None
) -> list[tuple[NumaNode, CpuSet]]:
    """The NUMA nodes and their CPUs: so many of the same size, or one by one."""
    if isinstance(field.value, int):
        count = field.number(1, 1024)
        if len(cores) % count:
            field.refuse(f"{len(cores)} cores cannot be divided evenly among {count} NUMA nodes")
        share, rest = divmod(memory or MEMORY_MIB, count)
        size = len(cores) // count
        return [
            (
                NumaNode(n, share + (rest if n == 0 else 0), _usual(n, range(count))),
                frozenset(cpu for core in cores[n * size : (n + 1) * size] for cpu in core.cpus),
            )
            for n in range(count)
        ]
    if memory is not None:
        field.refuse("each NUMA node has a memoryMiB of its own, so the node must have none")
    present = frozenset(cpu for core in cores for cpu in core.cpus)
    listed = field.sequence()
    found: list[tuple[NumaNode, CpuSet]] = []
    for number, each in enumerate(listed):
        fields = each.mapping("memoryMiB", optional=("id", "cpus", "distances"))
        own = fields["id"].number(0, 1023) if "id" in fields else number
        cpus = fields["cpus"].cpus() if "cpus" in fields else frozenset()
        if strange := cpus - present:
            fields["cpus"].refuse(f"there is no CPU {cpuset.render(strange)}")
        for other, others in found:
            if own <= other.id:
                each.refuse("NUMA nodes come in the order of their ids")
            if both := cpus & others:
                fields["cpus"].refuse(f"CPU {cpuset.render(both)} is on NUMA node {other.id} too")
        distances: tuple[int, ...] = _usual(number, range(len(listed)))
        if "distances" in fields:
            distances = _distances(fields["distances"], number, len(listed))
        found.append((NumaNode(own, fields["memoryMiB"].number(0, 1 << 30), distances), cpus))
    if missing := present.difference(*(cpus for _, cpus in found)):
        field.refuse(f"CPU {cpuset.render(missing)} is on no NUMA node")
    if not sum(node.memory_mib for node, _ in found):
        field.refuse("no NUMA node has memory")
    return found


def _usual(own: int, every: range) -> tuple[int, ...]:
    return tuple(LOCAL if other == own else REMOTE for other in every)


def _distances(field: _Field, own: int, count: int) -> tuple[int, ...]:
    numbers = [each.number(LOCAL, _FARTHEST) for each in field.sequence()]
    if len(numbers) != count:
        field.refuse(f"{count} distances are wanted, one to each NUMA node, not {len(numbers)}")
    for other, distance in enumerate(numbers):
        if (distance == LOCAL) != (other == own):
            field.refuse(f"{LOCAL} is the distance of a NUMA node to itself, and of no other")
    return tuple(numbers)


def _with_kubelet(field: _Field, name: str, hardware: Hardware) -> NodeSpec:
    """The fields are those of a KubeletConfiguration, and mean the same."""
    fields = field.mapping(
        "cpuManagerPolicy",
        optional=(
            *("cpuManagerPolicyOptions", "reservedSystemCPUs", "memoryManagerPolicy"),
            *("topologyManagerPolicy", "topologyManagerScope"),
        ),
    )

    def choice(key: str, *known: str) -> str:
        return fields[key].choice(*known) if key in fields else known[0]

    policy = fields["cpuManagerPolicy"].choice("static", "none")
    options: frozenset[str] = frozenset()
    if "cpuManagerPolicyOptions" in fields:
        options = _options(fields["cpuManagerPolicyOptions"])
        if policy != "static":
            fields["cpuManagerPolicyOptions"].refuse("only the static policy has options")
    reserved: CpuSet = frozenset()
    if "reservedSystemCPUs" in fields:
        reserved = fields["reservedSystemCPUs"].cpus()
        if strange := reserved - hardware.online:
            fields["reservedSystemCPUs"].refuse(
                f"CPU {cpuset.render(strange)} is not online, or there is none"
            )
        if not hardware.online - reserved:
            fields["reservedSystemCPUs"].refuse("no CPU would be left")
    elif policy == "static":
        field.refuse("the static policy needs reservedSystemCPUs")
    return NodeSpec(
        name,
        hardware,
        CpuManager(policy, reserved, options),
        TopologyManager(
            choice(
                "topologyManagerPolicy", "none", "best-effort", "restricted", "single-numa-node"
            ),
            choice("topologyManagerScope", "container", "pod"),
        ),
        choice("memoryManagerPolicy", "None", "Static"),
    )


def _options(field: _Field) -> frozenset[str]:
    """The options that are ``"true"``; which there are is the kubelet's to say."""
    if not isinstance(field.value, Mapping):
        field.refuse(f"a mapping is wanted, not {_said(field.value)}")
    enabled = set()
    options: Any = field.value
    for name, value in options.items():
        if _Field(f"{field.path}.{name}", value).choice("true", "false") == "true":
            enabled.add(str(name))
    return frozenset(enabled)
