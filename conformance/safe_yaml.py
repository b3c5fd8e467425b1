"""YAML from anybody, such that no small text becomes a huge value.

An alias stands for all of what it names, and may name what has aliases: nine lines of YAML can
stand for a billion values ("billion laughs"). PyYAML shares them in memory, but whoever walks
through what it loaded does not end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

LARGEST = 1_000_000
"""Values that one document may stand for, its aliases written out."""
_DEEPEST = 64
"""Levels of brackets."""
_LONGEST_NUMBER = 64
"""Characters: YAML 1.1 has numbers of base 60, which take time by the square of theirs."""


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

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """An integer or a float. Called by PyYAML alone."""
        if len(node.value) > _LONGEST_NUMBER:
            raise _error("it has a number of too many digits", node.start_mark)
        if node.tag.endswith(":int"):
            return self.construct_yaml_int(node)
        return self.construct_yaml_float(node)


for _kind in ("int", "float"):
    Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", Loader.construct_number)


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
