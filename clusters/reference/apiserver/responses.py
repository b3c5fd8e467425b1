"""Answers, in the form that the client asked for with its Accept header."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from aiohttp import web

from clusters.reference.apiserver.errors import StatusError

Object = dict[str, Any]

JSON = "application/json"
YAML = "application/yaml"

Form = Literal["", "Table", "APIGroupDiscoveryList"]


@dataclass(frozen=True)
class Accepted:
    """What the client wants.

    Attributes:
        media_type: ``application/json`` or ``application/yaml``.
        form: what the object is to be turned into; empty for itself.
        content_type: with the parameters that name the form.
    """

    media_type: str
    form: Form = ""
    content_type: str = JSON


def accepted(header: str, forms: Iterable[Form] = ()) -> Accepted:
    """The first entry of an Accept header that can be served. Raises StatusError 406."""
    known = set(forms)
    for entry in (header or "*/*").split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        wanted = dict(part.partition("=")[::2] for part in parameters)
        if media_type in {"*/*", "application/*"}:
            media_type = JSON
        if media_type not in {JSON, YAML}:
            continue
        form = wanted.get("as", "")
        if not form:
            return Accepted(media_type, "", media_type)
        version = wanted.get("v", "")
        for name in known:
            if form == name and version in {"v1", "v2"}:
                content_type = f"{JSON};as={wanted['as']};v={version};g={wanted.get('g', '')}"
                return Accepted(JSON, name, content_type)
    message = f"only the following media types are accepted: {JSON}, {YAML}"
    raise StatusError(406, "NotAcceptable", message)


def answer(
    obj: Any, how: Accepted | None = None, *, status: int = 200, warnings: Iterable[str] = ()
) -> web.Response:
    """An object as the body of a response."""
    how = how or Accepted(JSON)
    text = encode(obj) if how.media_type == JSON else yaml.safe_dump(obj, sort_keys=False)
    response = web.Response(text=text, status=status)
    response.headers["Content-Type"] = how.content_type
    response.headers["Cache-Control"] = "no-cache, private"
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def refusal(error: StatusError) -> web.Response:
    """The Status of a refused request."""
    response = answer(error.status(), status=error.code)
    after = error.details.get("retryAfterSeconds")
    if after:
        response.headers["Retry-After"] = str(after)
    return response


def encode(obj: Any) -> str:
    """Compact JSON."""
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False)
