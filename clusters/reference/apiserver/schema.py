"""Structural schemas: what fields a type has, and what is wrong with a given object.

One notation serves the types that are built into Kubernetes and those that custom
resources add; OpenAPI documents, `kubectl explain`, pruning of unknown fields and the
refusal of wrong types all come from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clusters.reference.apiserver.backends import Cause

Type = Literal[
    "object", "map", "array", "string", "integer", "number", "boolean",
    "date-time", "bytes", "quantity", "int-or-string", "any",
]  # fmt: skip

QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
"""What a custom resource's schema asks of a quantity (``resource.Quantity``)."""


@dataclass(frozen=True)
class Schema:
    """The shape of one value.

    Attributes:
        type: ``object`` has the named properties, ``map`` any keys with values like `items`.
        name: name of a shared type, such as ``PodSpec``; empty for one that is used once.
        properties: of an ``object``.
        open: an ``object`` that keeps fields which are not among its properties.
        items: of an ``array`` or ``map``.
        minimum: of an ``integer``.
        enum: the allowed strings.
        patch_key: key of the items by which a strategic merge patch finds them
            (patchMergeKey); ``""`` with `patch_merge` for sets of plain values.
        patch_merge: a strategic merge patch merges this list instead of replacing it.
        retain_keys: patchStrategy ``retainKeys`` (a union).
        list_keys: keys by which server-side apply tells the items apart.
    """

    type: Type
    description: str = ""
    name: str = ""
    properties: Mapping[str, Schema] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    open: bool = False
    items: Schema | None = None
    minimum: int | None = None
    enum: tuple[str, ...] = ()
    patch_key: str = ""
    patch_merge: bool = False
    retain_keys: bool = False
    list_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """One value that does not fit.

    Attributes:
        kind: ``type``, ``required``, ``enum``, ``minimum`` or ``pattern``.
        path: such as ``spec.volumes[0].name``.
        value: what was given.
        schema: what was expected.
        owner: name of the type that the field is part of, for messages.
    """

    kind: Literal["type", "required", "enum", "minimum", "pattern"]
    path: str
    value: Any
    schema: Schema
    owner: str

    def cause(self) -> Cause:
        """As the validation of custom resources words it (kube-openapi/pkg/validation)."""
        value = _shown(self.value)
        if self.kind == "required":
            return Cause("FieldValueRequired", "Required value", self.path)
        if self.kind == "type":
            text = (
                f"Invalid value: {_type_shown(self.value)}: {self.path} in body must be of type "
                f"{_json_type(self.schema)}: {_type_shown(self.value)}"
            )
            return Cause("FieldValueTypeInvalid", text, self.path)
        if self.kind == "enum":
            allowed = ", ".join(f'"{word}"' for word in self.schema.enum)
            text = f"Unsupported value: {value}: supported values: {allowed}"
            return Cause("FieldValueNotSupported", text, self.path)
        if self.kind == "minimum":
            text = (
                f"Invalid value: {value}: {self.path} in body should be greater than or equal "
                f"to {self.schema.minimum}"
            )
            return Cause("FieldValueInvalid", text, self.path)
        text = f"Invalid value: {value}: {self.path} in body should match '{QUANTITY}'"
        return Cause("FieldValueInvalid", text, self.path)

    def decoding_error(self) -> str:
        """As Go words it when it cannot decode the body of a built-in type."""
        if self.kind == "pattern":
            return (
                "quantities must match the regular expression "
                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            )
        path = re.sub(r"\[[^]]*\]", "", self.path)
        return (
            f"json: cannot unmarshal {_go_json_type(self.value)} into Go struct field "
            f"{self.owner}.{path} of type {_go_type(self.schema)}"
        )


@dataclass
class Fit:
    """How an object fits its schema.

    Attributes:
        value: the object without its unknown fields; quantities that were numbers are
            strings, as Kubernetes writes them.
        unknown: paths of the fields that were left out.
        problems: values that do not fit.
    """

    value: Any = None
    unknown: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def fit(schema: Schema, value: Any, *, owner: str = "") -> Fit:
    """Prunes and validates; the given value is not changed."""
    result = Fit()
    result.value = _fit(schema, value, "", owner, result)
    return result


def _fit(schema: Schema, value: Any, path: str, owner: str, result: Fit) -> Any:
    if not _has_type(schema, value):
        result.problems.append(Problem("type", path, value, schema, owner))
        return value
    match schema.type:
        case "object":
            return _fit_object(schema, value, path, schema.name or owner, result)
        case "map" if schema.items is not None:
            return {
                key: _fit(schema.items, entry, f"{path}.{key}", owner, result)
                for key, entry in value.items()
                if entry is not None
            }
        case "array" if schema.items is not None:
            return [
                _fit(schema.items, entry, f"{path}[{index}]", owner, result)
                for index, entry in enumerate(value)
            ]
        case "quantity":
            text = str(value)
            if re.fullmatch(QUANTITY, text) is None:
                result.problems.append(Problem("pattern", path, value, schema, owner))
            return text
        case "integer" if schema.minimum is not None and value < schema.minimum:
            result.problems.append(Problem("minimum", path, value, schema, owner))
        case "string" if schema.enum and value not in schema.enum:
            result.problems.append(Problem("enum", path, value, schema, owner))
        case _:
            pass
    return value


def _fit_object(schema: Schema, value: Any, path: str, owner: str, result: Fit) -> Any:
    fitted = {}
    for key, entry in value.items():
        below = f"{path}.{key}" if path else key
        known = schema.properties.get(key)
        if known is None:
            if schema.open:
                fitted[key] = entry
            else:
                result.unknown.append(below)
        elif entry is not None:
            fitted[key] = _fit(known, entry, below, owner, result)
    for key in sorted(schema.required - fitted.keys()):
        below = f"{path}.{key}" if path else key
        result.problems.append(Problem("required", below, None, schema.properties[key], owner))
    return fitted


_TYPES: Mapping[Type, tuple[type, ...]] = {
    "object": (dict,),
    "map": (dict,),
    "array": (list,),
    "string": (str,),
    "date-time": (str,),
    "bytes": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "quantity": (int, float, str),
    "int-or-string": (int, str),
}


def _has_type(schema: Schema, value: Any) -> bool:
    if schema.type == "any":
        return True
    if isinstance(value, bool):
        return schema.type == "boolean"
    return isinstance(value, _TYPES[schema.type])


_JSON_TYPES = {
    "map": "object",
    "date-time": "string",
    "bytes": "string",
    "quantity": "integer,string",
    "int-or-string": "integer,string",
}


def _json_type(schema: Schema) -> str:
    return _JSON_TYPES.get(schema.type, schema.type)


_TYPE_NAMES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def _type_shown(value: Any) -> str:
    """The type of a wrong value, in quotes, as upstream shows it instead of the value."""
    return f'"{_TYPE_NAMES[type(value)]}"'


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _go_json_type(value: Any) -> str:
    name = _TYPE_NAMES[type(value)]
    return {"boolean": "bool", "integer": "number"}.get(name, name)


_GO_TYPES = {
    "integer": "int32",
    "number": "float64",
    "boolean": "bool",
    "date-time": "string",
    "bytes": "[]uint8",
    "map": "map[string]string",
}


def _go_type(schema: Schema) -> str:
    if schema.type == "array":
        return f"[]v1.{schema.items.name}" if schema.items and schema.items.name else "[]string"
    if schema.type == "object":
        return f"v1.{schema.name}" if schema.name else "struct"
    return _GO_TYPES.get(schema.type, schema.type)


def named(schema: Schema, seen: dict[str, Schema] | None = None) -> dict[str, Schema]:
    """Every shared type below a schema, by name."""
    seen = {} if seen is None else seen
    if schema.name:
        if schema.name in seen:
            return seen
        seen[schema.name] = schema
    for child in children(schema):
        named(child, seen)
    return seen


def children(schema: Schema) -> Iterator[Schema]:
    """The schemas of properties and items."""
    yield from schema.properties.values()
    if schema.items is not None:
        yield schema.items
