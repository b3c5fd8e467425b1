"""Images that the reference stack has programs of its own for, whatever is in them.

Registry, organisation and tag do not matter, so that manifests written for a real cluster
work; the stack's own images bear the names of the components that they stand for.
"""

from __future__ import annotations

from clusters.reference.apiserver.store import Object
from clusters.reference.machine import Program

LAUNCHER = "virt-launcher:embedded"
HANDLER = "virt-handler:embedded"

LAUNCHER_COMMAND = "/usr/bin/virt-launcher-monitor"
CONSOLE_LOG_COMMAND = "/usr/bin/virt-tail"
CONTAINER_DISK_COMMAND = "/usr/bin/container-disk"
NO_OP = "--no-op"

_SIDECARS = frozenset(
    {"example-hook-sidecar", "example-cloudinit-hook-sidecar", "sidecar", "sidecar-shim"}
)
_PLAIN = frozenset({"alpine", "busybox", "pause"})
_DISKS = frozenset({"disk", "guest"})
_DISK_SUFFIXES = ("container-disk", "container-disk-demo", "kernel-boot", "kernel-boot-demo")


def program_of(container: Object) -> Program | None:
    """What a container of a pod runs; None when its image is unknown here."""
    name = _base_name(container.get("image", ""))
    command = [*container.get("command", ()), *container.get("args", ())]
    if name == _base_name(LAUNCHER):
        by_command = {LAUNCHER_COMMAND: Program.LAUNCHER, CONSOLE_LOG_COMMAND: Program.SLEEP}
        return by_command.get(command[0] if command else "", Program.COMPLETE)
    if name == _base_name(HANDLER):
        return Program.NODE_TOOLS
    if name in _DISKS or name.endswith(_DISK_SUFFIXES):
        return Program.COMPLETE if NO_OP in command else Program.SLEEP
    if name in _SIDECARS and not container.get("command"):
        return Program.SLEEP
    if name in _PLAIN | _SIDECARS:
        return Program.COMMAND if command else Program.SLEEP
    return None


def _base_name(image: str) -> str:
    return image.rsplit("/", 1)[-1].split("@", maxsplit=1)[0].split(":", maxsplit=1)[0]
