"""What a simulated machine keeps of containers and domains, and what runs in them."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass, field

from clusters.reference.machine import ContainerSpec, ContainerState, Program
from clusters.simulated.kernel_objects import Process, Thread

PROCESSES = {
    Program.LAUNCHER: ("virt-launcher-monitor", "virtlogd", "virtqemud"),
    Program.SLEEP: ("sleep",),
    Program.COMPLETE: ("true",),
    Program.NODE_TOOLS: ("virt-handler",),
}
"""What runs in a container of each program."""
EMULATOR_THREADS = ("call_rcu", "IO mon_iothread", "kvm-nx-lpage-recovery")


@dataclass
class Domain:
    """A QEMU process with its threads by their roles, and the kernel's thread of its timer."""

    process: Process
    xml: str
    vcpus: dict[int, Thread]
    iothreads: dict[int, Thread]
    emulator: list[Thread]
    console: str
    pit: Process
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""


@dataclass
class Container:
    """A container that was started, with what has become of it."""

    spec: ContainerSpec
    processes: list[Process]
    exit_code: int | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    domains: dict[str, Domain] = field(default_factory=dict)
    ended_domains: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> ContainerState:
        """As the runtime tells it."""
        pid = self.processes[0].pid if self.exit_code is None else 0
        return ContainerState(self.spec.id, pid, self.exit_code)


def exit_code(spec: ContainerSpec) -> int | None:
    """At once, or None for what stays."""
    if spec.program is Program.COMPLETE:
        return 0
    if spec.program is not Program.COMMAND:
        return None
    words = shlex.split(" ".join(spec.command))
    if any(word.rsplit("/", 1)[-1] in ("sleep", "tail", "pause") for word in words):
        return None
    if "exit" in words:
        return int(words[words.index("exit") + 1])
    return int(words[:1] == ["false"])
