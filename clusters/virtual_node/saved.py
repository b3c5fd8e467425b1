"""A booted machine, saved once and started from many times.

The memory of the machine is a file that the saving QEMU writes through and every restored
one maps privately: nothing is copied, pages come in when they are touched, and what is
saved is never changed. The state of the devices, the rest, is a few hundred KiB. (QEMU's
migration with the capability ``x-ignore-shared``, as in VM templating of Kata Containers.)
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from clusters.virtual_node.machine import Machine, MachineError
from clusters.virtual_node.qmp import Qmp, QmpError

DEVICES = "devices"
DISCONNECT_SECONDS = 30.0


def save(machine: Machine, directory: Path) -> None:
    """Stops a machine whose memory is in the directory, saves the rest there, and ends it.

    Raises MachineError when QEMU refuses.
    """
    try:
        with Qmp(machine.qmp_path) as qmp:
            _until_disconnected(qmp)
            qmp.execute("stop")
            _migrate(qmp, "migrate", f"exec:cat >{directory / DEVICES}")
    except QmpError as error:
        raise MachineError(f"the machine of {machine.name} could not be saved: {error}") from error
    machine.stop()


def resume(machine: Machine, directory: Path) -> None:
    """Loads the saved devices into a machine started with ``-incoming defer``; it then runs.

    Raises MachineError when QEMU refuses.
    """
    try:
        with Qmp(machine.qmp_path) as qmp:
            _migrate(qmp, "migrate-incoming", f"exec:cat {directory / DEVICES}")
            qmp.execute("cont")
    except QmpError as error:
        raise MachineError(
            f"the saved machine of {machine.name} could not be restored: {error}\n"
            f"{machine.last_words()}"
        ) from error


def _migrate(qmp: Qmp, command: str, uri: str) -> None:
    qmp.execute(
        "migrate-set-capabilities",
        capabilities=[
            {"capability": "x-ignore-shared", "state": True},
            {"capability": "events", "state": True},
        ],
    )
    qmp.execute(command, uri=uri)
    status = qmp.wait_for("MIGRATION", status=frozenset({"completed", "failed"}))
    if status != "completed":
        raise QmpError(f"{command} failed")


def _until_disconnected(qmp: Qmp) -> None:
    """Waits until the node has let go of the connections that were closed on this side.

    A restored node would keep them, and a process for each, for ever.
    """
    deadline = time.monotonic() + DISCONNECT_SECONDS
    connected = re.compile(r"TCP\[(?:ESTABLISHED|CLOSE_WAIT|FIN_WAIT|SYN)")
    while connected.search(
        qmp.execute("human-monitor-command", **{"command-line": "info usernet"})
    ):
        if time.monotonic() > deadline:
            raise QmpError("a connection to it is still open")
        time.sleep(0.02)
