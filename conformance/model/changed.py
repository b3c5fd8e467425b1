"""Frozen values that are changed by the hundred thousand."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def changed(value: T, **fields: object) -> T:
    """The value with other fields: `dataclasses.replace` in a tenth of its time.

    Args:
        value: of a dataclass that has no slots, no ``__post_init__`` and no cached properties.
        fields: as they are to be; that the class has them is not looked at.
    """
    found = object.__new__(type(value))
    found.__dict__.update(value.__dict__, **fields)
    return found
