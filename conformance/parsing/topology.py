"""The CPU topology of a node, from ``/sys/devices/system/{cpu,node}``.

Source of the layout: Documentation/admin-guide/cputopology.rst of Linux, and
Documentation/ABI/stable/sysfs-devices-node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from conformance.model.cpuset import CpuSet
from conformance.model.topology import Cpu, Topology
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError

CPU = "/sys/devices/system/cpu"
NODE = "/sys/devices/system/node"
_NODE_CPULIST = re.compile(rf"{NODE}/node(\d+)/cpulist")


def topology(files: Mapping[str, str]) -> Topology:
    """The online CPUs of a node, of which a large one has a thousand files.

    Args:
        files: texts by path: ``cpu/online``, ``cpu/cpuN/topology/{core_id,
            physical_package_id,thread_siblings_list}`` and ``node/nodeN/cpulist``. A kernel
            without NUMA shows no node directories: then every CPU is on node 0.

    Raises:
        ParseError: a text is not what it should be, or a file of an online CPU is missing.
    """
    online = cpulist(_text(files, f"{CPU}/online"), f"{CPU}/online")
    if not online:
        raise ParseError("at least one online CPU", files[f"{CPU}/online"], f"{CPU}/online")
    nodes = _numa_nodes(files)
    return Topology(tuple(_cpu(files, cpu, online, nodes) for cpu in sorted(online)))


def _numa_nodes(files: Mapping[str, str]) -> dict[int, int]:
    nodes: dict[int, int] = {}
    for path, text in files.items():
        match = _NODE_CPULIST.fullmatch(path)
        if match:
            for cpu in cpulist(text, path):
                if nodes.setdefault(cpu, int(match[1])) != int(match[1]):
                    raise ParseError(f"CPU {cpu} on one NUMA node only", text, path)
    return nodes


def _cpu(files: Mapping[str, str], cpu: int, online: CpuSet, nodes: Mapping[int, int]) -> Cpu:
    directory = f"{CPU}/cpu{cpu}/topology"
    path = f"{directory}/thread_siblings_list"
    siblings = cpulist(_text(files, path), path) & online
    if cpu not in siblings:
        raise ParseError(f"CPU {cpu} among its own siblings", files[path], path)
    if nodes and cpu not in nodes:
        raise ParseError(f"CPU {cpu} in the cpulist of a NUMA node", str(sorted(nodes)), NODE)
    return Cpu(
        id=cpu,
        core=_number(files, f"{directory}/core_id"),
        socket=_number(files, f"{directory}/physical_package_id"),
        node=nodes.get(cpu, 0),
        siblings=siblings,
    )


def _text(files: Mapping[str, str], path: str) -> str:
    try:
        return files[path]
    except KeyError:
        raise ParseError("this file", "nothing", path) from None


def _number(files: Mapping[str, str], path: str) -> int:
    text = _text(files, path)
    try:
        return int(text)
    except ValueError:
        raise ParseError("a number", text, path) from None
