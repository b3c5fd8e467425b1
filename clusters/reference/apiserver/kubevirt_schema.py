"""Schemas of KubeVirt's types, from ``kubevirt_schema.yaml``, which explains its notation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from clusters.reference.apiserver.builtin_schema import model
from clusters.reference.apiserver.schema import Schema

DATA = Path(__file__).with_suffix(".yaml")
_WORDS = {
    "any": Schema("any"),
    "bool": Schema("boolean"),
    "count": Schema("integer", minimum=0),
    "int": Schema("integer"),
    "nothing": Schema("object"),
    "open": Schema("object", open=True),
    "port": Schema("int-or-string"),
    "quantity": Schema("quantity"),
    "text": Schema("string"),
    "time": Schema("date-time"),
}


def kubevirt_schemas() -> Mapping[str, Schema]:
    """The schema of whole objects, by kind; what two kinds share is the same schema."""
    reader = _Reader()
    return {
        kind: reader.resource(fields) for kind, fields in yaml.safe_load(DATA.read_text()).items()
    }


class _Reader:
    def __init__(self) -> None:
        self._read: dict[int, Schema] = {}

    def resource(self, fields: Any) -> Schema:
        schema = self._schema(fields)
        shared = {"apiVersion": _WORDS["text"], "kind": _WORDS["text"]}
        properties = {**shared, "metadata": model("V1ObjectMeta"), **schema.properties}
        return replace(schema, properties=properties)

    def _schema(self, data: Any) -> Schema:
        if isinstance(data, str):
            word, _, text = data.partition(" -- ")
            return _described(_word(word), text)
        if id(data) not in self._read:  # an alias is the very object that its anchor is
            self._read[id(data)] = (
                self._array(data) if isinstance(data, list) else self._object(data)
            )
        return self._read[id(data)]

    def _array(self, data: list[Any]) -> Schema:
        (only,) = data
        items = self._schema(only)
        return Schema("array", description=items.description, items=items)

    def _object(self, data: dict[str, Any]) -> Schema:
        fields = {name: self._schema(below) for name, below in _fields(data)}
        return Schema(
            "object",
            description=data.get("", ""),
            properties={name.removesuffix("!"): below for name, below in fields.items()},
            required=frozenset(name[:-1] for name in fields if name.endswith("!")),
            open="*" in data,
        )


def _fields(data: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for names, below in data.items():
        if names not in ("", "*"):
            yield from ((name, below) for name in names.split(", "))


def _word(word: str) -> Schema:
    if word in _WORDS:
        return _WORDS[word]
    if word.endswith("[]"):
        return Schema("array", items=_word(word[:-2]))
    if word.endswith("{}"):
        return Schema("map", items=_word(word[:-2]))
    if word.startswith("one of "):
        return Schema("string", enum=tuple(word.split()[2:]))
    return model(word)


def _described(schema: Schema, text: str) -> Schema:
    return replace(schema, description=text) if text else schema
