"""Covering arrays: few rows in which every allowed combination of t values occurs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import covertable

Row = Mapping[str, object]
"""A value for every axis."""

_SALT = "1"
"""Gave the fewest rows and CPUs; any other covers as well."""


@dataclass(frozen=True)
class Constraint:
    """A combination of values that is allowed.

    Attributes:
        axes: names of the axes that it looks at.
        allows: whether a row is allowed; sees rows in which at least those axes are set.
    """

    axes: tuple[str, ...]
    allows: Callable[[Row], bool]


def covering_array(
    axes: Mapping[str, Sequence[object]], constraints: Sequence[Constraint], strength: int
) -> tuple[Row, ...]:
    """Rows that obey all constraints and together hold every allowed `strength`-tuple.

    Deterministic: the same axes give the same rows in the same order.
    """
    rows = covertable.make(
        {name: list(values) for name, values in axes.items()},
        strength=strength,
        salt=_SALT,
        constraints=[
            {"operator": "fn", "requires": list(each.axes), "evaluate": each.allows}
            for each in constraints
        ],
    )
    # The library gives the columns of a row in the order in which it filled them.
    return tuple({name: row[name] for name in axes} for row in rows)
