"""What becomes of evidence that a parser does not understand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from conformance.parsing.errors import ParseError

T = TypeVar("T")

_NOT_UNDERSTOOD = (
    *(AttributeError, LookupError, TypeError, ValueError),
    *(ArithmeticError, RecursionError),
)


class Layers:
    """Runs parsers; what one of them does not understand becomes not observed.

    Attributes:
        not_observed: the first reason by layer.
    """

    def __init__(self, not_observed: Mapping[str, str]) -> None:
        self.not_observed = dict(not_observed)

    def read(self, layer: str, parse: Callable[[], T]) -> T | None:
        """What the parser gives; None, with its reason, where it does not understand."""
        try:
            return parse()
        except ParseError as error:
            self.not_observed.setdefault(layer, str(error))
        except _NOT_UNDERSTOOD as error:
            # Evidence may come from anywhere; an object of another shape is no reason to crash.
            self.not_observed.setdefault(layer, f"{layer} is not what was expected: {error!r:.300}")
        return None
