"""Kubernetes resource quantities, exactly.

Written from the grammar that the Kubernetes API documents for Quantity
(apimachinery ``pkg/api/resource/quantity.go``): a signed decimal number with a binary,
decimal or exponent suffix, never finer than a billionth. It also says that a quantity is capped at
2^63-1; its code caps those with a binary suffix alone, so that others may be larger.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

LARGEST = Fraction(2**63 - 1)
"""What 64 bits hold."""

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
"""Decimal places from the point beyond which nobody needs to know the exact value."""


class MalformedQuantity(ValueError):  # noqa: N818 - named for what it is
    """The value is no Kubernetes quantity; the message quotes it."""


def parse_quantity(value: object) -> Fraction:
    """The number that a quantity in a manifest stands for.

    Args:
        value: a string, or a number as YAML and JSON allow: the API's schema takes both. Blanks
            around it are nothing, as the API has it.

    Returns:
        The exact value, rounded away from zero to a multiple of `FINEST`; of magnitudes beyond
        10^64 just that they are.

    Raises:
        MalformedQuantity: the value is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MalformedQuantity(f"{value!r} is neither a number nor a quantity in a string")
    text = str(value).strip()
    match = _GRAMMAR.fullmatch(text)
    if match is None or not text.isascii():
        raise MalformedQuantity(f"{value!r} is not a Kubernetes quantity")
    suffix = match["suffix"] or ""
    magnitude = _bounded(
        Decimal(match["number"]), int(match["exponent"] or 0), _SUFFIXES.get(suffix, Fraction(1))
    )
    if suffix.endswith("i"):
        magnitude = min(magnitude, LARGEST)
    return -magnitude if match["sign"] == "-" else magnitude


def _bounded(number: Decimal, exponent: int, unit: Fraction) -> Fraction:
    """number x 10^exponent x unit, without ever computing a monstrous power."""
    if number.is_zero():
        return Fraction(0)
    places = number.adjusted() + exponent
    if places > _BEYOND:
        return Fraction(10) ** _BEYOND
    if places < -_BEYOND:
        return FINEST
    exact = Fraction(number) * Fraction(10) ** exponent * unit
    return Fraction(-(-exact // FINEST)) * FINEST


def is_whole(value: Fraction) -> bool:
    """Whether it is an integer."""
    return value.denominator == 1
