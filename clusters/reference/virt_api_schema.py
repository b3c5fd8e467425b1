"""What virt-api refuses before it understands a VMI: wrong types, unreadable numbers.

Its webhooks validate the object against its OpenAPI document (pkg/util/openapi, go-openapi's
validate/type.go) and then decode it (encoding/json). After defaulting the API server holds it
against the CRD's schema, of which only the 32 bits of numbers are left to be found wanting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clusters.reference import quantity
from clusters.reference.apiserver.backends import Cause
from clusters.reference.apiserver.resources import VMI
from clusters.reference.apiserver.schema import Schema
from clusters.reference.apiserver.schemas import schema_of
from clusters.reference.apiserver.store import Object

_UINT32 = 2**32 - 1
_INT32 = 2**31 - 1
_JSON_INTEGER = 2**53 - 1
"""Larger numbers are no integers to go-openapi (swag, IsFloat64AJSONInteger)."""

_OPENAPI_TYPES = {
    "map": "object",
    "date-time": "string",
    "bytes": "string",
    "int-or-string": "string,number",
    "quantity": "string,integer,number",
}
_COUNTS = ("sockets", "cores", "threads", "maxSockets")


class DecodingError(Exception):
    """encoding/json cannot read the object into Go's types; the message is its own."""


def schema_causes(vmi: Object) -> Iterator[Cause]:
    """Every value of the spec that has a type of its own; causes without a field."""
    spec = schema_of(VMI).properties["spec"]
    if "spec" not in vmi:
        yield Cause("", "spec in body is required", "")
        return
    yield from _misfits(spec, vmi["spec"], "spec")


def _misfits(schema: Schema, value: Any, path: str) -> Iterator[Cause]:
    wrong = _wrong_type(schema, value)
    if wrong:
        yield Cause("", f"{path} in body must be of type {wrong}", "")
        return
    if schema.type == "object":
        for name in sorted(schema.required - value.keys()):
            yield Cause("", f"{path}.{name} in body is required", "")
        for name, below in value.items():
            if name in schema.properties:
                yield from _misfits(schema.properties[name], below, f"{path}.{name}")
    elif schema.type == "map" and schema.items is not None:
        for name, below in value.items():
            yield from _misfits(schema.items, below, f"{path}.{name}")
    elif schema.type == "array" and schema.items is not None:
        for index, below in enumerate(value):
            yield from _misfits(schema.items, below, f"{path}.{index}")


def _wrong_type(schema: Schema, value: Any) -> str:
    """``integer: "string"``: what is wanted and what is there; empty when it fits."""
    if schema.type == "any":
        return ""
    wanted = _OPENAPI_TYPES.get(schema.type, schema.type)
    kind = _kind(value)
    number = kind == "number"
    whole = number and float(value).is_integer() and abs(value) <= _JSON_INTEGER
    if schema.type == "integer":
        if kind in ("string", "array"):
            return f'integer: "{kind}"'
        return "" if whole else f'int64: "{"float64" if number else ""}"'
    return "" if kind in wanted.split(",") else f'{wanted}: "{kind}"'


def _kind(value: Any) -> str:
    for types, kind in (
        (bool, "boolean"),
        (int | float, "number"),
        (str, "string"),
        (list, "array"),
    ):
        if isinstance(value, types):
            return kind
    return "object"


def decode(vmi: Object) -> Object:
    """The VMI with its quantities as Kubernetes writes them. Raises DecodingError.

    A quantity that cannot be read ends the decoding; of numbers that do not fit the first is
    told when all else could be read.
    """
    unfit: list[str] = []
    schema = schema_of(VMI).properties["spec"]
    decoded = {**vmi, "spec": _decoded(schema, vmi["spec"], "", unfit)}
    if unfit:
        raise DecodingError(unfit[0])
    return decoded


def _decoded(schema: Schema, value: Any, path: str, unfit: list[str]) -> Any:
    if schema.type == "quantity":
        try:
            return quantity.canonical(value)
        except quantity.MalformedError as error:
            raise DecodingError(str(error)) from error
    if schema.type == "integer" and schema.minimum == 0 and not 0 <= value <= _UINT32:
        unfit.append(
            f"json: cannot unmarshal number {value} into Go struct field VMISpecAlias{path} of "
            "type uint32"
        )
    if schema.type == "object":
        # The API server has sorted the keys.
        return {
            name: _decoded(schema.properties[name], below, f"{path}.{name}", unfit)
            if name in schema.properties
            else below
            for name, below in sorted(value.items())
        }
    if schema.type == "map" and schema.items is not None:
        return {name: _decoded(schema.items, below, path, unfit) for name, below in value.items()}
    if schema.type == "array" and schema.items is not None:
        return [_decoded(schema.items, below, path, unfit) for below in value]
    return value


def stored_causes(vmi: Object) -> Iterator[Cause]:
    """What the CRD's schema finds in the defaulted VMI: numbers beyond int32, without a field."""
    domain = vmi["spec"]["domain"]
    parts = (
        ("spec.domain.cpu", domain.get("cpu") or {}, _COUNTS),
        ("spec.domain.ioThreads", domain.get("ioThreads") or {}, ("supplementalPoolThreadCount",)),
        (
            "status.currentCPUTopology",
            vmi["status"].get("currentCPUTopology") or {},
            _COUNTS,
        ),
    )
    for path, part, names in parts:
        for name in names:
            if (part.get(name) or 0) > _INT32:
                message = (
                    'Invalid value: "": Checked value must be of type integer with format int32 '
                    f"in {path}.{name}"
                )
                yield Cause("FieldValueInvalid", message, "<nil>")
