"""What a VirtualMachine becomes with its instance type and preference, by KubeVirt's rules.

Source: kubevirt pkg/instancetype/apply, pkg/instancetype/preference/{apply,requirements,
validation}, by tag from v1.0.0 to v1.9.0. Written for the oracle alone: the stacks that it judges
have their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from conformance.matrix.quantity import MalformedQuantity, parse_quantity
from conformance.model.release import Release

Json = Mapping[str, Any]

_SINCE: Mapping[str, Release] = {
    "preferSpread and preferAny": Release(1, 1),
    "maxSockets of an instance type": Release(1, 3),
    "spreadOptions": Release(1, 3),
    "topologies without “prefer”": Release(1, 4),
    "ioThreads of an instance type": Release(1, 7),
}
"""What an older release drops or does not understand."""
_FINE_MEMORY = Release(1, 7)
"""From here on only those fields of memory conflict that both sides set; before, any memory."""
_FIELDS = ("model", "dedicatedCPUPlacement", "isolateEmulatorThread", "numa", "realtime")
"""Of an instance type's CPU, as it spells them; in a VMI one of them is spelt otherwise."""
_IN_VMI = {"dedicatedCPUPlacement": "dedicatedCpuPlacement"}
_DEFAULT_RATIO = 2
_THREADS_PER_CORE = 2


class Undecided(ValueError):  # noqa: N818 - named for what it is
    """What the VMI will be like cannot be derived; the message says why."""


@dataclass(frozen=True)
class Applied:
    """A template with its instance type and preference.

    Attributes:
        vmi: a VMI with metadata and spec.
        conflicts: JSON paths of a VirtualMachine, one of which its refusal must name.
        rule: why it is refused; empty when it is not.
    """

    vmi: dict[str, Any]
    conflicts: tuple[str, ...] = ()
    rule: str = ""


def apply(
    template: Json, instancetype: Json | None, preference: Json | None, release: Release | None
) -> Applied:
    """The VMI of a VirtualMachine.

    Args:
        template: metadata and spec of the VMI, as the VirtualMachine's template has them.
        instancetype, preference: their specs, None without.
        release: of KubeVirt; None is judged as the newest one.

    Raises:
        Undecided: the release does not know a part of it, or a part is not understood here.
    """
    _require_known(instancetype, preference, release)
    vmi: dict[str, Any] = copy.deepcopy(
        {"metadata": _mapping(template, "metadata"), "spec": _mapping(template, "spec")}
    )
    domain = vmi["spec"].setdefault("domain", {})
    if instancetype is not None:
        if (ratio := _uneven(instancetype, preference)) is not None:
            return Applied(vmi, ("instancetype.spec.cpu.guest",), f"instancetype-{ratio}")
        if conflicts := tuple(_conflicts(vmi, instancetype, release)):
            return Applied(vmi, conflicts, "instancetype-conflict")
        _apply_cpu(domain.setdefault("cpu", {}), instancetype, preference)
        _apply_memory(domain, _mapping(instancetype, "memory"))
        _apply_iothreads(domain, instancetype)
        _annotate(vmi, _mapping(instancetype, "annotations"))
    if preference is not None:
        _apply_preference(vmi, preference)
        if missing := tuple(_requirements(domain, instancetype, preference)):
            return Applied(vmi, missing, "preference-requirements")
    return Applied(vmi)


def _require_known(
    instancetype: Json | None, preference: Json | None, release: Release | None
) -> None:
    if release is None:
        return
    cpu = _mapping(preference or {}, "cpu")
    topology = cpu.get("preferredCPUTopology")
    asked = {
        "preferSpread and preferAny": topology in ("preferSpread", "preferAny"),
        "maxSockets of an instance type": "maxSockets" in _mapping(instancetype or {}, "cpu"),
        "spreadOptions": "spreadOptions" in cpu,
        "topologies without “prefer”": bool(topology) and not str(topology).startswith("prefer"),
        "ioThreads of an instance type": "ioThreads" in (instancetype or {}),
    }
    for what, since in _SINCE.items():
        if asked[what] and release < since:
            raise Undecided(f"KubeVirt {release} does not know {what}, which come with {since}")


def _conflicts(vmi: Json, instancetype: Json, release: Release | None) -> Iterator[str]:
    """Fields that the template sets although the instance type decides them."""
    spec = vmi["spec"]
    domain = spec["domain"]
    cpu, given = _mapping(domain, "cpu"), _mapping(instancetype, "cpu")
    resources, devices = _mapping(domain, "resources"), _mapping(domain, "devices")
    found = [
        f"domain.resources.{kind}.cpu"
        for kind in ("requests", "limits")
        if "cpu" in _mapping(resources, kind)
    ]
    found += [f"domain.cpu.{name}" for name in ("sockets", "cores", "threads") if cpu.get(name)]
    found += [
        f"domain.cpu.{name}"
        for name in _FIELDS
        if cpu.get(_IN_VMI.get(name, name)) and given.get(name) is not None
    ]
    found += _memory_conflicts(domain, resources, _mapping(instancetype, "memory"), release)
    iothreads = _mapping(domain, "ioThreads")
    pool = "supplementalPoolThreadCount"
    both = {
        "nodeSelector": (spec, instancetype),
        "schedulerName": (spec, instancetype),
        "domain.ioThreadsPolicy": (domain, instancetype),
        f"domain.ioThreads.{pool}": (iothreads, _mapping(instancetype, "ioThreads")),
        "domain.launchSecurity": (domain, instancetype),
        "domain.devices.gpus": (devices, instancetype),
        "domain.devices.hostDevices": (devices, instancetype),
    }
    for path, (own, others) in both.items():
        name = path.rpartition(".")[2]
        if own.get(name) and others.get(name) is not None:
            found.append(path)
    yield from (f"spec.template.spec.{path}" for path in found)
    annotations = _mapping(_mapping(vmi, "metadata"), "annotations")
    for key, value in _mapping(instancetype, "annotations").items():
        if annotations.get(key, value) != value:
            yield f"annotations.{key}"


def _memory_conflicts(
    domain: Json, resources: Json, given: Json, release: Release | None
) -> list[str]:
    memory = domain.get("memory")
    found: list[str] = []
    if isinstance(memory, Mapping):
        fine = ["domain.memory.guest"] if memory.get("guest") is not None else []
        fine += [
            f"domain.memory.{name}"
            for name in ("hugepages", "maxGuest")
            if memory.get(name) is not None and given.get(name) is not None
        ]
        if release is None and not fine:
            raise Undecided(
                f"KubeVirt {_FINE_MEMORY} changed whether the template's spec.domain.memory is a "
                "conflict with the instance type, and the release is not known"
            )
        if release is None or release < _FINE_MEMORY:
            found.append("domain.memory")
        found += fine
    return found + [
        f"domain.resources.{kind}.memory"
        for kind in ("requests", "limits")
        if "memory" in _mapping(resources, kind)
    ]


def _apply_cpu(cpu: dict[str, Any], instancetype: Json, preference: Json | None) -> None:
    given = _mapping(instancetype, "cpu")
    for name in (*_FIELDS, "maxSockets"):
        if given.get(name) is not None:
            cpu[_IN_VMI.get(name, name)] = copy.deepcopy(given[name])
    vcpus = _vcpus(instancetype)
    sockets, cores, threads = 1, 1, 1
    topology = _topology(preference)
    if vcpus > 1:
        ratio, across = _spread(preference)
        match topology, across:
            case "sockets" | "any", _:
                sockets = vcpus
            case "cores", _:
                cores = vcpus
            case "threads", _:
                threads = vcpus
            case "spread", "SocketsCores":
                sockets, cores = vcpus // ratio, ratio
            case "spread", "CoresThreads":
                cores, threads = vcpus // ratio, ratio
            case "spread", "SocketsCoresThreads":
                sockets, cores = vcpus // _THREADS_PER_CORE // ratio, ratio
                threads = _THREADS_PER_CORE
            case _:
                raise Undecided(f"the preferred topology {topology} across {across} is not known")
    cpu.update(sockets=sockets, cores=cores, threads=threads)


def _vcpus(instancetype: Json) -> int:
    guest = _mapping(instancetype, "cpu").get("guest")
    if isinstance(guest, float) and guest.is_integer():
        guest = int(guest)
    if isinstance(guest, bool) or not isinstance(guest, int) or guest < 0:
        raise Undecided(f"the instance type's spec.cpu.guest is {guest!r}, no number of vCPUs")
    return guest


def _topology(preference: Json | None) -> str:
    """The preferred topology in its newer spelling; sockets without one."""
    named = _mapping(preference or {}, "cpu").get("preferredCPUTopology")
    text = str(named or "sockets").removeprefix("prefer")
    return text[:1].lower() + text[1:]


def _spread(preference: Json | None) -> tuple[int, str]:
    """How many cores a socket, or threads a core, and what the vCPUs are spread across."""
    preference = preference or {}
    options = _mapping(_mapping(preference, "cpu"), "spreadOptions")
    older = preference.get("preferSpreadSocketToCoreRatio") or _DEFAULT_RATIO
    ratio = options.get("ratio")
    ratio = older if ratio is None else ratio
    if isinstance(ratio, bool) or not isinstance(ratio, int) or ratio < 1:
        raise Undecided(f"the preference spreads by a ratio of {ratio!r}")
    return ratio, str(options.get("across") or "SocketsCores")


def _uneven(instancetype: Json, preference: Json | None) -> str | None:
    """Why vCPUs cannot be spread as preferred; None when they can, or are not."""
    if _topology(preference) != "spread":
        return None
    ratio, across = _spread(preference)
    each = ratio * _THREADS_PER_CORE if across == "SocketsCoresThreads" else ratio
    return f"guest-not-divisible-by-{each}" if _vcpus(instancetype) % each else None


def _apply_memory(domain: dict[str, Any], given: Json) -> None:
    memory = domain.setdefault("memory", {})
    for name in ("guest", "hugepages", "maxGuest"):
        if given.get(name) is not None:
            memory[name] = copy.deepcopy(given[name])
    if percent := given.get("overcommitPercent"):
        requests = domain.setdefault("resources", {}).setdefault("requests", {})
        try:
            # In KubeVirt a float32: what is left of it is near, and exact for no check.
            requests["memory"] = int(parse_quantity(memory.get("guest")) * (100 - percent) / 100)
        except (MalformedQuantity, TypeError) as error:
            raise Undecided(f"the instance type's spec.memory cannot be read: {error}") from None


def _apply_iothreads(domain: dict[str, Any], instancetype: Json) -> None:
    if (policy := instancetype.get("ioThreadsPolicy")) is not None:
        domain["ioThreadsPolicy"] = policy
    count = _mapping(instancetype, "ioThreads").get("supplementalPoolThreadCount")
    if count is not None:
        domain.setdefault("ioThreads", {})["supplementalPoolThreadCount"] = count


def _apply_preference(vmi: dict[str, Any], preference: Json) -> None:
    domain = vmi["spec"]["domain"]
    features = _mapping(preference, "cpu").get("preferredCPUFeatures") or ()
    if features:
        cpu = domain.setdefault("cpu", {})
        own = {feature.get("name") for feature in cpu.get("features") or ()}
        new = [each for each in features if each.get("name") not in own]
        cpu["features"] = [*(cpu.get("features") or ()), *new]
    machine = _mapping(preference, "machine").get("preferredMachineType")
    if machine and not _mapping(domain, "machine").get("type"):
        domain["machine"] = {"type": machine}
    _apply_disks(vmi["spec"], _mapping(preference, "devices"))
    _annotate(vmi, _mapping(preference, "annotations"))


def _apply_disks(spec: dict[str, Any], preferred: Json) -> None:
    """A bus and an IOThread for every disk; also for the disk that a volume alone stands for."""
    bus = preferred.get("preferredDiskBus")
    dedicated = preferred.get("preferredDiskDedicatedIoThread")
    if not bus and dedicated is None:
        return
    devices = spec["domain"].setdefault("devices", {})
    disks = devices.setdefault("disks", [])
    named = {disk.get("name") for disk in disks}
    for volume in spec.get("volumes") or ():
        if volume.get("name") not in named:
            disks.append({"name": volume.get("name")})
    for disk in disks:
        if "cdrom" in disk or "lun" in disk:
            continue
        target = disk["disk"] = dict(disk.get("disk") or {})
        if bus:
            target.setdefault("bus", bus)
        if dedicated is not None and target.get("bus") == "virtio":
            disk.setdefault("dedicatedIOThread", dedicated)


def _annotate(vmi: dict[str, Any], annotations: Json) -> None:
    own = vmi["metadata"].get("annotations") or {}
    if annotations:
        vmi["metadata"]["annotations"] = {**annotations, **own}


def _requirements(domain: Json, instancetype: Json | None, preference: Json) -> Iterator[str]:
    """The field that is named where a preference requires more than it gets."""
    required = _mapping(preference, "requirements")
    if "architecture" in required:
        raise Undecided("the preference requires an architecture, which is not looked at")
    if (cpus := _mapping(required, "cpu").get("guest")) is not None:
        if instancetype is not None:
            if _vcpus(instancetype) < cpus:
                yield "spec.instancetype"
                return
        else:
            cpu = _mapping(domain, "cpu")
            counts = {name: cpu.get(name) for name in ("sockets", "cores", "threads")}
            if not all(isinstance(count, int) for count in counts.values()):
                raise Undecided(
                    "the preference requires CPUs of a template whose topology is not complete"
                )
            if (fields := _too_few(counts, preference, cpus)) is not None:
                yield fields
                return
    if (memory := _mapping(required, "memory").get("guest")) is not None:
        guest = _mapping(domain, "memory").get("guest")
        if guest is None:
            raise Undecided("the preference requires memory of a template without guest memory")
        if _quantity(guest) < _quantity(memory):
            yield (
                "spec.template.spec.domain.memory" if instancetype is None else "spec.instancetype"
            )


def _too_few(counts: Mapping[str, Any], preference: Json, required: int) -> str | None:
    """The fields of a refusal, as one text; None where there are enough CPUs."""
    _ratio, across = _spread(preference)
    parts = {
        "any": ("cores", "sockets", "threads"),
        "spread": {
            "SocketsCores": ("sockets", "cores"),
            "CoresThreads": ("cores", "threads"),
        }.get(across, ("sockets", "cores", "threads")),
    }.get(_topology(preference), (_topology(preference),))
    product = 1
    for part in parts:
        if part not in counts:
            raise Undecided(f"the preferred topology {part} is not known")
        product *= counts[part]
    paths = (f"spec.template.spec.domain.cpu.{part}" for part in parts)
    return ", ".join(paths) if product < required else None


def _quantity(value: object) -> Fraction:
    try:
        return parse_quantity(value)
    except MalformedQuantity as error:
        raise Undecided(str(error)) from None


def _mapping(parent: Json, key: str) -> Json:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}
