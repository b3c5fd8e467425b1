"""What several snapshots have in common, and what was made of it: once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class Shared(Generic[*Ts]):
    """Values that never change, with what was derived of them.

    A full node is far larger than what is a VMI's own: it is parsed, and its pool put together,
    once for everybody who was looked at there at that moment. What was made lives as long as
    this object, which is handed from snapshot to snapshot.
    """

    __slots__ = ("_made", "values")

    def __init__(self, *values: *Ts) -> None:
        self.values = values
        self._made: dict[Callable[..., Any], Any] = {}

    def once(self, make: Callable[[*Ts], T]) -> T:
        """What `make`, a pure function, makes of the values; made when it is first asked for."""
        if make not in self._made:
            self._made[make] = make(*self.values)
        found: T = self._made[make]
        return found
