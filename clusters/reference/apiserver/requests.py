"""What an HTTP request asks for: path, query and body, as upstream reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml
from aiohttp import web

from clusters.reference.apiserver import errors, protobuf
from clusters.reference.apiserver.backends import Cause
from clusters.reference.apiserver.patching import APPLY_PATCH
from clusters.reference.apiserver.resources import ResourceType
from clusters.reference.apiserver.target import DeleteOptions, Target, WriteOptions

_READ = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)


def target_of(group: str, version: str, path: str, types: Sequence[ResourceType]) -> Target:
    """What a path below ``/api/v1`` or ``/apis/GROUP/VERSION`` names. Raises StatusError 404."""
    parts = [part for part in path.split("/") if part]
    namespace = ""
    if len(parts) >= 3 and parts[0] == "namespaces" and parts[2] != "status":
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource, *rest = [*parts, "", "", ""][: max(len(parts), 3)]
    for type_ in types:
        if type_.group != group or type_.plural != plural or version not in type_.versions:
            continue
        if namespace and not type_.namespaced:
            break
        if name and type_.namespaced and not namespace:
            break
        if subresource and subresource not in type_.subresources:
            break
        return Target(type_, version, namespace, name, subresource, "/".join(rest).strip("/"))
    raise errors.no_such_resource()


def flag(request: web.Request, name: str) -> bool:
    """A boolean of the query, as Go reads it: anything but false and 0 is true."""
    return name in request.query and request.query[name].lower() not in {"false", "0"}


def integer(request: web.Request, name: str) -> int | None:
    """A number of the query. Raises StatusError 400."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def write_options(request: web.Request, kind: str) -> WriteOptions:
    """Options of a create, update or patch. Raises StatusError 422."""
    query = request.query
    validation = query.get("fieldValidation") or "Warn"
    if validation not in {"Ignore", "Warn", "Strict"}:
        text = f'Unsupported value: "{validation}": supported values: "Ignore", "Warn", "Strict"'
        cause = Cause("FieldValueNotSupported", text, "fieldValidation")
        raise errors.invalid(f"{kind}Options", "meta.k8s.io", "", [cause])
    user_agent = request.headers.get("User-Agent", "").partition("/")[0]
    manager = query.get("fieldManager") or user_agent or "unknown"
    return WriteOptions(
        dry_run=_dry_run(query.getall("dryRun", []), kind),
        field_validation=validation,  # type: ignore[arg-type] # one of the three, as checked
        manager=manager,
    )


def delete_options(request: web.Request, body: Any) -> DeleteOptions:
    """Options of a deletion, which may come in the body, the query, or both."""
    body = body if isinstance(body, dict) else {}
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    dry_run = [*(body.get("dryRun") or ()), *request.query.getall("dryRun", [])]
    return DeleteOptions(
        grace_seconds=grace if grace is not None else integer(request, "gracePeriodSeconds"),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=_dry_run(dry_run, "Delete"),
    )


def _dry_run(values: Sequence[str], kind: str) -> bool:
    for value in values:
        if value not in {"", "All"}:
            text = f'Unsupported value: "{value}": supported values: "All"'
            cause = Cause("FieldValueNotSupported", text, "dryRun")
            raise errors.invalid(f"{kind}Options", "meta.k8s.io", "", [cause])
    return "All" in values


async def body_of(request: web.Request) -> Any:
    """The decoded body of a create or update; None when there is none.

    Raises StatusError 415 for a media type that is not read, 400 for a body that is broken.
    """
    data = await request.read()
    if not data.strip():
        return None
    media_type = request.content_type
    if media_type == protobuf.MEDIA_TYPE:
        body = protobuf.decode(data)
        if body is None:
            raise errors.unsupported_media_type(_READ[:2])
        return body
    text = await request.text()
    if "Content-Type" not in request.headers:
        media_type = "application/json"
    if media_type not in {"application/json", "application/yaml"}:
        raise errors.unsupported_media_type(_READ)
    return decoded(text, is_yaml=media_type == "application/yaml")


async def patch_of(request: web.Request) -> Any:
    """The decoded body of a patch; apply patches may be YAML. Raises StatusError 400."""
    return decoded(await request.text(), is_yaml=request.content_type == APPLY_PATCH)


def decoded(text: str, *, is_yaml: bool) -> Any:
    """JSON or YAML as Python. Raises StatusError 400."""
    try:
        return yaml.load(text, _JsonLoader) if is_yaml else json.loads(text)
    except ValueError as error:
        raise errors.bad_request(
            "the object provided is unrecognized (must be of type the requested resource): "
            f"couldn't get version/kind; json parse error: {error}"
        ) from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise errors.bad_request(
            f"the object provided is unrecognized: error converting YAML to JSON: yaml: {told}"
        ) from error


class _JsonLoader(yaml.SafeLoader):
    """YAML with JSON's types: a time stays text."""


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
