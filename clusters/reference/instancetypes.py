"""Instance types and preferences, as virt-api and virt-controller apply them to a template.

kubevirt pkg/instancetype/apply and pkg/instancetype/preference, release 1.9.
"""

from __future__ import annotations

import copy

from clusters.reference import quantity
from clusters.reference.apiserver.backends import Cause
from clusters.reference.apiserver.resources import (
    CLUSTER_INSTANCETYPE,
    CLUSTER_PREFERENCE,
    INSTANCETYPE,
    PREFERENCE,
    ResourceType,
)
from clusters.reference.apiserver.store import Object, Store

_INVALID = "FieldValueInvalid"
_TEMPLATE = "spec.template.spec"
_THREADS = 2


class ConflictsError(Exception):
    """The template does not go with its instance type or preference."""

    def __init__(self, causes: list[Cause]) -> None:
        super().__init__(", ".join(cause.message for cause in causes))
        self.causes = causes


class MissingError(Exception):
    """The instance type or preference that is named is not there."""


def find(store: Store, machine: Object) -> tuple[Object | None, Object | None]:
    """The specs of instance type and preference of a VirtualMachine. Raises MissingError."""
    return (
        _find(store, machine, "instancetype", INSTANCETYPE, CLUSTER_INSTANCETYPE),
        _find(store, machine, "preference", PREFERENCE, CLUSTER_PREFERENCE),
    )


def expand(template: Object, instancetype: Object | None, preference: Object | None) -> Object:
    """The template's metadata and spec with both applied. Raises ConflictsError."""
    vmi: Object = copy.deepcopy(
        {"metadata": template.get("metadata") or {}, "spec": template.get("spec") or {}}
    )
    domain = vmi["spec"].setdefault("domain", {})
    if instancetype is not None:
        _require_even_spread(instancetype, preference)
        _require_no_conflict(vmi["spec"], instancetype)
        _cpu(domain.setdefault("cpu", {}), instancetype["cpu"], preference)
        _memory(domain, instancetype["memory"])
        for key in ("ioThreadsPolicy", "ioThreads", "launchSecurity"):
            if key in instancetype:
                domain[key] = copy.deepcopy(instancetype[key])
        _annotate(vmi, instancetype.get("annotations") or {})
    if preference is not None:
        _prefer(vmi, preference)
        _annotate(vmi, preference.get("annotations") or {})
        _require_enough(domain, instancetype, preference)
    return vmi


def _find(
    store: Store, machine: Object, key: str, own: ResourceType, of_cluster: ResourceType
) -> Object | None:
    matcher = machine["spec"].get(key)
    if not matcher:
        return None
    kind = (matcher.get("kind") or of_cluster.singular).lower()
    name = matcher.get("name") or ""
    if kind in (own.singular, own.plural):
        found = store.find(own, name, machine["metadata"]["namespace"])
    elif kind in (of_cluster.singular, of_cluster.plural):
        found = store.find(of_cluster, name)
    else:
        raise MissingError(f"got unexpected kind in {key} matcher: {kind}")
    if found is None:
        raise MissingError(f'{kind}.instancetype.kubevirt.io "{name}" not found')
    spec: Object = found["spec"]
    return spec


def _topology(preference: Object | None) -> str:
    cpu = (preference or {}).get("cpu") or {}
    named: str = cpu.get("preferredCPUTopology") or "sockets"
    return named.removeprefix("prefer").lower()


def _spread(preference: Object | None) -> tuple[str, int]:
    options = ((preference or {}).get("cpu") or {}).get("spreadOptions") or {}
    ratio = (preference or {}).get("preferSpreadSocketToCoreRatio") or 2
    return options.get("across") or "SocketsCores", int(options.get("ratio") or ratio)


def _require_even_spread(instancetype: Object, preference: Object | None) -> None:
    if _topology(preference) != "spread":
        return
    across, ratio = _spread(preference)
    divisor = ratio * _THREADS if across == "SocketsCoresThreads" else ratio
    guest = instancetype["cpu"]["guest"]
    if guest % divisor:
        message = f"{guest} vCPUs provided by the instance type are not divisible by {divisor}"
        raise ConflictsError([Cause(_INVALID, message, "instancetype.spec.cpu.guest")])


def _require_no_conflict(spec: Object, instancetype: Object) -> None:
    domain = spec["domain"]
    cpu, memory = domain.get("cpu") or {}, domain.get("memory") or {}
    resources, devices = domain.get("resources") or {}, domain.get("devices") or {}
    typed, sized = instancetype["cpu"], instancetype["memory"]
    set_twice = {
        "domain.resources.requests.cpu": "cpu" in (resources.get("requests") or {}),
        "domain.resources.limits.cpu": "cpu" in (resources.get("limits") or {}),
        **{f"domain.cpu.{key}": bool(cpu.get(key)) for key in ("sockets", "cores", "threads")},
        "domain.cpu.dedicatedCPUPlacement": bool(cpu.get("dedicatedCpuPlacement"))
        and "dedicatedCPUPlacement" in typed,
        **{
            f"domain.cpu.{key}": bool(cpu.get(key)) and key in typed
            for key in ("model", "isolateEmulatorThread")
        },
        **{f"domain.cpu.{key}": key in cpu and key in typed for key in ("numa", "realtime")},
        "domain.memory.guest": memory.get("guest") is not None,
        **{
            f"domain.memory.{key}": key in memory and key in sized
            for key in ("hugepages", "maxGuest")
        },
        "domain.resources.requests.memory": "memory" in (resources.get("requests") or {}),
        "domain.resources.limits.memory": "memory" in (resources.get("limits") or {}),
        **{
            f"domain.{key}": key in domain and key in instancetype
            for key in ("ioThreadsPolicy", "ioThreads", "launchSecurity")
        },
        **{
            f"domain.devices.{key}": bool(devices.get(key)) and bool(instancetype.get(key))
            for key in ("gpus", "hostDevices")
        },
        **{
            key: bool(spec.get(key)) and bool(instancetype.get(key))
            for key in ("nodeSelector", "schedulerName")
        },
    }
    fields = [f"{_TEMPLATE}.{path}" for path, is_set in set_twice.items() if is_set]
    if fields:
        raise ConflictsError(
            [
                Cause(_INVALID, f"VM field(s) {field} conflicts with selected instance type", field)
                for field in fields
            ]
        )


def _cpu(cpu: Object, typed: Object, preference: Object | None) -> None:
    names = {"dedicatedCPUPlacement": "dedicatedCpuPlacement"}
    for key, value in typed.items():
        if key != "guest":
            cpu[names.get(key, key)] = copy.deepcopy(value)
    guest = typed["guest"]
    cpu.update(sockets=1, cores=1, threads=1)
    if guest == 1:
        return
    topology = _topology(preference)
    if topology in ("cores", "threads"):
        cpu[topology] = guest
    elif topology != "spread":
        cpu["sockets"] = guest
    else:
        across, ratio = _spread(preference)
        if across == "CoresThreads":
            cpu.update(cores=guest // ratio, threads=ratio)
        elif across == "SocketsCores":
            cpu.update(sockets=guest // ratio, cores=ratio)
        else:
            cpu.update(sockets=guest // _THREADS // ratio, cores=ratio, threads=_THREADS)


def _memory(domain: Object, sized: Object) -> None:
    memory = domain.setdefault("memory", {})
    for key in ("guest", "hugepages", "maxGuest"):
        if key in sized:
            memory[key] = copy.deepcopy(sized[key])
    if percent := sized.get("overcommitPercent"):
        requests = domain.setdefault("resources", {}).setdefault("requests", {})
        requests["memory"] = str(quantity.value(sized["guest"]) * (100 - percent) // 100)


def _annotate(vmi: Object, annotations: Object) -> None:
    if annotations:
        own = vmi["metadata"].get("annotations") or {}
        vmi["metadata"]["annotations"] = {**annotations, **own}


def _prefer(vmi: Object, preference: Object) -> None:
    domain = vmi["spec"]["domain"]
    machine = (preference.get("machine") or {}).get("preferredMachineType")
    if machine:
        domain.setdefault("machine", {}).setdefault("type", machine)
    devices = preference.get("devices") or {}
    for disk in (domain.get("devices") or {}).get("disks") or ():
        if "cdrom" in disk or "lun" in disk:
            continue
        target = disk.setdefault("disk", {})
        if devices.get("preferredDiskBus"):
            target.setdefault("bus", devices["preferredDiskBus"])
        if "preferredDiskDedicatedIoThread" in devices and target.get("bus") == "virtio":
            disk.setdefault("dedicatedIOThread", devices["preferredDiskDedicatedIoThread"])


def _require_enough(domain: Object, instancetype: Object | None, preference: Object) -> None:
    required = preference.get("requirements") or {}
    cpus = (required.get("cpu") or {}).get("guest") or 0
    if instancetype is not None and instancetype["cpu"]["guest"] < cpus:
        message = (
            "failure checking preference requirements: insufficient CPU resources of "
            f"{instancetype['cpu']['guest']} vCPU provided by instance type, preference requires "
            f"{cpus} vCPU"
        )
        raise ConflictsError([Cause("FieldValueNotFound", message, "spec.instancetype")])
    memory = (required.get("memory") or {}).get("guest")
    given = (domain.get("memory") or {}).get("guest")
    if memory and given and quantity.value(given) < quantity.value(memory):
        message = (
            "failure checking preference requirements: insufficient Memory resources of "
            f"{given} provided, preference requires {memory}"
        )
        field = "spec.instancetype" if instancetype is not None else f"{_TEMPLATE}.domain.memory"
        raise ConflictsError([Cause("FieldValueNotFound", message, field)])
