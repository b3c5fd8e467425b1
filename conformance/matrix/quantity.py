"""Kubernetes resource quantities, exactly.

Written from the grammar that the Kubernetes API documents for Quantity
(apimachinery ``pkg/api/resource/quantity.go``): a signed decimal number with a binary,
decimal or exponent suffix, capped at 2^63-1 and never finer than a billionth.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

LARGEST = Fraction(2**63 - 1)
"""Larger magnitudes are capped to this."""

FINEST = Fraction(1, 10**9)
"""Finer values are rounded away from zero to a multiple of this."""

_GRAMMAR = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,18}))?"
)

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}

_BEYOND = 64
"""Decimal places from the point beyond which a value is capped or rounded in any case."""


class MalformedQuantity(ValueError):  # noqa: N818 - named for what it is
    """The value is no Kubernetes quantity; the message quotes it."""


def parse_quantity(value: object) -> Fraction:
    """The number that a quantity in a manifest stands for.

    Args:
        value: a string, or an integer as YAML and JSON allow. A number with a fraction is
            malformed, as the API's schema wants an integer or a string there.

    Returns:
        The exact value; capped at `LARGEST`, rounded up to a multiple of `FINEST`.

    Raises:
        MalformedQuantity: the value is anything else.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-LARGEST, min(LARGEST, Fraction(value)))
    if not isinstance(value, str):
        raise MalformedQuantity(f"{value!r} is neither an integer nor a quantity in a string")
    match = _GRAMMAR.fullmatch(value)
    if match is None or not value.isascii():
        raise MalformedQuantity(f"{value!r} is not a Kubernetes quantity")
    number = Decimal(match["number"])
    magnitude = _bounded(number, int(match["exponent"] or 0), _SUFFIXES.get(match["suffix"] or ""))
    return -magnitude if match["sign"] == "-" else magnitude


def _bounded(number: Decimal, exponent: int, unit: Fraction | None) -> Fraction:
    """number x 10^exponent x unit, without ever computing a monstrous power."""
    if number.is_zero():
        return Fraction(0)
    places = number.adjusted() + exponent
    if places > _BEYOND:
        return LARGEST
    if places < -_BEYOND:
        return FINEST
    exact = Fraction(number) * Fraction(10) ** exponent * (unit or 1)
    return min(LARGEST, Fraction(-(-exact // FINEST)) * FINEST)


def is_whole(value: Fraction) -> bool:
    """Whether it is an integer."""
    return value.denominator == 1
