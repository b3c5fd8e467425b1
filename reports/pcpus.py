"""Nodes of a report: their hardware, and what every source says of who has which pCPU."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Who says it.

    CHECKPOINT: the kubelet's cpu_manager_state: whom it gave what.
    CGROUP: cpuset.cpus.effective of a container's cgroup: where it may run.
    AFFINITY: Cpus_allowed_list of threads: where they may run.
    LIBVIRT: the pins that a running libvirt answers, or those of the domain XML.
    """

    CHECKPOINT = "checkpoint"
    CGROUP = "cgroup"
    AFFINITY = "affinity"
    LIBVIRT = "libvirt"


class OwnerKind(StrEnum):
    """Who has, or may use, a pCPU.

    VCPU, EMULATOR and IOTHREAD are of a guest; LAUNCHER is what else runs in its compute
    container; EXCLUSIVE is a container with pCPUs of its own; SHARED is the pool, or a container
    without; RESERVED is of the pool and reserved for the system; HOST is a process outside of
    every pod.
    """

    VCPU = "vcpu"
    EMULATOR = "emulator"
    IOTHREAD = "iothread"
    LAUNCHER = "launcher"
    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    RESERVED = "reserved"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Cpu:
    """One online pCPU of a node.

    Attributes:
        core: core id, unique within its socket only.
        node: NUMA node.
        siblings: ids of the hardware threads of its core, itself included.
    """

    id: int
    core: int
    socket: int
    node: int
    siblings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """One source that says who has, or may use, some pCPUs.

    Attributes:
        cpus: as Linux writes CPU lists; empty for none.
        workload: the VMI or pod; a process, for HOST; empty for the pool.
        container: of the workload's pod.
        number: of the guest's vCPU or IOThread.
        detail: where it was read; which threads.
    """

    source: Source
    kind: OwnerKind
    cpus: str
    workload: str = ""
    container: str = ""
    number: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """pCPUs about which sources disagree, or that have two owners, and who says what."""

    cpus: str
    says: str


@dataclass(frozen=True, slots=True)
class CpuMap:
    """Who had each pCPU of a node at one moment, by everybody who says something of it.

    A pCPU that nobody claims was not observed.

    Attributes:
        case: id of the case or scenario.
        workload: the VMI that the moment is about; its pCPUs stand out.
        at: when the evidence was complete, UTC, ISO 8601.
        evidence: the recording, a path relative to the report.
    """

    case: str
    moment: str
    workload: str
    claims: tuple[Claim, ...]
    marks: tuple[Mark, ...] = ()
    at: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Node:
    """One node: its topology, the CPUs reserved for the system, and its maps in time order.

    Attributes:
        left_out: how many maps more there would be; those of broken cases go first.
    """

    name: str
    cpus: tuple[Cpu, ...]
    reserved: tuple[int, ...] = ()
    maps: tuple[CpuMap, ...] = ()
    left_out: int = 0


_WHO = {
    OwnerKind.VCPU: "vCPU {number}{of}",
    OwnerKind.IOTHREAD: "IOThread {number}{of}",
    OwnerKind.EMULATOR: "the emulator{of}",
    OwnerKind.LAUNCHER: "the launcher{of}",
    OwnerKind.RESERVED: "the shared pool, reserved for the system",
    OwnerKind.HOST: "process {workload} of the node",
}


def who(claim: Claim) -> str:
    """Who it is that a claim is about."""
    of = f" of {claim.workload}" if claim.workload else ""
    if form := _WHO.get(claim.kind):
        return form.format(number=claim.number, of=of, workload=claim.workload)
    if not claim.workload:
        return "the shared pool"
    return f"container {claim.container}{of}" if claim.container else claim.workload
