"""What a VMI asks for about its CPUs and memory of which no requirement says anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.matrix.fields import unknown_fields
from conformance.model.vocabulary import CURRENT, holds


def unjudged(manifest: Mapping[str, Any], profile: str) -> tuple[str, ...]:
    """One remark for everything that is asked for and not judged, such as ``realtime``.

    Args:
        manifest: of a VMI that the schema can hold.
        profile: of whose requirements one may be about it.
    """
    domain = _of(_of(manifest, "spec"), "domain")
    cpu, memory = _of(domain, "cpu"), _of(domain, "memory")
    realtime = cpu.get("realtime")
    mask = _of(cpu, "realtime").get("mask")
    features = [
        str(feature.get("name"))
        for feature in _items(cpu.get("features"))
        if isinstance(feature, Mapping)
    ]
    most = cpu.get("maxSockets")
    sockets = cpu.get("sockets") if isinstance(cpu.get("sockets"), int) else None
    mapped, today = "guestMappingPassthrough" in _of(cpu, "numa"), holds(profile, (CURRENT,))
    asked = {
        f"realtime{f' with the mask {mask}' if mask else ''}": not today
        and isinstance(realtime, Mapping),
        "the memory of its NUMA nodes": mapped and not today,
        "huge pages": isinstance(memory.get("hugepages"), Mapping) and not (mapped and today),
        f"hotplug of CPUs up to {most} sockets": not today
        and isinstance(most, int)
        and most > (sockets or 1),
        f"hotplug of memory up to {memory.get('maxGuest')}": memory.get("maxGuest") is not None,
        f"CPU features ({', '.join(features)})": bool(features),
        "launch security": bool(_of(domain, "launchSecurity")),
        "the NUMA node of its host devices": bool(
            _of(domain, "devices").get("hostDevices") or _of(domain, "devices").get("gpus")
        ),
    }
    return (
        *(f"asked for, not judged: {what}" for what, is_asked in asked.items() if is_asked),
        *(f"{unknown}: an API server drops it" for unknown in unknown_fields(manifest)),
    )


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _of(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}
