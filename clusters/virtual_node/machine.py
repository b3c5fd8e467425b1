"""One QEMU process that is a virtual node: its command line, its start, its end."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clusters.contract import cpuset
from clusters.contract.hardware import Hardware
from clusters.contract.provider import ClusterError
from clusters.contract.shape import NodeShape
from clusters.host import processes
from clusters.virtual_node import accel as acceleration
from clusters.virtual_node import topology
from clusters.virtual_node.accel import Accel
from clusters.virtual_node.image import Image
from clusters.virtual_node.shell import AsyncShell, Commands, Shell

RECORD = "machine.json"
SERIAL_LOG = "serial.log"
QEMU_LOG = "qemu.log"
PEERS = "peers"
"""The socket of its end of the wire between the nodes of a cluster, where there is one."""
BEFORE_PANIC = 5
"""Lines of a log that are shown before a kernel panic."""
LAST_WORDS = 40
"""Lines; a kernel's panic comes before its back trace."""
PORT_TRIES = 5
START_SECONDS = 20.0
STOP_GRACE_SECONDS = 5.0

KERNEL_COMMAND_LINE = (
    # Where nothing is printed, nothing is emulated for it. A panic ends the machine.
    "console=ttyS0 quiet panic=-1 "
    "mitigations=off nokaslr nowatchdog rcupdate.rcu_expedited=1 "
    "random.trust_cpu=on cryptomgr.notests"
)
EMULATED_COMMAND_LINE = (
    # Calibrating the delay loop of 12 emulated CPUs takes seconds, and the value is of no use.
    " lpj=4000000"
    # The clock of software emulation: reading the TSC costs nothing, the HPET an exit.
    " tsc=reliable clocksource=tsc no_timer_check"
    # Clearing 2 MiB where 4 KiB were asked for is slow; QEMU asks for them, and each page that
    # its guests touch first costs an exit. What balancing takes away comes back by a fault.
    " transparent_hugepage=madvise numa_balancing=disable psi=0"
    # Translated code is found again by its virtual address: programs must always lie at the
    # same, which makes starting one three times as fast.
    " norandmaps"
)

EMULATION_WARNING = re.compile(r"TCG doesn't support requested feature|topoext")


class MachineError(ClusterError):
    """A virtual node did not start or has died; the message carries its last words."""


@dataclass(frozen=True)
class Machine:
    """A running virtual node; any process of this host may hold it.

    Attributes:
        name: the node's name.
        directory: its run directory: sockets, serial log, QEMU's log.
        process: identity of the QEMU process (`clusters.host.processes.identity`).
        commands: how its shell is reached.
    """

    name: str
    directory: Path
    process: str
    commands: Commands

    @property
    def shell(self) -> Shell:
        """Its shell, for synchronous callers."""
        return Shell(self.commands)

    @property
    def async_shell(self) -> AsyncShell:
        """Its shell, for asyncio."""
        return AsyncShell(self.commands)

    @property
    def serial_log(self) -> Path:
        """What the node's kernel and init have printed."""
        return self.directory / SERIAL_LOG

    @property
    def qmp_path(self) -> Path:
        """QEMU's control socket."""
        return self.directory / "qmp"

    def alive(self) -> bool:
        """Whether its QEMU process runs."""
        return processes.alive(self.process)

    def require_alive(self) -> None:
        """Raises MachineError, with the end of its logs, when the machine has died."""
        if not self.alive():
            raise MachineError(f"the machine of node {self.name} has died\n{self.last_words()}")

    def printed(self) -> str:
        """What the node has printed on its serial console so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.serial_log.read_text(errors="replace")
        return ""

    def last_words(self) -> str:
        """The end of its serial log and of QEMU's own, for an error message."""
        qemu_log = self.directory / QEMU_LOG
        words = []
        for path, text in (
            (self.serial_log, self.printed()),
            (qemu_log, qemu_log.read_text(errors="replace")),
        ):
            lines = [line for line in text.splitlines() if not EMULATION_WARNING.search(line)]
            panics = [index for index, line in enumerate(lines) if "Kernel panic" in line]
            # A panic says why in its first lines and those before; what follows is the trace.
            first = max(0, panics[0] - BEFORE_PANIC) if panics else -LAST_WORDS
            ending = lines[first:][:LAST_WORDS]
            words.append(f"{path} ends with:\n" + "\n".join(ending or ["(nothing)"]))
        return "\n".join(words)

    def stop(self) -> None:
        """Ends the machine at once, as by pulling the plug. Safe to call twice."""
        processes.stop(self.process, grace_seconds=STOP_GRACE_SECONDS)

    def dump(self) -> str:
        """The machine as JSON text."""
        return json.dumps(asdict(self), default=str)


def load(directory: Path) -> Machine | None:
    """The machine that was started in that directory, None when none was; it may be dead."""
    try:
        data = json.loads((directory / RECORD).read_text())
    except FileNotFoundError:
        return None
    return Machine(
        data["name"], Path(data["directory"]), data["process"], Commands(**data["commands"])
    )


def command_line(
    image: Image,
    shape: NodeShape | Hardware,
    accel: Accel,
    *,
    memory: Path | None = None,
    memory_shared: bool = False,
    peers: bool = False,
) -> list[str]:
    """QEMU's command line, as far as it is the machine's and not one start's.

    Args:
        image: what it boots from.
        shape: its CPUs, NUMA nodes and memory; `topology.why_not` has no objection.
        accel: how its CPUs run.
        memory: directory of files that are its memory, one for each NUMA node.
        memory_shared: whether what the machine writes goes into those files.
        peers: whether it has a second network device, for `start` to connect.
    """
    hardware = shape.hardware
    cpus_of = hardware.grouped(lambda cpu: cpu.numa)
    numa = []
    for node in hardware.numa:
        size = f"size={node.memory_mib}M"
        kind = "memory-backend-ram"
        if memory is not None:
            kind = f"memory-backend-file,mem-path={memory}/ram{node.id}"
            size += f",share={'on' if memory_shared else 'off'}"
        numa += ["-object", f"{kind},id=ram{node.id},{size}"]
        ranges = cpuset.render(cpus_of.get(node.id, ()))
        cpus = "".join(f",cpus={each}" for each in ranges.split(",") if each)
        numa += ["-numa", f"node,nodeid={node.id}{cpus},memdev=ram{node.id}"]
    numa += topology.distances(hardware)
    return [
        *(acceleration.QEMU, "-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "q35", "-accel", accel.argument, "-cpu", accel.cpu),
        *("-m", str(hardware.memory_mib), "-smp"),
        f"{len(hardware.cpus)},{topology.counts(hardware)}",
        *numa,
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-no-reboot", "-append"),
        KERNEL_COMMAND_LINE + (EMULATED_COMMAND_LINE if accel.kind == "tcg" else ""),
        *("-drive", f"if=none,id=root,file={image.root},format=raw,read-only=on"),
        *("-device", "virtio-blk-pci,drive=root"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *(("-device", f"virtio-net-pci,netdev={PEERS},romfile=") if peers else ()),
    ]


def start(
    name: str,
    directory: Path,
    image: Image,
    command: Sequence[str],
    *,
    tied: bool,
    wire: Path | None = None,
    extra: Sequence[str] = (),
) -> Machine:
    """Starts a machine and returns as soon as QEMU answers; the node itself boots on.

    Args:
        name: the node's name.
        directory: an existing directory, with a path short enough for sockets.
        image: what it boots from, for the keys.
        command: from `command_line`.
        tied: the machine dies with this process, even when that is killed.
        wire: a socket that gets each frame which the second network device sends, and sends
            it those of others (`PEERS`).
        extra: further arguments, of this start alone.

    Raises:
        MachineError: QEMU ended at once; the message carries what it said.
    """
    # While it connects, ssh adds a dot and 16 characters to the path of its socket.
    longest = directory / "ssh.0123456789abcdef"
    if len(str(longest)) > 107:
        raise MachineError(f"{directory} is too long a path for sockets: use a shorter one")
    for key in (image.identity_file, image.known_hosts):
        # The image may be gone from the cache while the machine still runs.
        shutil.copy(key, directory)
    connected = []
    if wire is not None:
        ends = {"local": directory / PEERS, "remote": wire}
        paths = ",".join(f"{end}.type=unix,{end}.path={path}" for end, path in ends.items())
        connected = ["-netdev", f"dgram,id={PEERS},{paths}"]
    for _ in range(PORT_TRIES):
        port = free_port()
        process = _spawn(
            [
                *command,
                *("-netdev", f"user,id=net,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
                *connected,
                *("-serial", f"file:{directory / SERIAL_LOG}"),
                *("-qmp", f"unix:{directory / 'qmp'},server=on,wait=off"),
                *extra,
            ],
            directory / QEMU_LOG,
            tied=tied,
        )
        commands = Commands(
            node=name,
            control_path=str(directory / "ssh"),
            identity_file=str(directory / image.identity_file.name),
            known_hosts=str(directory / image.known_hosts.name),
            port=port,
        )
        machine = Machine(name, directory, processes.identity(process.pid), commands)
        (directory / RECORD).write_text(machine.dump())
        said = _until_listening(machine, process)
        if said is None:
            return machine
        if "Could not set up host forwarding rule" not in said:
            break
    raise MachineError(f"the machine of node {name} did not start\n{machine.last_words()}")


def _until_listening(machine: Machine, process: subprocess.Popen[bytes]) -> str | None:
    """None when QEMU has opened its control socket, else what it said when it ended."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(machine.qmp_path))
            except OSError:
                time.sleep(0.02)
            else:
                return None
    machine.stop()
    return (machine.directory / QEMU_LOG).read_text(errors="replace")


def _spawn(command: list[str], log: Path, *, tied: bool) -> subprocess.Popen[bytes]:
    """Starts the process from a thread that lives as long as it does.

    The kernel sends the signal of PR_SET_PDEATHSIG when the *thread* that started the
    process ends, and a caller's thread may be a short-lived one.
    """
    started: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def run() -> None:
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [*(["setpriv", "--pdeathsig", "KILL"] if tied else []), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            started.append(error)
            ready.set()
            return
        started.append(process)
        ready.set()
        process.wait()

    threading.Thread(target=run, daemon=True, name="virtual-node").start()
    ready.wait()
    process = started[0]
    if isinstance(process, OSError):
        raise MachineError(f"{command[0]} could not be started: {process}")
    return process


def free_port() -> int:
    """A TCP port of this host's loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
