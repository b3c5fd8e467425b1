"""Sets of pCPUs in the kernel's list format (``0-3,8``), the reference stack's own.

The harness has its own implementation on purpose: the two judge each other.
"""

from __future__ import annotations

from collections.abc import Iterable

CpuSet = frozenset[int]


def parse(text: str) -> CpuSet:
    """Reads ``0-3,8``; empty text is the empty set. Raises ValueError."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, dash, last = part.strip().partition("-")
        start, end = int(first), int(last if dash else first)
        if end < start:
            raise ValueError(f"{part!r} in cpuset {text!r} ends before it starts")
        cpus.update(range(start, end + 1))
    return frozenset(cpus)


def render(cpus: Iterable[int]) -> str:
    """The canonical list format: ascending, neighbours as ranges."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
