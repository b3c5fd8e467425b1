"""What a guest that boots in a simulated domain would report of its topology."""

from __future__ import annotations

import json
from xml.etree.ElementTree import Element

from clusters.contract import cpuset

MARK = "CPU-CONFORMANCE-GUEST"
"""Starts the line of the serial console that carries the report."""


def enabled_vcpus(domain: Element) -> list[int]:
    """Ids of the vCPUs that are switched on."""
    listed = domain.findall("vcpus/vcpu")
    if listed:
        return [int(vcpu.attrib["id"]) for vcpu in listed if vcpu.get("enabled") == "yes"]
    vcpu = domain.find("vcpu")
    if vcpu is None:
        return [0]
    return list(range(int(vcpu.get("current") or vcpu.text or 1)))


def numa_maps(domain: Element) -> str:
    """``/proc/PID/numa_maps`` of QEMU: huge pages are taken at once, each cell's where it is bound.

    A cell that is bound nowhere has them on the first node.
    """
    lines = ["7f0000000000 default anon=512 dirty=512 N0=512 kernelpagesize_kB=4"]
    sizes = {
        each.get("nodeset"): int(each.attrib["size"])
        for each in domain.findall("memoryBacking/hugepages/page")
    }
    bound = {
        each.attrib["cellid"]: each.attrib["nodeset"] for each in domain.findall("numatune/memnode")
    }
    for number, cell in enumerate(domain.findall("cpu/numa/cell")):
        node, size = bound.get(cell.attrib["id"], "0"), sizes.get(cell.attrib["id"])
        if size:
            pages = int(cell.attrib["memory"]) // size
            lines.append(
                f"7f{number + 1:02x}00000000 bind:{node} file=/memfd:memory-backend-memfd huge "
                f"dirty={pages} N{node}={pages} kernelpagesize_kB={size // 1024}"
            )
    return "".join(f"{line}\n" for line in lines)


def console_text(domain: Element) -> str:
    """The serial console of the booted guest, derived from the domain XML alone."""
    topology = domain.find("cpu/topology")
    shape = topology.attrib if topology is not None else {}
    cores, threads = int(shape.get("cores", 1)), int(shape.get("threads", 1))
    online = enabled_vcpus(domain)
    numa = {
        int(cell.attrib["id"]): cpuset.parse(cell.attrib["cpus"])
        for cell in domain.findall("cpu/numa/cell")
    } or {0: frozenset(online)}
    cpus = [
        {
            "cpu": cpu,
            "socket": cpu // (cores * threads),
            "core": cpu // threads % cores,
            "siblings": cpuset.render(c for c in online if c // threads == cpu // threads),
            "node": next((node for node, members in numa.items() if cpu in members), 0),
        }
        for cpu in online
    ]
    report = {
        "sockets": len({cpu["socket"] for cpu in cpus}),
        "cores_per_socket": cores,
        "threads_per_core": threads,
        "online": cpuset.render(online),
        "cpus": cpus,
        "nodes": {
            str(node): cpuset.render(members & frozenset(online)) for node, members in numa.items()
        },
    }
    return f"[    0.000000] Linux version 6.12.0-simulated\n{MARK} {json.dumps(report)}\n"
