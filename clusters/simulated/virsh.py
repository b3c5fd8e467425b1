"""What ``virsh`` prints of a simulated domain (libvirt tools/virsh-domain.c)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clusters.contract import cpuset
from clusters.contract.access import ExecResult, LibvirtView


def commands(words: Sequence[str]) -> list[Sequence[str]]:
    """The commands of a command line: several, where its last word has semicolons (virsh(1))."""
    if ";" not in words[-1]:
        return [words]
    return [(*words[:-1], *command.split()) for command in words[-1].split(";")]


def together(results: Iterable[ExecResult]) -> ExecResult:
    """What commands of one line print, each of which runs whatever becomes of those before it."""
    each = list(results)
    said, failed = "".join(r.stdout for r in each), "".join(r.stderr for r in each)
    return ExecResult(each[-1].returncode, said, failed)


def pins_as_printed(command: str, view: LibvirtView) -> str:
    """The answer of ``virsh vcpupin``, ``emulatorpin`` or ``iothreadinfo``."""
    if command == "vcpupin":
        return _table(" VCPU   CPU Affinity", view.vcpu_pins)
    if command == "emulatorpin":
        pin = cpuset.render(view.emulator_pin)
        return f"emulator: CPU Affinity\n{'-' * 34}\n       *: {pin}\n\n"
    if not view.iothread_pins:
        return "No IOThreads found for the domain\n"
    return _table(" IOThread ID   CPU Affinity", view.iothread_pins)


def _table(heading: str, pins: Mapping[int, frozenset[int]]) -> str:
    width = heading.index("CPU Affinity") - 1
    rows = "".join(f" {number:<{width}}{cpuset.render(cpus)}\n" for number, cpus in pins.items())
    return f"{heading}\n{'-' * (len(heading) + 2)}\n{rows}\n"
