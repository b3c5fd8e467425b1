"""The JSON form of the report document, as it is written, described and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from textwrap import shorten
from typing import Any

from reports.document import VERSION, Document, DocumentError
from reports.former import upgraded


@cache
def schema() -> Mapping[str, Any]:
    """The published JSON schema of the document."""
    text = resources.files("reports").joinpath("report.schema.json").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def dump(document: Document) -> str:
    """The document as JSON text, as `load` reads it: one finding, case or node a line."""
    members = ",\n".join(
        f"{json.dumps(each.name)}: {_member(getattr(document, each.name))}"
        for each in fields(document)
    )
    return f"{{\n{members}\n}}\n"


def _member(value: object) -> str:
    if isinstance(value, tuple):
        lines = ",\n ".join(map(_json, value))
        return f"[\n {lines}\n]" if lines else "[]"
    return _json(value)


def _json(value: object) -> str:
    return json.dumps(value, default=_fields, ensure_ascii=False, allow_nan=False)


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass one level deep; json asks for what is inside, without copying it all."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def load(text: str) -> Document:
    """Reads what `dump` wrote, and what it wrote one version ago.

    Raises:
        DocumentError: the text is not JSON, comes from another version of the document's
            form, or does not match the schema.
    """
    # Both are needed only to read a report, never to make one.
    import cattrs
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not a report document: not JSON: {error}") from error
    data = upgraded(data)
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise DocumentError(
            f"the report document has version {version} and this tool reads version {VERSION}; "
            "use the tool that wrote it (run.tool_version names it)"
        )
    mismatch = best_match(Draft202012Validator(schema()).iter_errors(data))
    if mismatch is not None:
        message = shorten(mismatch.message, 200, placeholder=" ...")
        raise DocumentError(f"not a report document: at {mismatch.json_path}: {message}")
    return cattrs.structure(data, Document)
