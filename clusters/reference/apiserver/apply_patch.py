"""Server-side apply: merging what a manager wants and remembering what it owns.

`kubectl apply --server-side` needs it, and whoever deploys a KubeVirt (`clusters.kit.api`).
A manager's fields are merged into the object, fields that it applied before and no longer
mentions are removed unless another manager applied them too, and its entry in
``managedFields`` is renewed (the rules of sigs.k8s.io/structured-merge-diff). Conflicts
between managers are not looked for: every apply behaves as with ``force=true``, and only
appliers own fields, so what a plain update wrote is never in anybody's way.
"""

from __future__ import annotations

import json
from typing import Any

from clusters.reference.apiserver.schema import Schema
from clusters.reference.apiserver.store import now

Object = dict[str, Any]

_IDENTITY = {"apiVersion", "kind", "metadata.name", "metadata.namespace"}
"""Not owned by anybody."""


def apply_patch(original: Object, wanted: Object, schema: Schema, manager: str) -> Object:
    """The object after `manager` applied `wanted`; `original` is empty on creation."""
    fields = _owned(wanted, schema, "")
    entries = list(original.get("metadata", {}).get("managedFields") or [])
    mine = [entry for entry in entries if _is_entry_of(entry, manager)]
    others = [entry for entry in entries if not _is_entry_of(entry, manager)]
    result: Object = _merge(original, wanted, schema)
    for entry in mine:
        keep = [fields, *(other.get("fieldsV1") or {} for other in others)]
        result = _without(result, entry.get("fieldsV1") or {}, keep, schema)
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": wanted["apiVersion"],
        "time": now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    if mine and all(mine[0].get(key) == entry[key] for key in ("apiVersion", "fieldsV1")):
        entry = mine[0]  # Applying the same again changes nothing, not even the time.
    result.setdefault("metadata", {})
    result["metadata"] = {**result["metadata"], "managedFields": [*others, entry]}
    return result


def _is_entry_of(entry: Object, manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply"


def _below(schema: Schema | None, key: str) -> Schema | None:
    if schema is None:
        return None
    return schema.items if schema.type == "map" else schema.properties.get(key)


def _is_keyed(schema: Schema | None, value: Any) -> bool:
    return isinstance(value, list) and schema is not None and schema.list_keys not in {(), ("",)}


def _is_set(schema: Schema | None, value: Any) -> bool:
    return isinstance(value, list) and schema is not None and schema.list_keys == ("",)


def _item_key(item: Object, schema: Schema) -> str:
    defaults = {"protocol": "TCP"}
    keys = {key: item.get(key, defaults.get(key)) for key in schema.list_keys}
    keys = {key: value for key, value in keys.items() if value is not None}
    return "k:" + json.dumps(keys, separators=(",", ":"), sort_keys=True)


def _owned(value: Any, schema: Schema | None, path: str) -> Object:
    """The fields of a value in the FieldsV1 notation."""
    fields: Object = {}
    if isinstance(value, dict):
        for key, entry in value.items():
            below = f"{path}.{key}".strip(".")
            if below in _IDENTITY:
                continue
            inner = _owned(entry, _below(schema, key), below)
            if inner or below != "metadata":
                fields[f"f:{key}"] = inner
    elif schema is not None and _is_keyed(schema, value):
        for item in value:
            inner = {".": {}, **_owned(item, schema.items, f"{path}[]")}
            fields[_item_key(item, schema)] = inner
    elif _is_set(schema, value):
        fields = {f"v:{json.dumps(entry)}": {} for entry in value}
    return fields


def _merge(current: Any, wanted: Any, schema: Schema | None) -> Any:
    if isinstance(current, dict) and isinstance(wanted, dict):
        result = dict(current)
        for key, value in wanted.items():
            result[key] = _merge(current.get(key), value, _below(schema, key))
        return result
    if isinstance(current, list) and schema is not None and _is_keyed(schema, wanted):
        merged = list(current)
        places = {_item_key(item, schema): index for index, item in enumerate(merged)}
        for item in wanted:
            place = places.get(_item_key(item, schema))
            if place is None:
                merged.append(item)
            else:
                merged[place] = _merge(merged[place], item, schema.items)
        return merged
    if isinstance(current, list) and _is_set(schema, wanted):
        return current + [value for value in wanted if value not in current]
    return wanted


def _without(value: Any, fields: Object, keep: list[Object], schema: Schema | None) -> Any:
    """Removes the leaves in `fields` that nobody in `keep` has."""
    if isinstance(value, dict):
        result = {}
        for key, entry in value.items():
            name = f"f:{key}"
            keepers = [fields_[name] for fields_ in keep if name in fields_]
            if name not in fields:
                result[key] = entry
            elif keepers:
                result[key] = _without(entry, fields[name], keepers, _below(schema, key))
            elif fields[name]:
                # Nobody wants it as a whole; what others wrote below it stays.
                rest = _without(entry, fields[name], [], _below(schema, key))
                if rest:
                    result[key] = rest
        return result
    if schema is not None and _is_keyed(schema, value):
        items = []
        for item in value:
            name = _item_key(item, schema)
            keepers = [fields_[name] for fields_ in keep if name in fields_]
            if name not in fields:
                items.append(item)
            elif keepers:
                items.append(_without(item, fields[name], keepers, schema.items))
        return items
    if _is_set(schema, value):
        gone = {name for name in fields if not any(name in fields_ for fields_ in keep)}
        return [entry for entry in value if f"v:{json.dumps(entry)}" not in gone]
    return value
