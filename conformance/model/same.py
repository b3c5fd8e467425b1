"""Values as the key of a cache: for what is large, shared and never changed."""

from __future__ import annotations

from typing import Generic, TypeVarTuple

Ts = TypeVarTuple("Ts")


class Same(Generic[*Ts]):
    """A key that is equal to one of the very same objects alone: comparing costs too much.

    It keeps the objects alive, so that their ids stay theirs.
    """

    __slots__ = ("values",)

    def __init__(self, *values: *Ts) -> None:
        self.values = values

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.values)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and list(map(id, self.values)) == list(map(id, other.values))
