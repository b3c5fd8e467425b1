"""VMIs that only the guide of today speaks of: profile ``current``.

Not axes: each shows one promise that no combination of the others does.
"""

from __future__ import annotations

from typing import Any

from conformance.matrix.manifests import Wish
from conformance.matrix.mapped import PAGE


def _realtime(**more: Any) -> Wish:
    """It needs more than half of a node of ten CPUs, so that no two share its huge pages."""
    return Wish(cores=4, isolate=True, hugepages=PAGE, numa_passthrough=True, realtime=True, **more)


EXAMPLES: tuple[tuple[str, str, Wish], ...] = (
    (
        "io-pool",
        "a supplemental pool of two IOThreads beside one vCPU",
        Wish(sockets=1, iothreads_policy="supplementalPool", supplemental_iothreads=2),
    ),
    (
        "io-own",
        "more IOThreads than vCPUs, one of them for one disk alone",
        Wish(limits_cpu=2, iothreads_policy="auto", dedicated_iothread=True, more_disks=3),
    ),
    (
        "room-to-plug",
        "room for one more socket of two cores",
        Wish(sockets=1, cores=2, max_sockets=2),
    ),
    (
        "realtime",
        "four vCPUs of which all but one are scheduled in real time",
        _realtime(realtime_mask="0-3,^1"),
    ),
)
"""Of the smoke matrix and every larger one."""

MORE: tuple[tuple[str, str, Wish], ...] = (
    (
        "io-pool-isolate",
        "a supplemental pool of two IOThreads beside an isolated emulator thread",
        Wish(
            sockets=2,
            isolate=True,
            iothreads_policy="supplementalPool",
            supplemental_iothreads=2,
        ),
    ),
    (
        "io-fewer",
        "fewer IOThreads than vCPUs",
        Wish(limits_cpu=4, iothreads_policy="auto", more_disks=1),
    ),
    (
        "io-own-shared",
        "one IOThread for all disks but one, which has its own",
        Wish(limits_cpu=3, iothreads_policy="shared", dedicated_iothread=True, more_disks=2),
    ),
    (
        "realtime-all",
        "four vCPUs that are all scheduled in real time",
        _realtime(),
    ),
    (
        "realtime-one",
        "four vCPUs of which the third is scheduled in real time",
        _realtime(realtime_mask="2"),
    ),
)
"""Id, title and wish."""
