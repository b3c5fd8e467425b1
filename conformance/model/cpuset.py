"""A set of CPU ids, written as Linux writes it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

MOST_CPUS = 8192
"""Ids are smaller: the largest NR_CPUS that Linux can be built for (arch/x86/Kconfig,
NR_CPUS_RANGE_END; other architectures have less). A longer list is none that a kernel wrote, and
its set might not fit into memory."""
_LONGEST = 8 * MOST_CPUS
"""Characters of a list."""


class CpuSet(frozenset[int]):
    """An immutable set of CPU ids; ``str()`` gives the list format of cpuset(7), ``0-2,7``.

    Set operators return CpuSets, so that what they give can be shown as it is.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> CpuSet:
        """Reads the list format of cpuset(7): ``0-2,7``; white space around it is dropped.

        The empty text is the empty set. Raises ValueError, quoting the text, for anything
        else, ids from `MOST_CPUS` and strides (``0-6:2``) included: no source that we read
        writes them.
        """
        stripped = text.strip()
        if not stripped:
            return cls()
        if len(stripped) > _LONGEST:
            raise ValueError(f"not a CPU list: {text[:100]!r} and so on")
        cpus: set[int] = set()
        for part in stripped.split(","):
            first, dash, last = part.strip().partition("-")
            low = _id(first, text)
            high = _id(last, text) if dash else low
            if high < low:
                raise ValueError(f"not a CPU list: {text!r}")
            cpus.update(range(low, high + 1))
        return cls(cpus)

    def __and__(self, other: Iterable[int]) -> CpuSet:  # type: ignore[override]
        return CpuSet(self.intersection(other))

    def __or__(self, other: Iterable[int]) -> CpuSet:  # type: ignore[override]
        return CpuSet(self.union(other))

    def __sub__(self, other: Iterable[int]) -> CpuSet:  # type: ignore[override]
        return CpuSet(self.difference(other))

    def __str__(self) -> str:
        return _text(self)

    def __repr__(self) -> str:
        return f"CpuSet({str(self)!r})"

    @classmethod
    def union_of(cls, sets: Iterable[Iterable[int]]) -> CpuSet:
        """The union of any number of sets."""
        return cls(frozenset().union(*sets))


def _id(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"not a CPU list: {text!r}")
    if len(digits.lstrip("0")) > len(str(MOST_CPUS)) or int(digits) >= MOST_CPUS:
        raise ValueError(f"not a CPU list, with an id from {MOST_CPUS}: {text!r}")
    return int(digits)


@lru_cache(maxsize=4096)
def _text(cpus: CpuSet) -> str:
    """Findings show the same few sets of a node over and over."""
    if not cpus:
        return "(empty)"
    ids = sorted(cpus)
    starts = [ids[0]] + [b for a, b in pairwise(ids) if b != a + 1]
    ends = [a for a, b in pairwise(ids) if b != a + 1] + [ids[-1]]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
