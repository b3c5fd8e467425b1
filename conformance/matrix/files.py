"""Turns a user's own VMI manifests, one YAML document each, into cases.

Takes text and gives cases; reading the file is the caller's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from conformance.matrix.cases import Case, of_manifest

_KIND = "VirtualMachineInstance"
_GROUP = "kubevirt.io/"
_NAME_LENGTH = 63
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MOST_NODES = 100_000
"""YAML values in one document; aliases can make a short text monstrous."""


class MatrixFileError(ValueError):
    """The text cannot be used; the message begins with its source and line."""


def cases_of(text: str, source: str, profile: str = "v1") -> tuple[Case, ...]:
    """The cases of a multi-document YAML text.

    A VMI without a name is called after its place in the file; its namespace is dropped,
    since a run has its own.

    Args:
        text: the documents; empty ones are skipped.
        source: name of the file, for messages.
        profile: the generation whose promise is the measure.

    Raises:
        MatrixFileError: the text is no YAML, a document is no VMI, a name cannot be used or
            is there twice, or there is no VMI at all.
    """
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for number, (line, document) in enumerate(_documents(text, source), start=1):
        manifest = _vmi(document, f"{source}:{line}")
        name = _name(manifest, number, f"{source}:{line}")
        if name in lines:
            raise MatrixFileError(
                f"{source}:{line}: the name {name} is used twice, first in line {lines[name]}"
            )
        lines[name] = line
        cases.append(of_manifest(name, f"{name}, of {source}", manifest, profile))
    if not cases:
        raise MatrixFileError(f"{source}:1: there is no {_KIND} in this file")
    return tuple(cases)


def _documents(text: str, source: str) -> Iterator[tuple[int, object]]:
    """Line and value of every document that is not empty."""
    line = 1
    try:
        loader = _Loader(text)
        while loader.check_node():
            if (node := loader.get_node()) is None:
                continue
            line = node.start_mark.line + 1
            value = loader.construct_document(node)
            if value is not None:
                yield line, value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = mark.line + 1 if mark else line
        raise MatrixFileError(f"{source}:{found}: this is no YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        found = text.count("\n", 0, error.position) + 1
        raise MatrixFileError(f"{source}:{found}: this is no text: {error.reason}") from error
    except RecursionError as error:
        raise MatrixFileError(f"{source}:{line}: values are nested too deeply") from error
    except ValueError as error:
        raise MatrixFileError(f"{source}:{line}: a value cannot be read: {error}") from error


class _Loader(yaml.SafeLoader):
    """Takes what JSON can hold, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not a string", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# Dates are for people: Kubernetes reads such a scalar as a string.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _vmi(document: object, where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise MatrixFileError(f"{where}: a manifest is a mapping, not {_shown(document)}")
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind == "VirtualMachine":
        raise MatrixFileError(
            f"{where}: a VirtualMachine is not judged; write its template as a {_KIND}"
        )
    if kind != _KIND:
        raise MatrixFileError(f"{where}: only a {_KIND} is judged, not kind {_shown(kind)}")
    if not isinstance(version, str) or not version.startswith(_GROUP):
        raise MatrixFileError(
            f"{where}: the apiVersion of a {_KIND} is such as kubevirt.io/v1, not {_shown(version)}"
        )
    _count_values(document, where)
    return document


def _count_values(document: Mapping[str, Any], where: str) -> None:
    """Raises for what JSON cannot hold, or too much of it."""
    left, seen = [document], 0
    while left:
        value: Any = left.pop()
        seen += 1
        if seen > _MOST_NODES:
            raise MatrixFileError(f"{where}: the manifest holds more than {_MOST_NODES} values")
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise MatrixFileError(f"{where}: the manifest holds {value}, which is no JSON number")
        elif not isinstance(value, str | int | float | bool | None):
            raise MatrixFileError(f"{where}: the manifest holds {_shown(value)}, which is no JSON")


def _name(manifest: dict[str, Any], number: int, where: str) -> str:
    """Its name, given where it has none; drops its namespace."""
    metadata = manifest.setdefault("metadata", {})
    if metadata is None:
        metadata = manifest["metadata"] = {}
    if not isinstance(metadata, dict):
        raise MatrixFileError(f"{where}: metadata is a mapping, not {_shown(metadata)}")
    metadata.pop("namespace", None)
    generated = metadata.pop("generateName", None)
    name = metadata.setdefault("name", f"{generated or 'vmi-'}{number}")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise MatrixFileError(
            f"{where}: metadata.name is {_shown(name)}; it is made of at most {_NAME_LENGTH} small "
            "letters, digits and dashes, with a letter or digit at both ends"
        )
    return name


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
