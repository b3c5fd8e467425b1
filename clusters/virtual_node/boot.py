"""Brings a virtual node up: booted, or restored from a machine that was saved before."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clusters.contract.access import AccessError
from clusters.contract.hardware import Hardware
from clusters.contract.provider import Progress
from clusters.contract.shape import NodeShape
from clusters.host import cache
from clusters.virtual_node import machine as machines
from clusters.virtual_node import saved
from clusters.virtual_node.accel import Accel
from clusters.virtual_node.image import Image
from clusters.virtual_node.machine import Machine, MachineError
from clusters.virtual_node.shell import MARK, MARK_BYTES

BOOT_SECONDS = 120.0
ANSWER_SECONDS = 60.0
BOOT_TRIES = 2
"""An emulated boot may hang: QEMU before 8.1 loses code that the kernel patches (see init.sh)."""
READY = "virtual node ready"


class NotBootedError(MachineError):
    """A booting node did not get ready in time."""


@dataclass(frozen=True)
class Preparation:
    """What is done once on a booted node before it is saved, such as starting services.

    Attributes:
        key: changes whenever what `run` does changes.
        run: is given the booted machine. Its shell must not be used any more afterwards.
    """

    key: str
    run: Callable[[Machine], None]


def boot(
    name: str,
    directory: Path,
    image: Image,
    shape: NodeShape | Hardware,
    accel: Accel,
    *,
    tied: bool,
    progress: Progress,
    preparation: Preparation | None = None,
    wire: Path | None = None,
) -> Machine:
    """Brings a node up and returns when its shell answers.

    Args:
        name: the node's name, also its host name.
        directory: an existing, empty directory with a short path.
        image: from `clusters.virtual_node.image.build`.
        shape: its CPUs and memory.
        accel: from `clusters.virtual_node.accel.choose`.
        tied: the machine dies with this process, even when that is killed.
        progress: is told what is being waited for.
        preparation: when given, a machine is booted, prepared and saved once, and this and
            later nodes start from it.
        wire: as of `machine.start`, None for a node that is alone.

    Raises:
        MachineError: it did not come up; nothing is left running.
        ClusterError: there is no room to save it, or the preparation raised it.
    """
    if preparation is not None:
        room = directory / "new"
        state = _saved(
            room, image, shape, accel, preparation=preparation, progress=progress, wire=wire
        )
        progress(f"restoring node {name}: {shape}, {accel.kind}")
        try:
            command = machines.command_line(
                image, shape, accel, memory=state, peers=wire is not None
            )
            return _restore(name, directory, image, command, state=state, tied=tied, wire=wire)
        except MachineError as error:
            cache.discard(state.name)
            progress(f"the saved machine is of no use and was removed, booting instead: {error}")
    progress(f"booting node {name}: {shape}, {accel.kind} ({accel.reason})")
    command = machines.command_line(image, shape, accel, peers=wire is not None)
    machine = _boot(name, directory, image, command, tied=tied, progress=progress, wire=wire)
    if preparation is not None:
        _prepare(machine, preparation)
    return machine


def _saved(
    directory: Path,
    image: Image,
    shape: NodeShape | Hardware,
    accel: Accel,
    *,
    preparation: Preparation,
    progress: Progress,
    wire: Path | None,
) -> Path:
    """The directory of the saved machine, from the cache or made now.

    The first argument is a directory for the run files of the machine that is to be saved.
    """
    peers = wire is not None
    command = machines.command_line(image, shape, accel, peers=peers)
    name = f"state-{cache.key([*command, accel.qemu, _host_cpu(), preparation.key])}"

    def make(memory: Path) -> None:
        progress(f"booting a node to be saved: {shape}, {accel.kind} ({accel.reason})")
        command = machines.command_line(
            image, shape, accel, memory=memory, memory_shared=True, peers=peers
        )
        directory.mkdir()
        machine = _boot("node", directory, image, command, tied=True, progress=progress, wire=wire)
        try:
            progress("preparing the node to be saved")
            _prepare(machine, preparation)
            _disconnect(machine)
            saved.save(machine, memory)
        finally:
            machine.stop()
        shutil.rmtree(directory)

    return cache.kept(
        name, make, what="a saved node", need_mib=shape.memory_mib + 64, progress=progress
    )


def _prepare(machine: Machine, preparation: Preparation) -> None:
    try:
        preparation.run(machine)
    except BaseException:
        machine.stop()
        raise


def _boot(
    name: str,
    directory: Path,
    image: Image,
    command: list[str],
    *,
    tied: bool,
    progress: Progress,
    wire: Path | None,
) -> Machine:
    for tries_left in reversed(range(BOOT_TRIES)):
        machine = machines.start(name, directory, image, command, tied=tied, wire=wire)
        try:
            _await_ready(machine)
            _connect(machine)
            _settle_in(machine)
        except NotBootedError:
            machine.stop()
            if not tries_left:
                raise
            progress(f"node {name} was not ready within {BOOT_SECONDS:.0f} s, booting it again")
        except BaseException:
            machine.stop()
            raise
        else:
            return machine
    raise AssertionError("a boot succeeds or raises")


def _restore(
    name: str,
    directory: Path,
    image: Image,
    command: list[str],
    *,
    state: Path,
    tied: bool,
    wire: Path | None,
) -> Machine:
    extra = ["-incoming", "defer"]
    machine = machines.start(name, directory, image, command, tied=tied, wire=wire, extra=extra)
    try:
        saved.resume(machine, state)
        _connect(machine)
        _settle_in(machine)
    except BaseException:
        machine.stop()
        raise
    return machine


def _await_ready(machine: Machine) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while READY not in machine.printed():
        machine.require_alive()
        if time.monotonic() > deadline:
            raise NotBootedError(
                f"node {machine.name} was not ready within {BOOT_SECONDS:.0f} s\n"
                f"{machine.last_words()}"
            )
        time.sleep(0.05)


def _connect(machine: Machine) -> None:
    """Opens the connection that every shell of this node shares; ssh keeps it."""
    command = machine.commands.ssh(
        *(
            "-M",
            "-N",
            "-f",
            "-o",
            "ControlPersist=yes",
            "-o",
            f"ConnectTimeout={ANSWER_SECONDS:.0f}",
        ),
    )
    log = machine.directory / "ssh.log"
    with log.open("wb") as output:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if ended.returncode:
        machine.require_alive()
        raise MachineError(
            f"ssh to node {machine.name} failed: {log.read_text(errors='replace').strip()}\n"
            f"{machine.last_words()}"
        )


def _disconnect(machine: Machine) -> None:
    """Closes that connection."""
    subprocess.run(machine.commands.ssh("-O", "exit"), capture_output=True, check=False)


def _settle_in(machine: Machine) -> None:
    """What is this start's own: the time, the name, entropy, the shell's separator."""
    script = (
        f"date -s @{time.time():.0f} >/dev/null && hostname {shlex.quote(machine.name)} && "
        f"printf {secrets.token_hex(MARK_BYTES // 2)} >{MARK} && cat >/dev/urandom"
    )
    try:
        machine.shell.run(script, stdin=os.urandom(64), timeout_seconds=ANSWER_SECONDS)
    except AccessError as error:
        raise MachineError(f"{error}\n{machine.last_words()}") from error


def _host_cpu() -> str:
    """The host's CPU model; a saved machine is at home on one model only."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line
    return ""
