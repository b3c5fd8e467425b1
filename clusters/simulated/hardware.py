"""Files of a simulated node that never change: its topology, and a few of /proc and /etc."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from clusters.contract import cpuset
from clusters.contract.shape import NodeShape
from clusters.reference.node_layout import HUGEPAGES_PER_NODE


def hardware_files(shape: NodeShape, hostname: str) -> Iterable[tuple[str, str]]:
    """Texts by path."""
    cores = shape.sockets * shape.cores
    everything = f"0-{shape.cpus - 1}" if shape.cpus > 1 else "0"
    cpu_root, node_root = "/sys/devices/system/cpu", "/sys/devices/system/node"
    for name in ("online", "possible", "present"):
        yield f"{cpu_root}/{name}", everything + "\n"
    for cpu in range(shape.cpus):
        core, socket = cpu // shape.threads, cpu // (shape.cores * shape.threads)
        siblings = cpuset.render(range(core * shape.threads, (core + 1) * shape.threads))
        size = shape.cores * shape.threads
        package = cpuset.render(range(socket * size, (socket + 1) * size))
        directory = f"{cpu_root}/cpu{cpu}/topology"
        yield f"{directory}/core_id", f"{core % shape.cores}\n"
        yield f"{directory}/die_id", "0\n"
        yield f"{directory}/physical_package_id", f"{socket}\n"
        yield f"{directory}/thread_siblings_list", siblings + "\n"
        yield f"{directory}/core_cpus_list", siblings + "\n"
        yield f"{directory}/core_siblings_list", package + "\n"
        yield f"{directory}/package_cpus_list", package + "\n"
    width = cores // shape.numa_nodes * shape.threads
    names = cpuset.render(range(shape.numa_nodes))
    yield f"{node_root}/online", names + "\n"
    for node in range(shape.numa_nodes):
        cpus = cpuset.render(range(node * width, (node + 1) * width))
        distances = ["10" if other == node else "20" for other in range(shape.numa_nodes)]
        yield f"{node_root}/node{node}/cpulist", cpus + "\n"
        yield f"{node_root}/node{node}/distance", " ".join(distances) + "\n"
    pages = HUGEPAGES_PER_NODE * shape.numa_nodes
    yield "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", f"{pages}\n"
    total = shape.memory_mib * 1024
    yield "/proc/meminfo", f"MemTotal:       {total} kB\nMemFree:        {total} kB\n"
    yield "/proc/version", "Linux version 6.12.0-simulated\n"
    yield "/proc/sys/kernel/osrelease", "6.12.0-simulated\n"
    yield "/proc/sys/kernel/sched_rt_runtime_us", "-1\n"
    yield "/proc/sys/kernel/hostname", hostname + "\n"
    yield "/etc/os-release", 'PRETTY_NAME="Simulated node"\n'
    yield "/etc/machine-id", uuid.uuid5(uuid.NAMESPACE_DNS, hostname).hex + "\n"
