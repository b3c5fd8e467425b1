"""Kubernetes quantities: ``200m``, ``64M``, ``2Gi``, ``1e3``.

As k8s.io/apimachinery/pkg/api/resource has them (quantity.go, amount.go, math.go), its limits
included: numbers of up to 18 digits keep a mantissa and an exponent, and what of them does not
fit 64 bits counts as 0; others are big decimals, of which 64 bits are taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal

_UNITS = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SUFFIXES = {suffix: 10 * power for power, suffix in enumerate(_UNITS, 1)}
_POWERS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NAMES = {power: suffix for suffix, power in _POWERS.items()}
_SCAN = re.compile(
    r"(?P<sign>[+-]?)0*(?P<num>[0-9]*)(?:\.(?P<denom>[0-9]*))?"
    r"(?P<suffix>[eEinumkKMGTP]*[+-]?[0-9]*)",
    re.ASCII,
)
"""parseQuantityString: whatever comes after the number is the suffix, to be looked up."""
_EXPONENT = re.compile(r"[eE](?P<power>[+-]?[0-9]{1,18})", re.ASCII)
_FAST_DIGITS = 18
_NANO = -9
_INT64_MAX = 2**63 - 1
_HUGE_POWER = 400
"""Above any exponent that anybody writes; Go would compute for hours."""

FORMAT_WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
SUFFIX_WRONG = "unable to parse quantity's suffix"

Written = str | int | float
"""How a manifest may write a quantity."""


class MalformedError(ValueError):
    """It is no quantity; the message is Kubernetes' own."""


@dataclass(frozen=True)
class Quantity:
    """``mantissa`` x 10^``power``.

    Attributes:
        fast: whether it is an int64Amount; else an inf.Dec.
        kept: the text that it is written as again; empty when that has to be worked out.
    """

    mantissa: int
    power: int
    form: Literal["decimal", "binary", "exponent"]
    fast: bool
    kept: str = ""

    def scaled(self, power: int) -> int:
        """In units of 10^power, rounded away from zero (ScaledValue)."""
        shift = self.power - power
        if shift < 0:
            unit = 10 ** min(-shift, _HUGE_POWER)
            whole = -(-abs(self.mantissa) // unit)
            return _int64(whole if self.mantissa > 0 else -whole)
        number = self.mantissa * 10 ** min(shift, _HUGE_POWER)
        if self.fast:
            return number if -(2**63) <= number <= _INT64_MAX else 0
        return _int64(number)

    @property
    def canonical(self) -> str:
        """How Kubernetes writes it (MarshalJSON)."""
        if self.kept or not self.mantissa:
            return self.kept or "0"
        number = self.mantissa * 10**self.power if 0 <= self.power <= _HUGE_POWER else None
        if self.form == "binary" and number is not None and abs(number) >= 1024:
            power = 0
            while number % 1024 == 0 and power < len(_UNITS):
                number, power = number // 1024, power + 1
            return f"{number}{('', *_UNITS)[power]}"
        mantissa, power = self.mantissa, self.power
        while mantissa % 10 == 0:
            mantissa, power = mantissa // 10, power + 1
        mantissa, power = mantissa * 10 ** (power % 3), power - power % 3
        if self.form == "exponent":
            return f"{mantissa}e{power}" if power else str(mantissa)
        return f"{mantissa}{_NAMES.get(power, '')}"


@lru_cache(maxsize=4096)
def _read(text: str) -> Quantity:
    match = _SCAN.fullmatch(text)
    if match is None or not text:
        raise MalformedError(FORMAT_WRONG)
    if text == "0":
        return Quantity(0, 0, "decimal", fast=True, kept=text)
    num, denom, suffix = match["num"] or "0", match["denom"] or "", match["suffix"]
    sign = -1 if match["sign"] == "-" else 1
    if suffix in _SUFFIXES:
        return _binary(text, sign, num, denom, _SUFFIXES[suffix])
    exponent = _EXPONENT.fullmatch(suffix)
    if suffix not in _POWERS and exponent is None:
        raise MalformedError(SUFFIX_WRONG)
    form: Literal["decimal", "exponent"] = "exponent" if exponent else "decimal"
    power = int(exponent["power"]) if exponent else _POWERS[suffix]
    power, digits = power - len(denom), num + denom
    if len(digits) <= _FAST_DIGITS and power >= _NANO:
        keeps = power % 3 == 0 and not digits.endswith("000") and digits[0] != "0"
        return Quantity(sign * int(digits), power, form, fast=True, kept=text if keeps else "")
    return _rounded(sign, int(digits), power, form)


def _binary(text: str, sign: int, num: str, denom: str, bits: int) -> Quantity:
    exact = int(num + denom) << bits
    if not denom and 15 - len(num) - int(bits * 3 / 10) - 1 >= 0:
        kept = text if int(num) & 7 else ""
        return Quantity(sign * exact, 0, "binary", fast=True, kept=kept)
    limit = _INT64_MAX * 10 ** len(denom)
    mantissa, power = (exact, -len(denom)) if exact <= limit else (_INT64_MAX, 0)
    return _rounded(sign, mantissa, power, "binary")


def _rounded(
    sign: int, mantissa: int, power: int, form: Literal["decimal", "binary", "exponent"]
) -> Quantity:
    """Nothing is finer than a billionth: what is, becomes the next one away from zero."""
    if power < _NANO:
        mantissa = -(-mantissa // 10 ** min(_NANO - power, _HUGE_POWER + len(str(mantissa))))
        power = _NANO
    while form == "binary" and power < 0 and mantissa % 10 == 0:
        mantissa, power = mantissa // 10, power + 1
    return Quantity(sign * mantissa, power, form, fast=False)


def _int64(number: int) -> int:
    """The lowest 64 bits, as Go takes them."""
    return (number + 2**63) % 2**64 - 2**63


def read(text: Written) -> Quantity:
    """The quantity of a JSON value. Raises MalformedError."""
    if isinstance(text, bool):
        raise MalformedError(FORMAT_WRONG)
    if isinstance(text, float):
        written = repr(text)
        text = written if abs(text) < 1e-6 or abs(text) >= 1e21 else f"{Decimal(written):f}"
    return _read(str(text).strip())


def parse(text: Written) -> Decimal:
    """The exact number. Raises MalformedError."""
    found = read(text)
    return Decimal(found.mantissa).scaleb(found.power)


def is_zero(text: Written | None) -> bool:
    """Whether it is zero, or missing."""
    return text is None or read(text).mantissa == 0


def canonical(text: Written) -> str:
    """As Kubernetes stores it: ``2`` of ``2000m``."""
    return read(text).canonical


def value(text: Written | None) -> int:
    """Whole units, rounded away from zero; a missing quantity is 0."""
    return 0 if text is None else read(text).scaled(0)


def milli(text: Written | None) -> int:
    """Thousandths, rounded away from zero; a missing quantity is 0."""
    return 0 if text is None else read(text).scaled(-3)


def is_integer(text: Written | None) -> bool:
    """Whether 1000 times the value are the thousandths, in 64 bits (validateCPULimitIsInteger)."""
    return _int64(value(text) * 1000) == milli(text)


def render_milli(thousandths: int) -> str:
    """Shortest text of a number of thousandths, as Kubernetes prints CPUs."""
    whole, rest = divmod(thousandths, 1000)
    return str(whole) if not rest else f"{thousandths}m"


def render_bytes(number: int) -> str:
    """Shortest text in binary units, as Kubernetes prints sums of Mi and Gi."""
    for suffix in reversed(_UNITS):
        unit = 1 << _SUFFIXES[suffix]
        if number and number % unit == 0:
            return f"{number // unit}{suffix}"
    return str(number)
