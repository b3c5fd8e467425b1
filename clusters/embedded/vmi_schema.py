"""The part of the VMI's schema that pinning depends on: types and quantities.

A real API server refuses these through the CRD's OpenAPI schema, with this wording; unknown
fields are accepted, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clusters.embedded import quantity
from clusters.embedded.apiserver.backends import Cause
from clusters.embedded.apiserver.store import Object

TYPE_INVALID = "FieldValueTypeInvalid"
INVALID = "FieldValueInvalid"

_CPU = "spec.domain.cpu"
_UINT32 = 1 << 32

_FIELDS: dict[str, str] = {
    "spec": "object",
    "spec.domain": "object",
    _CPU: "object",
    f"{_CPU}.cores": "count",
    f"{_CPU}.sockets": "count",
    f"{_CPU}.threads": "count",
    f"{_CPU}.maxSockets": "count",
    f"{_CPU}.dedicatedCpuPlacement": "boolean",
    f"{_CPU}.isolateEmulatorThread": "boolean",
    f"{_CPU}.model": "string",
    f"{_CPU}.numa": "object",
    f"{_CPU}.realtime": "object",
    "spec.domain.devices": "object",
    "spec.domain.ioThreadsPolicy": "string",
    "spec.domain.ioThreads": "object",
    "spec.domain.ioThreads.supplementalPoolThreadCount": "count",
    "spec.domain.memory": "object",
    "spec.domain.memory.guest": "quantity",
    "spec.domain.memory.hugepages": "object",
    "spec.domain.resources": "object",
    "spec.domain.resources.requests": "object",
    "spec.domain.resources.limits": "object",
    **{
        f"spec.domain.resources.{kind}.{name}": "quantity"
        for kind in ("requests", "limits")
        for name in ("cpu", "memory")
    },
    "spec.domain.devices.disks": "array",
    "spec.nodeSelector": "object",
    "spec.volumes": "array",
}
_PYTHON_TYPES: dict[str, type] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
}


def causes(vmi: Object) -> Iterator[Cause]:
    """What in the VMI has the wrong type or is no quantity."""
    if not isinstance(vmi.get("spec"), dict) or not isinstance(vmi["spec"].get("domain"), dict):
        yield Cause("FieldValueRequired", "spec.domain: Required value", "spec.domain")
        return
    for path, kind in _FIELDS.items():
        found = _at(vmi, path)
        if found is not None:
            yield from _check(path, kind, found)


def _at(vmi: Object, path: str) -> Any:
    found: Any = vmi
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _check(path: str, kind: str, found: Any) -> Iterator[Cause]:
    if kind == "quantity":
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            yield _wrong_type(path, found, "string")
            return
        try:
            quantity.parse(found)
        except ValueError:
            message = f'{path}: Invalid value: "{found}": {path} in body should match a quantity'
            yield Cause(INVALID, message, path)
    elif kind == "count":
        if isinstance(found, bool) or not isinstance(found, int):
            yield _wrong_type(path, found, "integer")
        elif not 0 <= found < _UINT32:
            message = f"{path}: Invalid value: {found}: {path} in body should be a uint32"
            yield Cause(INVALID, message, path)
    elif not isinstance(found, _PYTHON_TYPES[kind]):
        yield _wrong_type(path, found, kind)


def _wrong_type(path: str, found: Any, wanted: str) -> Cause:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    name = names.get(type(found), "number")
    message = f'{path}: Invalid value: "{name}": {path} in body must be of type {wanted}: "{name}"'
    return Cause(TYPE_INVALID, message, path)
