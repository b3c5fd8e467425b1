"""Recognizes manifests that are templates still: ``$CPU``, ``{{ .Values.cpu }}``, ``<cpu>``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

ADVICE = (
    "this is a template: expand it first, with what it is made for (helm template, envsubst, "
    "oc process, kustomize build, ytt)"
)

_FREE = frozenset(
    {
        "annotations",
        "args",
        "binaryData",
        "command",
        "data",
        "description",
        "kernelArgs",
        "managedFields",
        "networkData",
        "networkDataBase64",
        "script",
        "status",
        "stringData",
        "userData",
        "userDataBase64",
    }
)
"""Fields whose text is for a guest or a reader, where a dollar or a brace is nothing special."""

_NUMBERS = frozenset(
    {
        "capacity",
        "cores",
        "cpu",
        "guest",
        "maxGuest",
        "maxSockets",
        "memory",
        "pageSize",
        "replicas",
        "sockets",
        "storage",
        "supplementalPoolThreadCount",
        "threads",
    }
)
_COUNTS = _NUMBERS - {"cpu", "memory", "storage"}
"""Those that are never objects."""
_ANYWHERE = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|<%.*?%>|\$\{[^}\s]*\}|\$\([^)\s]*\)|#\{[^}\s]+\}#?|\$[A-Za-z_]\w*", re.S
)
_WHOLE = re.compile(
    r"%[A-Za-z_]\w*%|%\(\w+\)[sd]|<[^<>\s][^<>]*>|@{1,2}\w+@{1,2}|__\w+__|\[\[.*\]\]|\(\(.*\)\)",
    re.S,
)
_SUFFIXED = r"(?:[munkKMGTPE]i?)?"
_IN_NUMBER = re.compile(
    rf"(?:%\w+%|%\(\w+\)[sd]|<[^<>]+>|@{{1,2}}\w+@{{1,2}}|__\w+__|\{{\w+\}}){_SUFFIXED}"
    r"|[A-Z][A-Z0-9_-]{2,}",
    re.S,
)
_IN_TEXT = re.compile(
    r"\{\{-?.*?-?\}\}|\{%.*?%\}|<%.*?%>|\$\{[^}\s]*\}|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%"
)
_OF_YTT = re.compile(r"\s*(?:- +)?[\w./\"'-]+:\s+(#@ ?[^\s#].*)")
_AT_THE_BEGINNING = re.compile(r"\s*(\{\{|\{%|<%)")


def placeholders(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Paths and texts of what somebody should have filled in."""
    yield from _below(manifest, "", "")


def in_line(line: str) -> str | None:
    """What of a line that is no YAML belongs to a template; None when nothing does."""
    found = _IN_TEXT.search(line)
    return found[0] if found else None


def value_in_comment(line: str) -> str | None:
    """The comment that is to become the value of a line, as in ``cores: #@ data.values.cores``."""
    found = _OF_YTT.fullmatch(line)
    return found[1] if found else None


def is_directive(line: str) -> bool:
    """Whether a line is a template's alone."""
    return _AT_THE_BEGINNING.match(line) is not None


def _below(value: Any, path: str, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and _is_in_braces(value, path):
        yield path, f"{{{next(iter(value))}}}"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            below = f"{path}.{name}".lstrip(".")
            if _ANYWHERE.search(str(name)):
                yield below, str(name)
            if name not in _FREE:
                yield from _below(inner, below, str(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _below(inner, f"{path}[{index}]", key)
    elif isinstance(value, str):
        text = value.strip()
        number = key in _NUMBERS and _IN_NUMBER.fullmatch(text)
        if number or _ANYWHERE.search(text) or _WHOLE.fullmatch(text):
            yield path, value


def _is_in_braces(value: Mapping[str, Any], path: str) -> bool:
    """Whether a number is written as ``{name}``, which is a mapping in YAML."""
    parent, _, key = path.rpartition(".")
    counted = key in _COUNTS or (key in _NUMBERS and parent.endswith(("requests", "limits")))
    return counted and list(value.values()) == [None]
