"""What CPUs virtual nodes have, as capabilities of their cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clusters.contract.access import Capability, NodeShell

_SIBLINGS = "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"
_NUMA_NODES = "/sys/devices/system/node/online"


def topology(shells: Iterable[NodeShell]) -> Mapping[str, Capability]:
    """``smt`` and ``numa``: whether any of the nodes shows it. Raises AccessError."""
    texts = [shell.read((_SIBLINGS, _NUMA_NODES)).files for shell in shells]
    smt = any(not files[_SIBLINGS].strip().isdecimal() for files in texts)
    numa = any(not files[_NUMA_NODES].strip().isdecimal() for files in texts)
    return {
        "smt": Capability(smt, "a core has two threads" if smt else "no core has two threads"),
        "numa": Capability(numa, "two NUMA nodes" if numa else "a single NUMA node"),
    }
