"""YAML from anybody, read as Kubernetes reads it, such that no small text becomes a huge value.

PyYAML follows YAML 1.1 by the letter: to it ``1e1`` is a text, ``1:30`` the number 90, ``=`` an
error, and ``y`` a text. kubectl and the kubelet (sigs.k8s.io/yaml, which is go.yaml.in/yaml/v2,
``resolve.go``) have other numbers and booleans, which are the ones here.

An alias stands for all of what it names, and may name what has aliases: nine lines of YAML can
stand for a billion values ("billion laughs"). PyYAML shares them in memory, but whoever walks
through what it loaded does not end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

LARGEST = 1_000_000
"""Values that one document may stand for, its aliases written out."""
_DEEPEST = 64
"""Levels of brackets."""
_LONGEST_NUMBER = 64
"""Characters: many digits take time by the square of theirs."""
_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", *"nN", ""]),
    "bool": (
        re.compile(
            "[yY]|yes|Yes|YES|[nN]|no|No|NO|[oO]n|ON|[oO]ff|OFF|[tT]rue|TRUE|[fF]alse|FALSE"
        ),
        [*"yYnNoOtTfF"],
    ),
    "merge": (re.compile("<<"), ["<"]),
    "int": (
        re.compile("[-+]?(0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[0-7_]*|[1-9][0-9_]*)"),
        [*"-+0123456789"],
    ),
    "float": (
        re.compile(
            r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        [*"-+0123456789."],
    ),
}
"""What a scalar without quotes is, and how it may begin; a text where nothing fits whole."""
_BASES = {"0x": 16, "0o": 8, "0b": 2}


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with bounds: raises yaml.MarkedYAMLError beyond them."""

    def compose_document(self) -> yaml.Node | None:
        """One document. Called by PyYAML alone."""
        start = self.get_mark()
        try:
            node = super().compose_document()
        except RecursionError:
            raise _error("it is nested too deeply", start) from None
        if node is not None and _written_out(node, {}) > LARGEST:
            raise _error(f"with its aliases written out it has more than {LARGEST} values", start)
        return node

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        """An opening bracket. Called by PyYAML alone, which looks a thousand characters ahead in
        each level."""
        if self.flow_level >= _DEEPEST:
            raise _error("it is nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(token)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """An integer or a float. Called by PyYAML alone."""
        text = self.construct_scalar(node)
        if len(text) > _LONGEST_NUMBER:
            raise _error("it has a number of too many digits", node.start_mark)
        kind = node.tag.removeprefix(_TAG)
        if not _SCALARS[kind][0].fullmatch(text) and not _SCALARS["int"][0].fullmatch(text):
            raise _error(f"{text!r} is no {kind}", node.start_mark)
        if kind == "float":
            text = text.lower().replace("_", "")
            return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        return _integer(text.replace("_", ""))

    def construct_boolean(self, node: yaml.ScalarNode) -> bool:
        """True or false. Called by PyYAML alone."""
        text = self.construct_scalar(node)
        if not _SCALARS["bool"][0].fullmatch(text):
            raise _error(f"{text!r} is no bool", node.start_mark)
        return text.lower() in {"y", "yes", "true", "on"}


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, (_pattern, _first) in _SCALARS.items():
    Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"(?:{_pattern.pattern})$"), _first)
for _kind in ("int", "float"):
    Loader.add_constructor(f"{_TAG}{_kind}", Loader.construct_number)
Loader.add_constructor(f"{_TAG}bool", Loader.construct_boolean)


def _integer(text: str) -> int:
    """Of a number as Go writes one: 0x1f, 0o17, 017, 0b11 or 15."""
    digits = text.lstrip("+-").lower()
    base = _BASES.get(digits[:2], 8 if digits.startswith("0") else 10)
    number = int(digits.removeprefix(digits[:2] if digits[:2] in _BASES else ""), base)
    return -number if text.startswith("-") else number


def documents(text: str) -> Iterator[Any]:
    """The value of each document. Raises yaml.YAMLError or ValueError."""
    return iter(yaml.load_all(text, Loader))


def _written_out(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many values there are below a node; too many where it is below itself."""
    size = sizes.get(id(node))
    if size is None:
        sizes[id(node)] = LARGEST
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        size = sizes[id(node)] = 1 + sum(_written_out(child, sizes) for child in children)
    return size


def _error(what: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, what, mark)
