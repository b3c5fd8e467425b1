"""What the guest prints about its own CPUs on its console.

The line is ``CPU-CONFORMANCE-GUEST {json}``. The kernel prints in between, terminals add
carriage returns, and a line may be cut in the middle: the last complete report counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from conformance.model.evidence import Guest
from conformance.model.topology import Cpu, Topology
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError

MARK = "CPU-CONFORMANCE-GUEST"
_LONGEST = 4 * 2**20
"""Characters of a console that are looked at: its last ones."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_REPORT = re.compile(rf"{MARK} (\{{.*)")


def guest(console: str, source: str) -> Guest | None:
    """The guest's report; None as long as there is no complete one.

    Raises:
        ParseError: a complete report that does not describe a topology.
    """
    return _guest(_ESCAPES.sub("", console[-_LONGEST:]), source)


@lru_cache(maxsize=64)
def _guest(console: str, source: str) -> Guest | None:
    for line in reversed(_REPORT.findall(console)):
        try:
            # raw_decode: a kernel message may follow on the same line.
            report, _end = json.JSONDecoder().raw_decode(line)
        except (ValueError, RecursionError):
            continue
        return _report(report, line, source)
    return None


def _report(report: Any, line: str, source: str) -> Guest:
    try:
        numbers = {
            key: _number(report[key]) for key in ("sockets", "cores_per_socket", "threads_per_core")
        }
        online = cpulist(report["online"], f"{source} online")
        cpus = tuple(_cpu(cpu, source) for cpu in report["cpus"])
        nodes = {int(n): cpulist(text, f"{source} nodes") for n, text in report["nodes"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ParseError(f"a report of the guest's CPUs ({error!r})", line, source) from error
    topology = Topology(tuple(sorted(cpus, key=lambda cpu: cpu.id)))
    if not cpus or len(topology.by_id) != len(cpus) or topology.online != online:
        raise ParseError("one entry in cpus for each online CPU", line, source)
    if nodes and any(topology.numa_nodes.get(n, frozenset()) != c for n, c in nodes.items()):
        raise ParseError("the same NUMA nodes in cpus and in nodes", line, source)
    return Guest(topology, **numbers)


def _cpu(cpu: Mapping[str, Any], source: str) -> Cpu:
    return Cpu(
        id=_number(cpu["cpu"]),
        core=_number(cpu["core"]),
        socket=_number(cpu["socket"]),
        node=_number(cpu["node"]),
        siblings=cpulist(cpu["siblings"], f"{source} siblings"),
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return value
