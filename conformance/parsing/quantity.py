"""Kubernetes quantities, exactly.

Source of the rule: k8s.io/apimachinery/pkg/api/resource/quantity.go: a signed decimal number
with a binary suffix (Ki to Ei), a decimal one (n, u, m, none, k, M to E) or an exponent.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from conformance.parsing.errors import ParseError

_FORM = re.compile(
    # In no two ways: a text that matches neither would be tried in all of them.
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,9}))?"
)
_LONGEST = 64
"""Characters: a quantity is less than 2^63 and has nine decimals at the most."""
_BINARY = {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", 1)},
}
_SCALE = _BINARY | _DECIMAL
_LARGEST_EXPONENT = 30


@lru_cache(maxsize=4096)
def _value(text: str) -> Fraction | None:
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    exponent = int(match["exponent"] or 0)
    if abs(exponent) > _LARGEST_EXPONENT:
        return None
    return Fraction(match["number"]) * _SCALE.get(match["suffix"], 1) * Fraction(10) ** exponent


def quantity(value: object, source: str) -> Fraction:
    """The exact value of ``1500m``, ``2``, ``64M``, ``1e3``; numbers of YAML are taken as text.

    Raises:
        ParseError: it is no quantity.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = value if isinstance(value, str) else repr(value)
        found = _value(text) if len(text) <= _LONGEST else None
        if found is not None:
            return found
    raise ParseError("a Kubernetes quantity such as 1500m or 64Mi", value, source)


def milli(value: object, source: str) -> int:
    """The quantity in thousandths, rounded up as Kubernetes does (Quantity.MilliValue)."""
    return _round_up(quantity(value, source), 1000)


def whole(value: object, source: str) -> int:
    """The quantity in ones, rounded up (Quantity.Value)."""
    return _round_up(quantity(value, source), 1)


def _round_up(exact: Fraction, scale: int) -> int:
    return -(-exact.numerator * scale // exact.denominator)
