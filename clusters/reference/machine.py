"""What the reference stack needs from a node: files, cgroups, containers, domains.

The kubelet, virt-handler and virt-launcher of the reference stack drive a node through
this protocol alone. `clusters.embedded.qemu_machine` implements it on a virtual node
with crun and libvirt, `clusters.simulated.machine` in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from clusters.contract.access import AccessError, ExecResult, LibvirtView, Reading
from clusters.kit.oci_images import Image


class NodeError(AccessError):
    """The node refused or did not answer; the message says what was asked."""


class Program(Enum):
    """What runs in a container."""

    LAUNCHER = "launcher"
    """virtqemud with an empty home of its own; domains are started in it."""
    SLEEP = "sleep"
    """Stays until it is stopped: hook sidecars, containerDisk, guest-console-log, plain pods."""
    COMPLETE = "complete"
    """Ends at once with success: init containers."""
    NODE_TOOLS = "node-tools"
    """Stays; sees the node's own /proc, /sys and files, privileged: virt-handler."""
    COMMAND = "command"
    """Runs `ContainerSpec.command`."""
    IMAGE = "image"
    """Runs `ContainerSpec.command` in the files of an image (`ContainerSpec.inside`)."""


@dataclass(frozen=True)
class Mount:
    """A file or directory of the node that a container sees.

    Attributes:
        path: as the container sees it.
        source: as the node sees it.
        read_only: whether the container may not write to it.
        group: of a directory that everybody may write to, made when it is missing; None where
            the source is there already.
    """

    path: str
    source: str
    read_only: bool = False
    group: int | None = None


@dataclass(frozen=True)
class Inside:
    """What a container of an image has beside what every container has.

    Attributes:
        image: whose files are its root, read-only; it was pulled.
        user, group, groups: as whom it runs.
        directory: where it starts.
        capable: whether it keeps the capabilities of ordinary containers.
        escalates: whether its programs may get more rights than it has (setuid).
        mounts: beside those that every container has.
    """

    image: Image
    user: int
    group: int
    groups: tuple[int, ...] = ()
    directory: str = "/"
    capable: bool = True
    escalates: bool = True
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class ContainerSpec:
    """One container to be started.

    Attributes:
        id: 64 hex digits.
        cgroup: absolute cgroup v2 path of the container itself, below the mount point,
            such as ``/kubepods.slice/kubepods-podUID.slice/cri-containerd-ID.scope``; its
            parents exist.
        cpuset: CPUs of the cgroup, or None to inherit.
        mems: NUMA nodes of the cgroup's memory (``cpuset.mems``), or None to inherit.
        cpu_weight: ``cpu.weight``.
        cpu_max: text of ``cpu.max``: ``max 100000`` or ``QUOTA PERIOD`` in microseconds.
        memory_max: bytes, or None for no limit.
        inside: of a container of an image; None for all others.
    """

    id: str
    name: str
    pod_uid: str
    cgroup: str
    program: Program
    cpuset: frozenset[int] | None = None
    mems: frozenset[int] | None = None
    cpu_weight: int = 1
    cpu_max: str = "max 100000"
    memory_max: int | None = None
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    inside: Inside | None = None


@dataclass(frozen=True)
class ContainerState:
    """What the runtime knows of a container.

    Attributes:
        pid: process id of its init on the node, 0 when it has ended.
        exit_code: None while it runs.
    """

    id: str
    pid: int
    exit_code: int | None


class ExecSession(Protocol):
    """A command running in a container, with its streams."""

    async def write(self, data: bytes) -> None:
        """Sends to its stdin."""
        ...

    async def close_stdin(self) -> None:
        """Ends its stdin."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Resizes its terminal, if it has one."""
        ...

    def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """Pieces of (``stdout`` or ``stderr``, data) until the command ends."""
        ...

    async def wait(self) -> int:
        """Its exit code."""
        ...

    async def kill(self) -> None:
        """Ends it."""
        ...


class Machine(Protocol):
    """One node, driven by the embedded kubelet, virt-handler and virt-launcher.

    Attributes:
        immobile: why its guests cannot migrate; empty where they can.
    """

    immobile: str

    async def read(self, patterns: Sequence[str]) -> Reading:
        """As `clusters.contract.access.NodeShell.read`."""
        ...

    async def write(self, files: Mapping[str, str]) -> None:
        """Writes files in order in one round trip, creating them where needed.

        Cgroup and other kernel files are written as they are; a refusal by the kernel
        raises NodeError that quotes path and errno.
        """
        ...

    async def make_directories(self, paths: Sequence[str]) -> None:
        """mkdir -p, for cgroups too. Controllers are enabled for children of cgroups.

        Not so in a cgroup that has processes of its own, such as a container's: the kernel
        lets it have threaded children alone. To move some of its threads into one, make the
        child, then write in this order: ``threaded`` into the child's ``cgroup.type`` (the
        parent becomes ``domain threaded``), ``+cpuset`` into the parent's
        ``cgroup.subtree_control``, the child's ``cpuset.cpus``, and each thread's id into the
        child's ``cgroup.threads``, one a write.
        """
        ...

    async def remove(self, paths: Sequence[str]) -> None:
        """Removes files, and directories (cgroups too, children first). Missing is fine."""
        ...

    async def pull(self, image: Image) -> None:
        """Brings the files of an image to the node. What is there is not brought again."""
        ...

    async def start_container(self, spec: ContainerSpec) -> ContainerState:
        """Creates the cgroup with its limits and starts the container in it."""
        ...

    async def set_cpusets(self, cpusets: Mapping[str, frozenset[int]]) -> None:
        """Sets ``cpuset.cpus`` of running containers, by container id, in one round trip.

        A container that has gone meanwhile is no error.
        """
        ...

    async def set_fifo(self, threads: Sequence[int], priority: int) -> None:
        """Schedules threads of the node by SCHED_FIFO with a priority."""
        ...

    async def affine_pit(self, id: str) -> None:
        """Lets the timer of the guest in a LAUNCHER container (``kvm-pit/N``) run where vCPU 0 may.

        Where KVM has none, nothing happens.
        """
        ...

    async def stop_container(self, id: str, *, grace_seconds: float) -> None:
        """SIGTERM, after the grace SIGKILL; removes container and cgroup. Idempotent."""
        ...

    async def containers(self) -> Mapping[str, ContainerState]:
        """Every container that this runtime knows, by id."""
        ...

    async def wait_container(self, id: str) -> ContainerState:
        """Returns when the container has ended."""
        ...

    async def container_log(self, id: str) -> str:
        """What the container has printed so far (stdout and stderr)."""
        ...

    async def execute(self, id: str, command: Sequence[str], *, tty: bool) -> ExecSession:
        """Starts a command in a running container."""
        ...

    async def execute_to_end(self, id: str, command: Sequence[str]) -> ExecResult:
        """Runs a command in a running container to its end."""
        ...

    async def wait_libvirt(self, id: str) -> None:
        """Returns when the libvirt of a LAUNCHER container answers.

        Raises NodeError when the container ended instead.
        """
        ...

    async def create_domain(self, id: str, xml: str) -> None:
        """virDomainCreateXML in the LAUNCHER container."""
        ...

    async def receive_domain(self, id: str, xml: str) -> None:
        """The domain of a guest that migrates here, in the LAUNCHER container: it does not boot.

        Raises NodeError where guests cannot migrate.
        """
        ...

    async def domain_view(self, id: str, domain: str) -> LibvirtView:
        """What the container's libvirt says of its domain. NodeError when there is none."""
        ...

    async def destroy_domain(self, id: str, domain: str) -> None:
        """Ends the domain at once; missing is fine."""
        ...

    async def reset_domain(self, id: str, domain: str) -> None:
        """Resets the guest as a button would; its threads and their pins stay."""
        ...

    async def wait_domain_end(self, id: str, domain: str) -> str:
        """Returns a reason when the domain has ended."""
        ...

    async def console_text(self, id: str, domain: str) -> str:
        """What the guest has printed on its serial console so far."""
        ...

    async def close(self) -> None:
        """Lets go of the node."""
        ...
