"""The machines of one cluster: each in a directory of its own below the cluster's."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from clusters.contract.access import AccessError
from clusters.contract.provider import Handle, Progress
from clusters.contract.shape import NodeSpec
from clusters.host import daemon, processes
from clusters.virtual_node import machine
from clusters.virtual_node.accel import Accel
from clusters.virtual_node.boot import Preparation, boot
from clusters.virtual_node.image import Image
from clusters.virtual_node.machine import Machine
from clusters.virtual_node.shell import Shell


def boot_each(
    nodes: Iterable[NodeSpec],
    directory: Path,
    built: Image,
    chosen: Accel,
    preparation: Preparation,
    *,
    progress: Progress,
    booted: dict[str, Machine],
    wire: Path | None = None,
) -> None:
    """Boots the nodes, or restores them, one after the other.

    To be called in the thread that lives as long as they shall: the kernel ends a machine with
    the thread that started it.

    Args:
        nodes: what is to be booted.
        directory: of the cluster.
        built: what they boot from.
        chosen: how their CPUs are run.
        preparation: what a fresh one does before it is saved.
        progress: is told what is waited for.
        booted: gets each by its name as soon as it is there, for whoever has to end it.
        wire: between them (`machine.start`), None when they need none.
    """
    for node in nodes:
        place = directory / node.name
        place.mkdir()
        booted[node.name] = boot(
            node.name,
            place,
            built,
            node.shape,
            chosen,
            tied=True,
            progress=progress,
            preparation=preparation,
            wire=wire,
        )


def shell(handle: Handle, node: str) -> Shell:
    """A shell on a node. Raises AccessError when there is none of that name."""
    nodes = names(handle)
    found = machine.load(Path(handle.directory) / node) if node in nodes else None
    if found is None:
        raise AccessError(f"there is no node {node}, only {', '.join(nodes)}")
    return found.shell


def names(handle: Handle) -> tuple[str, ...]:
    """The names of the cluster's nodes."""
    return tuple(handle.details["nodes"].split(","))


def collect_logs(handle: Handle, target: Path) -> None:
    """Copies the log of the cluster's process and those of each machine; makes the directory."""
    target.mkdir(parents=True, exist_ok=True)
    directory = Path(handle.directory)
    shutil.copy(directory / daemon.LOG, target)
    for node in names(handle):
        for name in (machine.SERIAL_LOG, machine.QEMU_LOG):
            log = directory / node / name
            if log.exists():
                shutil.copy(log, target / f"{node}.{name}")


def down(handle: Handle) -> None:
    """As `Provider.down`; machines that their process left behind are ended as well."""
    for directory in sorted(Path(handle.directory).glob("*/")):
        left = machine.load(directory)
        if left is not None and not processes.alive(handle.details["process"]):
            left.stop()
    daemon.stop(handle)
