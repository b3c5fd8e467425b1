"""Files of a simulated node that never change: its topology, and a few of /proc and /etc."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.contract.hardware import Hardware, NumaNode
from clusters.reference.node_layout import HUGEPAGES_PER_NODE

CPU_ROOT, NODE_ROOT = "/sys/devices/system/cpu", "/sys/devices/system/node"


def hardware_files(shape: Hardware, hostname: str) -> Iterable[tuple[str, str]]:
    """Texts by path."""
    yield from _cpus(shape)
    yield from _numa_nodes(shape)
    pages = sum(map(_pages, shape.numa))
    yield "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", f"{pages}\n"
    total = shape.memory_mib * 1024
    yield "/proc/meminfo", f"MemTotal:       {total} kB\nMemFree:        {total} kB\n"
    yield "/proc/version", "Linux version 6.12.0-simulated\n"
    yield "/proc/sys/kernel/osrelease", "6.12.0-simulated\n"
    yield "/proc/sys/kernel/sched_rt_runtime_us", "-1\n"
    yield "/proc/sys/kernel/hostname", hostname + "\n"
    yield "/etc/os-release", 'PRETTY_NAME="Simulated node"\n'
    yield "/etc/machine-id", uuid.uuid5(uuid.NAMESPACE_DNS, hostname).hex + "\n"


def _cpus(shape: Hardware) -> Iterator[tuple[str, str]]:
    """As Linux shows them: an offline CPU has no topology, and is in no list but these two."""
    present = frozenset(cpu.id for cpu in shape.cpus)
    yield f"{CPU_ROOT}/online", _list(shape.online)
    yield f"{CPU_ROOT}/offline", _list(present - shape.online)
    for name in ("possible", "present"):
        yield f"{CPU_ROOT}/{name}", _list(present)
    cores = shape.grouped(lambda cpu: cpu.core)
    packages = shape.grouped(lambda cpu: cpu.package)
    caches = shape.grouped(lambda cpu: cpu.cache)
    in_package: dict[int, list[int]] = {}
    for cpu in shape.cpus:
        numbers = in_package.setdefault(cpu.package, [])
        if cpu.core not in numbers:
            numbers.append(cpu.core)
    for cpu in shape.cpus:
        if not cpu.online:
            continue
        core, package = _list(cores[cpu.core]), _list(packages[cpu.package])
        directory = f"{CPU_ROOT}/cpu{cpu.id}/topology"
        yield f"{directory}/core_id", f"{in_package[cpu.package].index(cpu.core)}\n"
        yield f"{directory}/die_id", f"{cpu.die}\n"
        yield f"{directory}/physical_package_id", f"{cpu.package}\n"
        yield f"{directory}/thread_siblings_list", core
        yield f"{directory}/core_cpus_list", core
        yield f"{directory}/core_siblings_list", package
        yield f"{directory}/package_cpus_list", package
        cache = f"{CPU_ROOT}/cpu{cpu.id}/cache/index3"
        yield f"{cache}/id", f"{cpu.cache}\n"
        yield f"{cache}/level", "3\n"
        yield f"{cache}/type", "Unified\n"
        yield f"{cache}/shared_cpu_list", _list(caches[cpu.cache])


def _numa_nodes(shape: Hardware) -> Iterator[tuple[str, str]]:
    cpus = shape.grouped(lambda cpu: cpu.numa)
    yield f"{NODE_ROOT}/online", _list(frozenset(node.id for node in shape.numa))
    yield f"{NODE_ROOT}/has_cpu", _list(frozenset(cpus))
    for node in shape.numa:
        directory = f"{NODE_ROOT}/node{node.id}"
        yield f"{directory}/cpulist", _list(cpus.get(node.id, frozenset()))
        yield f"{directory}/distance", " ".join(map(str, node.distances)) + "\n"
        total = f"Node {node.id} MemTotal:       {node.memory_mib * 1024} kB\n"
        yield f"{directory}/meminfo", total
        pages = f"{directory}/hugepages/hugepages-2048kB/nr_hugepages"
        yield pages, f"{_pages(node)}\n"


def _pages(node: NumaNode) -> int:
    return HUGEPAGES_PER_NODE if node.memory_mib else 0


def _list(cpus: CpuSet) -> str:
    return cpuset.render(cpus) + "\n"
