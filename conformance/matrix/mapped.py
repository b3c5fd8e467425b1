"""VMIs whose NUMA nodes are those of their pCPUs.

Not an axis: they need huge pages, which few clusters have, and the nodes show only where a VMI
has more CPUs than one of them. Of the default node, whatever the kubelet's options, seven do.
"""

from __future__ import annotations

from typing import Any

from conformance.matrix.manifests import Wish

PAGE = "2Mi"


def _mapped(sockets: int, cores: int, threads: int, **more: Any) -> Wish:
    return Wish(sockets, cores, threads, hugepages=PAGE, numa_passthrough=True, **more)


EXAMPLE = ("numa", "eight vCPUs on the NUMA nodes of their pCPUs", _mapped(2, 4, 1))

MAPPED: tuple[tuple[str, str, Wish], ...] = (
    EXAMPLE,
    (
        "numa-smt",
        "four cores of two threads on the NUMA nodes of their pCPUs",
        _mapped(2, 2, 2),
    ),
    (
        "numa-isolate",
        "six vCPUs on the NUMA nodes of their pCPUs, beside an isolated emulator thread",
        _mapped(2, 3, 1, isolate=True),
    ),
)
"""Id, title and wish; only the generation ``v1`` knows them."""
