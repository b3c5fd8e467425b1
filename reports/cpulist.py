"""CPU lists as Linux writes them, in documents that anybody may have made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

_MOST = 8192
_PART = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def parsed(text: str) -> frozenset[int]:
    """The ids of a list such as ``0-2,7``; parts that are none are passed over."""
    cpus: set[int] = set()
    for part in text.split(","):
        if found := _PART.fullmatch(part.strip()):
            first, last = int(found[1]), int(found[2] or found[1])
            cpus.update(range(first, min(last, _MOST) + 1))
    return frozenset(cpus)


def written(cpus: Iterable[int]) -> str:
    """The list of these ids; empty for none."""
    ids = sorted(set(cpus))
    if not ids:
        return ""
    starts = [ids[0], *(b for a, b in pairwise(ids) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ids) if b != a + 1), ids[-1]]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
