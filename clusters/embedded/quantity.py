"""Kubernetes quantities: ``200m``, ``64M``, ``2Gi``, ``1e3``.

The rules are those of k8s.io/apimachinery/pkg/api/resource: `value` and `milli` round away
from zero, as Quantity.Value and Quantity.MilliValue do.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_BINARY = {
    suffix: Decimal(1024) ** n for n, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)
}
_DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
}
_SYNTAX = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<power>[+-]?\d+))?"
)

Written = str | int | float
"""How a manifest may write a quantity."""


def parse(text: Written) -> Decimal:
    """The exact number. Raises ValueError."""
    match = _SYNTAX.fullmatch(str(text))
    if match is None or isinstance(text, bool):
        raise ValueError(f"{text!r} is not a quantity such as 2, 200m or 64M")
    number = Decimal(match["number"])
    if match["power"]:
        return number.scaleb(int(match["power"]))
    suffix = match["suffix"] or ""
    return number * (_BINARY[suffix] if suffix in _BINARY else _DECIMAL[suffix])


def value(text: Written | None) -> int:
    """Whole units, rounded away from zero; a missing quantity is 0."""
    return 0 if text is None else _away_from_zero(parse(text))


def milli(text: Written | None) -> int:
    """Thousandths, rounded away from zero; a missing quantity is 0."""
    return 0 if text is None else _away_from_zero(parse(text) * 1000)


def render_milli(thousandths: int) -> str:
    """Shortest text of a number of thousandths, as Kubernetes prints CPUs."""
    whole, rest = divmod(thousandths, 1000)
    return str(whole) if not rest else f"{thousandths}m"


def render_bytes(number: int) -> str:
    """Shortest text in binary units, as Kubernetes prints sums of Mi and Gi."""
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        unit = int(_BINARY[suffix])
        if number and number % unit == 0:
            return f"{number // unit}{suffix}"
    return str(number)


def _away_from_zero(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_CEILING if number > 0 else ROUND_FLOOR))
