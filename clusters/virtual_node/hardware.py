"""What CPUs virtual nodes have, as capabilities of their cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clusters.contract.access import Capability, NodeShell

_SIBLINGS = "/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list"
_NUMA_NODES = "/sys/devices/system/node/node[0-9]*/cpulist"


def topology(shells: Iterable[NodeShell]) -> Mapping[str, Capability]:
    """``smt`` and ``numa``: whether any of the nodes shows it. Raises AccessError."""
    texts = [shell.read((_SIBLINGS, _NUMA_NODES)).files for shell in shells]
    smt = any(
        path.endswith("/thread_siblings_list") and not text.strip().isdecimal()
        for files in texts
        for path, text in files.items()
    )
    numa = any(
        sum(path.endswith("/cpulist") and bool(text.strip()) for path, text in files.items()) > 1
        for files in texts
    )
    return {
        "smt": Capability(smt, "a core has two threads" if smt else "no core has two threads"),
        "numa": Capability(numa, "NUMA nodes with CPUs" if numa else "a single NUMA node"),
    }
