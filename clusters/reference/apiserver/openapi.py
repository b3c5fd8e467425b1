"""OpenAPI v3 documents, as `kubectl explain`, `apply` and `edit` read them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from clusters.reference.apiserver.patching import media_types
from clusters.reference.apiserver.resources import ResourceType
from clusters.reference.apiserver.schema import QUANTITY, Schema, named
from clusters.reference.apiserver.schemas import is_builtin, schema_of

Object = dict[str, Any]

_TYPES: dict[str, Object] = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "boolean": {"type": "boolean"},
    "date-time": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "int-or-string": {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
    },
    "quantity": {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": QUANTITY,
    },
    "any": {"x-kubernetes-preserve-unknown-fields": True},
}


def index(types: Sequence[ResourceType]) -> Object:
    """The answer of ``/openapi/v3``: where the document of each group and version is."""
    paths = dict.fromkeys(_path(type_, version) for type_ in types for version in type_.versions)
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={_digest(path, tuple(types))}"}
            for path in paths
        }
    }


@functools.cache
def document(path: str, types: tuple[ResourceType, ...]) -> Object | None:
    """The document of one group and version, such as ``apis/apps/v1``; None if unknown."""
    here = [
        (type_, version)
        for type_ in types
        for version in type_.versions
        if _path(type_, version) == path
    ]
    if not here:
        return None
    schemas: Object = {}
    paths: Object = {}
    for type_, version in here:
        schema = schema_of(type_)
        root = _root_name(type_, version)
        for name, shared in named(schema).items():
            if shared is not schema:
                schemas.setdefault(_name(name), _object(shared))
        kind = {"group": type_.group, "version": version, "kind": type_.kind}
        schemas[root] = {**_object(schema), "x-kubernetes-group-version-kind": [kind]}
        paths.update(_paths(type_, version, root, kind))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _path(type_: ResourceType, version: str) -> str:
    return f"apis/{type_.group}/{version}" if type_.group else f"api/{version}"


@functools.cache
def _digest(path: str, types: tuple[ResourceType, ...]) -> str:
    text = json.dumps(document(path, types), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32].upper()


def _name(name: str) -> str:
    return f"io.k8s.api.{name}"


def _root_name(type_: ResourceType, version: str) -> str:
    group = ".".join(reversed(type_.group.split("."))) if "." in type_.group else "io.k8s.api"
    return f"{group}.{version}.{type_.kind}"


def _object(schema: Schema) -> Object:
    shown: Object = {"type": "object"}
    if schema.description:
        shown["description"] = schema.description
    if schema.properties:
        shown["properties"] = {key: _value(below) for key, below in schema.properties.items()}
    if schema.required:
        shown["required"] = sorted(schema.required)
    if schema.open:
        shown["x-kubernetes-preserve-unknown-fields"] = True
    return shown


def _value(schema: Schema) -> Object:
    if schema.name:
        shown: Object = {"allOf": [{"$ref": f"#/components/schemas/{_name(schema.name)}"}]}
    elif schema.type == "object":
        shown = _object(schema)
    elif schema.type == "map" and schema.items is not None:
        shown = {"type": "object", "additionalProperties": _value(schema.items)}
    elif schema.type == "array" and schema.items is not None:
        shown = {"type": "array", "items": _value(schema.items)}
    else:
        shown = dict(_TYPES[schema.type])
    if schema.description:
        shown["description"] = schema.description
    if schema.minimum is not None:
        shown["minimum"] = schema.minimum
    if schema.enum:
        shown["enum"] = list(schema.enum)
    shown.update(_merge_extensions(schema))
    return shown


def _merge_extensions(schema: Schema) -> Object:
    extensions: Object = {}
    strategies = [
        name
        for name, used in (("merge", schema.patch_merge), ("retainKeys", schema.retain_keys))
        if used
    ]
    if strategies:
        extensions["x-kubernetes-patch-strategy"] = ",".join(strategies)
    if schema.patch_key:
        extensions["x-kubernetes-patch-merge-key"] = schema.patch_key
    if schema.type == "array":
        if schema.list_keys == ("",):
            extensions["x-kubernetes-list-type"] = "set"
        elif schema.list_keys:
            extensions["x-kubernetes-list-type"] = "map"
            extensions["x-kubernetes-list-map-keys"] = list(schema.list_keys)
        else:
            extensions["x-kubernetes-list-type"] = "atomic"
    return extensions


def _paths(type_: ResourceType, version: str, root: str, kind: Object) -> Object:
    base = f"/{_path(type_, version)}"
    base += f"/namespaces/{{namespace}}/{type_.plural}" if type_.namespaced else f"/{type_.plural}"
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{root}"}}}
    patches = {
        name: {"schema": {"type": "object"}} for name in media_types(builtin=is_builtin(type_))
    }
    write = [_parameter(name) for name in ("dryRun", "fieldManager", "fieldValidation")]

    def operation(action: str, parameters: Sequence[Object] = (), body: Any = None) -> Object:
        shown: Object = {
            "operationId": f"{action}{version}{type_.kind}",
            "parameters": list(parameters),
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
        }
        if body is not None:
            shown["requestBody"] = {"content": body, "required": True}
        return shown

    return {
        base: {
            "get": operation("list"),
            "post": operation("post", write, content),
            "delete": operation("deletecollection", write[:1]),
        },
        f"{base}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", write, content),
            "patch": operation("patch", [*write, _parameter("force", "boolean")], patches),
            "delete": operation("delete", write[:1]),
        },
    }


def _parameter(name: str, type_: str = "string") -> Object:
    return {"name": name, "in": "query", "schema": {"type": type_, "uniqueItems": True}}
