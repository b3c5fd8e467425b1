"""libvirt's domain: its XML and its live answers.

Source of the form: https://libvirt.org/formatdomain.html, CPU allocation, IOThreads
allocation, CPU tuning, CPU model and topology.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from xml.etree import ElementTree as ET

from conformance.model.cpuset import MOST_CPUS, CpuSet
from conformance.model.evidence import Domain, DomainTopology, LivePins, RawDomain
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError

_UNITS = {
    "b": 1,
    "bytes": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
    **{prefix: 1024**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
}
"""Of memory, as libvirt writes them (formatdomain, memory allocation)."""
_DIGITS = 20
_LONGEST = 4 * 2**20
"""Characters of a domain: one of 8192 vCPUs has less than half of that."""


@lru_cache(maxsize=64)
def domain(xml: str, source: str) -> Domain:
    """Reads a domain's XML.

    Raises:
        ParseError: not a domain, or a number or CPU list in it is none, or a vCPU or
            IOThread is pinned twice. Nor does libvirt declare entities, which can make a
            short text long.
    """
    if len(xml) > _LONGEST or "<!DOCTYPE" in xml:
        raise ParseError(f"XML of at most {_LONGEST} characters without <!DOCTYPE>", xml, source)
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as error:
        raise ParseError("XML", xml, source) from error
    if root.tag != "domain" or not root.get("type"):
        raise ParseError("<domain type=...>", xml, source)
    emulator = next(_all(root, "cputune", "emulatorpin"), None)
    enabled = _enabled(root, source)
    return Domain(
        type=root.get("type", ""),
        name=(root.findtext("name") or "").strip(),
        maximum=_maximum(root, source),
        enabled=enabled,
        vcpu_pins={
            vcpu: cpus
            for vcpu, cpus in _pins(root, "vcpupin", "vcpu", source).items()
            if vcpu in enabled
        },
        emulator_pin=None if emulator is None else _cpuset(emulator, source),
        iothreads=_iothreads(root, source),
        iothread_pins=_pins(root, "iothreadpin", "iothread", source),
        topology=_topology(root, source),
        numa_cells=dict(_numa_cells(root, source)),
        source=source,
        architecture=next((each.get("arch") for each in _all(root, "os", "type")), None),
        kvm=_kvm(root),
        disk_iothreads=_disk_iothreads(root, source),
        numa_memory=dict(_numa_memory(root, source)),
        memory_nodes={
            _number(each, "cellid", source): cpulist(each.get("nodeset", ""), f"{source} <memnode>")
            for each in _all(root, "numatune", "memnode")
        },
    )


def _all(parent: ET.Element, name: str, *below: str) -> Iterator[ET.Element]:
    """The elements of that path. ElementTree's own paths take several times as long."""
    for each in parent.findall(name):
        if below:
            yield from _all(each, *below)
        else:
            yield each


def _maximum(root: ET.Element, source: str) -> int | None:
    text = root.findtext("vcpu")
    return None if text is None else _count(text.strip(), "vCPUs", source)


def _enabled(root: ET.Element, source: str) -> CpuSet:
    listed = list(_all(root, "vcpus", "vcpu"))
    if listed:
        return CpuSet(_number(v, "id", source) for v in listed if v.get("enabled") == "yes")
    vcpu = root.find("vcpu")
    if vcpu is None:
        raise ParseError("<vcpu>", f"<{root.tag}> without it", source)
    text = vcpu.get("current", (vcpu.text or "").strip())
    return CpuSet(range(_count(text, "vCPUs", source)))


def _pins(root: ET.Element, name: str, key: str, source: str) -> Mapping[int, CpuSet]:
    pins: dict[int, CpuSet] = {}
    for element in _all(root, "cputune", name):
        number = _number(element, key, source)
        if number in pins:
            raise ParseError(f"one pin for {key} {number}", str(element.attrib), source)
        pins[number] = _cpuset(element, source)
    return pins


def _iothreads(root: ET.Element, source: str) -> frozenset[int]:
    listed = list(_all(root, "iothreadids", "iothread"))
    if listed:
        return frozenset(_number(element, "id", source) for element in listed)
    text = (root.findtext("iothreads") or "0").strip()
    return frozenset(range(1, _count(text, "IOThreads", source) + 1))


def _topology(root: ET.Element, source: str) -> DomainTopology | None:
    element = next(_all(root, "cpu", "topology"), None)
    if element is None:
        return None
    return DomainTopology(
        sockets=_number(element, "sockets", source),
        cores=_number(element, "cores", source),
        threads=_number(element, "threads", source),
        dies=_number(element, "dies", source, "1"),
        clusters=_number(element, "clusters", source, "1"),
    )


def _numa_cells(root: ET.Element, source: str) -> Iterator[tuple[int, CpuSet]]:
    for position, cell in enumerate(_all(root, "cpu", "numa", "cell")):
        number = _number(cell, "id", source) if "id" in cell.attrib else position
        yield number, cpulist(cell.get("cpus", ""), f"{source} <cell cpus>")


def _kvm(root: ET.Element) -> Mapping[str, str] | None:
    features = root.find("features")
    if features is None:
        return None
    return {each.tag: each.get("state", "") for kvm in features.findall("kvm") for each in kvm}


def _disk_iothreads(root: ET.Element, source: str) -> Mapping[str, frozenset[int]] | None:
    """KubeVirt gives each disk the alias ``ua-NAME`` (api.NewUserDefinedAlias)."""
    found = {}
    for disk in _all(root, "devices", "disk"):
        alias = disk.find("alias")
        name = "" if alias is None else alias.get("name", "").removeprefix("ua-")
        drivers = [each for each in _all(disk, "driver") if "iothread" in each.attrib]
        pooled = list(_all(disk, "driver", "iothreads", "iothread"))
        found[name] = frozenset(
            [_number(each, "iothread", source) for each in drivers]
            + [_number(each, "id", source) for each in pooled]
        )
    return found or None


def _numa_memory(root: ET.Element, source: str) -> Iterator[tuple[int, int]]:
    for position, cell in enumerate(_all(root, "cpu", "numa", "cell")):
        number = _number(cell, "id", source) if "id" in cell.attrib else position
        amount, unit = cell.get("memory", ""), cell.get("unit", "KiB")
        if not (amount.isascii() and amount.isdecimal() and len(amount) < _DIGITS):
            raise ParseError("an amount of memory", str(cell.attrib), f"{source} <cell>")
        if unit not in _UNITS:
            raise ParseError("a unit of memory", str(cell.attrib), f"{source} <cell>")
        yield number, int(amount) * _UNITS[unit]


def _cpuset(element: ET.Element, source: str) -> CpuSet:
    """A list of CPUs, in which a caret takes one of those before it out: ``1-4,^3``."""
    parts = [part.strip() for part in element.get("cpuset", "").split(",")]
    among, out = (
        cpulist(",".join(each), f"{source} <{element.tag} cpuset>")
        for each in (
            [part for part in parts if not part.startswith("^")],
            [part[1:] or "^" for part in parts if part.startswith("^")],
        )
    )
    cpus = among - out
    if not cpus:
        raise ParseError("a CPU list in cpuset", str(element.attrib), source)
    return cpus


def _number(element: ET.Element, key: str, source: str, default: str = "") -> int:
    return _count(element.get(key, default), key, f"{source} <{element.tag}>")


def _count(text: str, what: str, source: str) -> int:
    """A number, of things that a machine may have."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= MOST_CPUS):
        raise ParseError(f"a number of {what} up to {MOST_CPUS}", text, source)
    return int(text)


def live(raw: RawDomain) -> LivePins:
    """Reads libvirt's live answers. Raises ParseError."""
    return LivePins(
        vcpu_pins=_live(raw.vcpu_pins, f"{raw.source}, pin of vCPU"),
        emulator_pin=cpulist(raw.emulator_pin, f"{raw.source}, pin of the emulator"),
        iothread_pins=_live(raw.iothread_pins, f"{raw.source}, pin of IOThread"),
        source=raw.source,
    )


def _live(pins: Mapping[str, str], source: str) -> Mapping[int, CpuSet]:
    return {
        _count(number, "threads", source): cpulist(text, f"{source} {number:.20}")
        for number, text in pins.items()
    }
