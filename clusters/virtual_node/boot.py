"""Brings a virtual node up: booted, or from a saved state."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from clusters.access import AccessError
from clusters.provider import Progress
from clusters.shape import NodeShape
from clusters.virtual_node import machine as machines
from clusters.virtual_node.accel import Accel
from clusters.virtual_node.image import Image
from clusters.virtual_node.machine import Machine, MachineError

BOOT_SECONDS = 180.0
READY = "virtual node ready"


def boot(
    name: str,
    directory: Path,
    image: Image,
    shape: NodeShape,
    accel: Accel,
    *,
    tied: bool,
    progress: Progress,
) -> Machine:
    """Boots a node and returns when its shell answers.

    Args:
        name: the node's name, also its host name.
        directory: an existing, empty directory with a short path.
        image: from `clusters.virtual_node.image.build`.
        shape: its CPUs and memory.
        accel: from `clusters.virtual_node.accel.choose`.
        tied: the machine dies with this process, even when that is killed.
        progress: is told what is being waited for.

    Raises:
        MachineError: it did not come up; nothing is left running.
    """
    command = machines.command_line(image, shape, accel)
    progress(f"booting node {name}: {shape}, {accel.kind} ({accel.reason})")
    machine = machines.start(name, directory, image, command, tied=tied)
    try:
        _await_ready(machine)
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
            raise MachineError(
                f"node {machine.name} was not ready within {BOOT_SECONDS:.0f} s\n"
                f"{machine.last_words()}"
            )
        time.sleep(0.05)


def _connect(machine: Machine) -> None:
    """Opens the connection that every shell of this node shares; ssh keeps it."""
    command = machine.commands.ssh(
        *("-M", "-N", "-f", "-o", "ControlPersist=yes", "-o", "ConnectTimeout=30"),
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


def _settle_in(machine: Machine) -> None:
    """What is this start's own: the time, the name, entropy of its own."""
    script = f"date -s @{time.time():.0f} >/dev/null; hostname {machine.name}; cat >/dev/urandom"
    try:
        machine.shell.run(script, stdin=os.urandom(64))
    except AccessError as error:
        raise MachineError(f"{error}\n{machine.last_words()}") from error
