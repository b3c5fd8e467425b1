"""Which schema a served type has."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from clusters.contract.provider import ClusterError
from clusters.host import cache
from clusters.reference.apiserver import builtin_schema, kubevirt_schema, resources, schema
from clusters.reference.apiserver.resources import (
    CLUSTER_INSTANCETYPE,
    CLUSTER_PREFERENCE,
    INSTANCETYPE,
    PREFERENCE,
    ResourceType,
)
from clusters.reference.apiserver.schema import Schema

_SOURCES = (builtin_schema, kubevirt_schema, resources, schema)


def is_builtin(type_: ResourceType) -> bool:
    """Whether the type is Kubernetes' own; the others are custom resources."""
    return builtin_schema.has_schema(type_.kind)


def schema_of(type_: ResourceType) -> Schema:
    """The schema of whole objects of the type."""
    return _schemas()[type_.kind]


@functools.cache
def _schemas() -> Mapping[str, Schema]:
    """The schema of every kind.

    To derive them takes as long as everything else that a server does to start, for which the
    client's models have to be loaded: they are kept.
    """
    parts: list[str | bytes] = [metadata.version("kubernetes"), Path(__file__).read_bytes()]
    for module in _SOURCES:
        parts += [module.__name__, Path(str(module.__file__)).read_bytes()]
    parts.append(kubevirt_schema.DATA.read_bytes())
    name = f"schemas-{cache.key(parts)}"
    try:
        directory = cache.kept(name, _write, what="schemas", need_mib=1, progress=lambda _: None)
        kept = json.loads((directory / "schemas.json").read_text())
    except (ClusterError, OSError, ValueError):  # no room
        return _derived()
    return load(kept)


def _write(directory: Path) -> None:
    (directory / "schemas.json").write_text(json.dumps(dump(_derived())))


def dump(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Schemas by name as JSON data: each different one once, for types share most of theirs."""
    places: dict[int, tuple[int, Schema]] = {}  # which are held, for the sake of their ids
    table: list[dict[str, Any]] = []

    def place(schema: Schema) -> int:
        if id(schema) in places:
            return places[id(schema)][0]
        data: dict[str, Any] = {}
        for field in fields(Schema):
            value = getattr(schema, field.name)
            if value in (None, "", (), frozenset(), {}) or value is False:
                continue
            match field.name:
                case "properties":
                    data["properties"] = {name: place(each) for name, each in value.items()}
                case "items":
                    data["items"] = place(value)
                case "required":
                    data["required"] = sorted(value)
                case _:
                    data[field.name] = value
        table.append(data)
        places[id(schema)] = len(table) - 1, schema
        return len(table) - 1

    return {"kinds": {kind: place(each) for kind, each in schemas.items()}, "table": table}


def load(data: Mapping[str, Any]) -> dict[str, Schema]:
    """Reads what `dump` made; a schema comes after all that it refers to."""
    made: list[Schema] = []
    for entry in data["table"]:
        settings = dict(entry)
        if "properties" in entry:
            settings["properties"] = {
                name: made[place] for name, place in entry["properties"].items()
            }
        if "items" in entry:
            settings["items"] = made[entry["items"]]
        for name in ("enum", "list_keys"):
            if name in entry:
                settings[name] = tuple(entry[name])
        settings["required"] = frozenset(entry.get("required", ()))
        made.append(Schema(**settings))
    return {kind: made[place] for kind, place in data["kinds"].items()}


def _derived() -> Mapping[str, Schema]:
    own = dict(kubevirt_schema.kubevirt_schemas())
    own[CLUSTER_INSTANCETYPE.kind] = own[INSTANCETYPE.kind]
    own[CLUSTER_PREFERENCE.kind] = own[PREFERENCE.kind]
    return {
        type_.kind: own[type_.kind] if type_.kind in own else builtin_schema.builtin(type_.kind)
        for type_ in resources.ALL
    }
