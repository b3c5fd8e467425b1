"""Strategic merge patch, the rules of apimachinery/pkg/util/strategicpatch.

It is what `kubectl apply`, `edit`, `label` and `patch` send for types that are built in.
"""

from __future__ import annotations

import copy
from typing import Any

from clusters.reference.apiserver.errors import bad_request
from clusters.reference.apiserver.schema import Schema

Object = dict[str, Any]

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_VALUES = "$deleteFromPrimitiveList/"


def strategic_merge(original: Object, patch: Object, schema: Schema | None) -> Object:
    """The patched object; the schema knows which lists are merged and by what key.

    Raises StatusError 400 for a directive that is not understood.
    """
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: _clean(value) for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in {None, "merge"}:
        raise bad_request(f"Unknown patch type found: {directive}")
    result = dict(original)
    if _RETAIN in patch:
        result = {key: value for key, value in result.items() if key in patch[_RETAIN]}
    for key, values in patch.items():
        if key.startswith(_DELETE_VALUES):
            name = key.removeprefix(_DELETE_VALUES)
            result[name] = [value for value in result.get(name) or [] if value not in values]
    for key, value in patch.items():
        if value is None or (isinstance(value, dict) and value.get(_DIRECTIVE) == "delete"):
            result.pop(key, None)
        elif not key.startswith("$"):
            result[key] = _merge_value(result.get(key), value, _below(schema, key))
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and isinstance(result.get(name), list):
            below = _below(schema, name)
            result[name] = _ordered(
                result[name], original.get(name) or [], order, below.patch_key if below else ""
            )
    return result


def _merge_value(current: Any, value: Any, schema: Schema | None) -> Any:
    if isinstance(value, dict):
        return strategic_merge(current if isinstance(current, dict) else {}, value, schema)
    if isinstance(value, list) and schema is not None and schema.patch_merge:
        return _merge_list(current or [], value, schema)
    return _clean(value)


def _below(schema: Schema | None, key: str) -> Schema | None:
    if schema is None:
        return None
    return schema.items if schema.type == "map" else schema.properties.get(key)


def _merge_list(current: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    key = schema.patch_key
    if not key:
        return current + [value for value in patch if value not in current]
    if {_DIRECTIVE: "replace"} in patch:
        return [_clean(item) for item in patch if item != {_DIRECTIVE: "replace"}]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        places = [index for index, old in enumerate(result) if old.get(key) == item[key]]
        if item.get(_DIRECTIVE) == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif places:
            # Ports may share a containerPort; the first is meant, as upstream has it.
            result[places[0]] = strategic_merge(result[places[0]], item, schema.items)
        else:
            result.append(strategic_merge({}, item, schema.items))
    return result


def _ordered(items: list[Any], before: list[Any], order: list[Any], key: str) -> list[Any]:
    """Puts the items into the order that the patch wants.

    Items that the patch does not know stay in front of those they were in front of.
    """

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(entry) for entry in order]
    was_at = {repr(identity(item)): index for index, item in enumerate(before)}
    known = sorted(
        (item for item in items if identity(item) in wanted),
        key=lambda item: wanted.index(identity(item)),
    )
    others = [item for item in items if identity(item) not in wanted]
    result = []
    for item in known:
        place = was_at.get(repr(identity(item)), -1)
        while others and was_at.get(repr(identity(others[0])), len(before)) < place:
            result.append(others.pop(0))
        result.append(item)
    return result + others


def _clean(value: Any) -> Any:
    """A copy without directives and nulls, for what is taken over as a whole."""
    if isinstance(value, dict):
        return {
            key: _clean(entry)
            for key, entry in value.items()
            if not key.startswith("$") and entry is not None
        }
    return [_clean(entry) for entry in value] if isinstance(value, list) else copy.copy(value)
