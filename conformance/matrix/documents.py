"""Documents of a user's text, YAML or JSON, with the lines at which they begin."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from conformance import safe_yaml
from conformance.matrix import templates

_MOST_VALUES = 1_000_000
"""Values of one document, which may list thousands of VMIs; aliases make a short text monstrous."""


class MatrixFileError(ValueError):
    """The text cannot be used; the message begins with its source and line."""


def decoded(data: bytes, source: str) -> str:
    """A file's text: UTF-8, or the UTF-16 that a shell of Windows writes.

    Raises MatrixFileError.
    """
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise MatrixFileError(f"{source} is no text") from None


def documents(text: str, source: str) -> Iterator[tuple[int, object]]:
    """Line and value of every document that is not empty. Raises MatrixFileError."""
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{") and (found := _json_documents(text)):
        yield from found
    else:
        yield from _yaml_documents(text, source)


def shown(value: object) -> str:
    """A value, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_json(document: object, where: str) -> None:
    """Raises MatrixFileError for what JSON cannot hold, or too much of it."""
    left, seen = [document], 0
    while left:
        value: Any = left.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise MatrixFileError(f"{where}: the manifest holds more than {_MOST_VALUES} values")
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise MatrixFileError(f"{where}: the manifest holds {value}, which is no JSON number")
        elif not isinstance(value, str | int | float | bool | None):
            raise MatrixFileError(f"{where}: the manifest holds {shown(value)}, which is no JSON")


def _json_documents(text: str) -> list[tuple[int, object]]:
    """JSON objects one after the other; none when it is anything else, which YAML may be.

    YAML has no tabs where JSON may have them.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    found: list[tuple[int, object]] = []
    place = 0
    try:
        while rest := text[place:].lstrip():
            place = len(text) - len(rest)
            value, end = decoder.raw_decode(text, place)
            found.append((text.count("\n", 0, place) + 1, value))
            place = end
    except (ValueError, RecursionError):
        return []
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _yaml_documents(text: str, source: str) -> Iterator[tuple[int, object]]:
    for number, words in enumerate(text.splitlines(), start=1):
        if value := templates.value_in_comment(words):
            raise MatrixFileError(f"{source}:{number}: {value}: {templates.ADVICE}")
    line = 1
    try:
        loader = _Loader(text)
        while loader.check_node():
            if (node := loader.get_node()) is None:
                continue
            line = node.start_mark.line + 1
            loader.require_keys(node)
            value = loader.construct_document(node)
            if value is not None:
                yield line, value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = mark.line + 1 if mark else line
        raise MatrixFileError(_no_yaml(text, source, found, str(error.problem))) from error
    except yaml.reader.ReaderError as error:
        found = text.count("\n", 0, error.position) + 1
        raise MatrixFileError(f"{source}:{found}: this is no text: {error.reason}") from error
    except RecursionError as error:
        raise MatrixFileError(f"{source}:{line}: values are nested too deeply") from error
    except ValueError as error:
        raise MatrixFileError(f"{source}:{line}: a value cannot be read: {error}") from error


def _no_yaml(text: str, source: str, line: int, problem: str) -> str:
    """What is wrong with a text: whoever expands templates forgot this one, or it is no YAML."""
    lines = text.splitlines()
    for number in (line, line - 1):
        if 0 < number <= len(lines) and (found := templates.in_line(lines[number - 1])):
            return f"{source}:{number}: {found}: {templates.ADVICE}"
    for number, words in enumerate(lines, start=1):
        if templates.is_directive(words):
            return f"{source}:{number}: {words.strip()}: {templates.ADVICE}"
    return f"{source}:{line}: this is no YAML: {problem}"


class _Loader(safe_yaml.Loader):
    """Takes what JSON can hold, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are what JSON makes of them. Called by PyYAML alone."""
        return {_key(key): value for key, value in super().construct_mapping(node, deep).items()}

    def require_keys(self, node: yaml.Node) -> None:
        """Raises ConstructorError for a key that cannot be a string, or is there twice.

        Before anything is constructed: what is merged into a mapping may be there, too.
        """
        left, seen = [node], set[int]()
        while left:
            inner = left.pop()
            if id(inner) in seen or isinstance(inner, yaml.ScalarNode):
                continue
            seen.add(id(inner))
            if isinstance(inner, yaml.MappingNode):
                self._require_keys([key for key, _ in inner.value])
                left += [value for _, value in inner.value]
            else:
                left += inner.value

    def _require_keys(self, keys: list[yaml.Node]) -> None:
        seen: set[str] = set()
        for node in keys:
            if node.tag == "tag:yaml.org,2002:merge":
                continue
            key = _key(self.construct_object(node, deep=True))
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not a string", node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", node.start_mark
                )
            seen.add(key)


def _key(key: object) -> object:
    """A key as kubectl sends it: ``on: x`` is ``"true": "x"``."""
    if isinstance(key, bool):
        return str(key).lower()
    return str(key) if isinstance(key, int) else key


# Dates are for people: Kubernetes reads such a scalar as a string.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in safe_yaml.Loader.yaml_implicit_resolvers.items()
}


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """The value as a manifest. Raises MatrixFileError."""
    if not isinstance(value, dict):
        raise MatrixFileError(f"{where}: a manifest is a mapping, not {shown(value)}")
    return value
