"""What every cluster offers to whoever wants to look inside it.

All of it is synchronous and may be used from any process on this host that holds the
cluster's handle (`clusters.contract.provider.Handle`): pytest workers share one cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class AccessError(Exception):
    """Something inside the cluster could not be read; the message says what and why."""


@dataclass(frozen=True)
class Reading:
    """The answer to one bulk read.

    Attributes:
        files: text by absolute path, for everything that matched and could be read.
        unreadable: reason by path, for what matched but could not be read. A file that
            vanished between listing and reading is in neither.
    """

    files: Mapping[str, str]
    unreadable: Mapping[str, str]


class Sampling(Protocol):
    """A sampler that runs on a node; `clusters.kit.sampler` says what it prints and hears."""

    def lines(self) -> Iterator[str]:
        """What it prints, as it comes, until it ends. Raises AccessError when it broke."""
        ...

    def say(self, word: str) -> None:
        """Says a word to it, from any thread; one that has ended does not hear it."""
        ...

    def close(self) -> None:
        """Ends it, from any thread. Safe to call twice."""
        ...


class NodeFiles(Protocol):
    """A node's own view of its files: /proc, /sys, the kubelet's root.

    Paths are the node's, as its init sees them, wherever the reader really sits.
    """

    def read(self, patterns: Sequence[str]) -> Reading:
        """Reads every file that matches the shell globs, in one round trip.

        A pattern without a match is no error. Raises AccessError when the node itself
        does not answer.
        """
        ...

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Paths (files and directories) that match the shell globs, sorted."""
        ...


class NodeShell(NodeFiles, Protocol):
    """A node whose files are read, and which is watched."""

    def sample(self, first: str) -> Sampling:
        """Starts a sampler on the node.

        Args:
            first: what it is told first (`clusters.kit.sampler.first_words`).

        Raises:
            AccessError: it cannot be started.
        """
        ...


@dataclass(frozen=True)
class ExecResult:
    """What a command in a container answered."""

    returncode: int
    stdout: str
    stderr: str


class ContainerExec(Protocol):
    """Runs commands in containers."""

    def run(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        """Runs the command to its end. Raises AccessError when it cannot be started."""
        ...


@dataclass(frozen=True)
class LibvirtView:
    """What the launcher's libvirt says about one domain, live.

    Attributes:
        xml: the live domain XML.
        vcpu_pins: pCPUs by vCPU id, of every enabled vCPU (virDomainGetVcpuPinInfo).
        emulator_pin: pCPUs of the emulator threads (virDomainGetEmulatorPinInfo).
        iothread_pins: pCPUs by IOThread id (virDomainListAllIOThreads).
        source: how it was asked, such as ``libvirt-python qemu+unix:///system?socket=...``.
        versions: such as ``libvirt 10.5.0, QEMU 9.0.0``; empty where they are not known.
    """

    xml: str
    vcpu_pins: Mapping[int, frozenset[int]]
    emulator_pin: frozenset[int]
    iothread_pins: Mapping[int, frozenset[int]]
    source: str
    versions: str = ""


class Libvirt(Protocol):
    """The libvirt inside a launcher's compute container."""

    def view(self, namespace: str, vmi: str, launcher: Mapping[str, Any]) -> LibvirtView:
        """Asks the domain of the VMI. Raises AccessError when there is none.

        Args:
            namespace: of the VMI.
            vmi: its name.
            launcher: the pod that runs it, as the API has it.
        """
        ...


class GuestConsole(Protocol):
    """The serial console of a VMI's guest."""

    def text(self, namespace: str, vmi: str, enough: Callable[[str], bool]) -> str:
        """What the guest has printed, as soon as that is enough, at the latest after a while.

        May be empty. Raises AccessError when the console cannot be read.
        """
        ...


class NodeControl(Protocol):
    """What an administrator does on nodes; it disturbs whatever runs there."""

    def restart_kubelet(self, node: str) -> str:
        """Restarts the kubelet and returns when it works again.

        Returns words that prove it, such as its process before and after. Raises AccessError.
        """
        ...

    def set_cpu_manager_policy(self, node: str, policy: str) -> str:
        """Stops the kubelet, changes its policy, removes its checkpoint and starts it.

        The node should have no pods with exclusive CPUs. Returns words that prove it, and
        raises AccessError.
        """
        ...


@dataclass(frozen=True)
class Capability:
    """Whether the cluster can show something, and why not; None where that could not be read."""

    available: bool | None
    reason: str


class ClusterAccess(Protocol):
    """A running cluster, seen by the harness.

    Attributes:
        kubeconfig: path of a kubeconfig that reaches the API.
        simulation: True when nodes exist in memory only; every report says so.
        description: one line: what stack, on what nodes.
        acceleration: how virtual nodes run, such as ``tcg``; empty where that means nothing.
        nodes: names of the nodes that may be looked into.
        kubelet_root: directory of the kubelets' files on the nodes.
    """

    kubeconfig: str
    simulation: bool
    description: str
    acceleration: str
    nodes: tuple[str, ...]
    kubelet_root: str

    def node_shell(self, node: str) -> NodeShell:
        """The files of the node. Raises AccessError for an unknown node."""
        ...

    @property
    def libvirt(self) -> Libvirt:
        """The libvirt of each launcher."""
        ...

    @property
    def guest_console(self) -> GuestConsole:
        """The consoles of the guests."""
        ...

    @property
    def control(self) -> NodeControl | None:
        """Its nodes, for an administrator; None where that may or can not be had."""
        ...

    def capabilities(self) -> Mapping[str, Capability]:
        """By name: ``smt``, ``numa``, ``guest-console``, ``libvirt``, ``node-files``;
        ``hugepages`` (of 2 MiB, allocatable), ``kubelet-control`` (there is a `control`),
        ``realtime`` (a node is labelled for it),
        ``disruption`` (whatever runs may be disturbed), ``unlabelled-node`` (a node that has
        no CPU manager), ``live-migration`` (of VMIs with dedicated CPUs, which takes two nodes
        that pin CPUs). The last six are lacking where they are not named.
        """
        ...

    def collect_logs(self, destination: str) -> None:
        """Writes everything that helps to understand a failure below a directory."""
        ...

    def close(self) -> None:
        """Lets go of connections; the cluster goes on."""
        ...
