from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.matrix.quantity import (
    FINEST,
    LARGEST,
    MalformedQuantity,
    is_whole,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", Fraction(0)),
        ("2", Fraction(2)),
        (2, Fraction(2)),
        (2.0, Fraction(2)),
        ("+2", Fraction(2)),
        ("-2", Fraction(-2)),
        ("2.", Fraction(2)),
        (".5", Fraction(1, 2)),
        ("0.5", Fraction(1, 2)),
        ("1500m", Fraction(3, 2)),
        ("2000m", Fraction(2)),
        ("64M", Fraction(64_000_000)),
        ("64Mi", Fraction(64 * 2**20)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1E", Fraction(10**18)),
        ("1E3", Fraction(1000)),
        ("12e-1", Fraction(12, 10)),
        ("100n", Fraction(1, 10**7)),
        ("0.1n", FINEST),
        ("1e-400", FINEST),
        ("-1e-400", -FINEST),
        ("16Ei", LARGEST),
        ("1e30", Fraction(10**30)),
        ("1e999999999", Fraction(10**64)),
        ("-1e999999999", Fraction(-(10**64))),
        ("0e999999999", Fraction(0)),
        ("9" * 5000, Fraction(10**64)),
        (10**30, Fraction(10**30)),
        (0.5, Fraction(1, 2)),
        (1e-7, Fraction(1, 10**7)),
        (" 2", Fraction(2)),
        ("2\n", Fraction(2)),
    ],
)
def test_a_quantity_is_read_as_kubernetes_documents_it(text: object, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "two", "1,5", "1.2.3", "0x2", "1Kii", "1ki", "--1", "+-1", "1e"),
        *("1e1.5", ".", "-", "Mi", "1 Mi", "1MiB", "²", "１", "1_000", "inf", "nan"),
        *("1e" + "9" * 30, True, None, float("nan"), float("inf"), [], {}, b"1"),
    ],
)
def test_a_malformed_quantity_is_refused_and_quoted(value: object) -> None:
    with pytest.raises(MalformedQuantity) as refused:
        parse_quantity(value)
    assert repr(value) in str(refused.value)


UNITS = {
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(1000),
    "Ki": Fraction(1024),
    "Gi": Fraction(1024**3),
}


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(UNITS)))
def test_a_whole_mantissa_times_a_suffix_is_exact(mantissa: int, suffix: str) -> None:
    exact = mantissa * UNITS[suffix]
    if suffix.endswith("i"):
        exact = max(-LARGEST, min(LARGEST, exact))
    assert parse_quantity(f"{mantissa}{suffix}") == exact


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=9))
def test_nine_decimal_places_are_exact(number: object) -> None:
    assert parse_quantity(f"{number:f}") == Fraction(str(number))


@given(st.text(max_size=12) | st.from_regex(r"[+-]?[0-9.]*[eEnumkKMGTPi0-9+-]*", fullmatch=True))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        value = parse_quantity(text)
    except MalformedQuantity:
        return
    assert abs(value) <= 10**65
    assert is_whole(value / FINEST)
