"""Which acceleration this host has: KVM where it works, software emulation elsewhere.

That ``/dev/kvm`` opens proves nothing: it may hang as soon as a guest runs. So a guest of
a few instructions is run under a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from clusters.provider import ClusterError, Progress
from clusters.virtual_node import cache, emulator

QEMU = "qemu-system-x86_64"
KVM_PROBE_SECONDS = 5.0
EXIT_PORT = 0xF4
EXIT_STATUS = 33
"""What QEMU returns when 16 is written to its isa-debug-exit device: 2 * 16 + 1."""

BOOT_SECTOR = bytes([0xB0, 0x10, 0xE6, EXIT_PORT, 0xF4]).ljust(510, b"\0") + b"\x55\xaa"
"""``mov al, 16; out EXIT_PORT, al; hlt``"""


@dataclass(frozen=True)
class Accel:
    """How the CPUs of virtual nodes are run.

    Attributes:
        kind: ``kvm`` or ``tcg``.
        cpu: QEMU's CPU model; it always has the extensions that a nested KVM needs.
        reason: why this kind, for people.
        qemu: version of QEMU and of its package, such as ``7.2.22 (Debian ...)``.
        program: command that runs this QEMU, to which its arguments are added.
    """

    kind: str
    cpu: str
    reason: str
    qemu: str
    program: tuple[str, ...]

    @property
    def argument(self) -> str:
        """Value of QEMU's ``-accel``."""
        return "kvm" if self.kind == "kvm" else "tcg,thread=multi"


TCG_CPU = (
    "EPYC,svm=on,npt=on,"
    # TOPOEXT only tells the topology, hyperthreads among it, and QEMU's emulation answers its
    # CPUID leaves; yet QEMU 7.2 strikes it out as unsupported unless it is forced. Forcing is
    # for all features at once, so those that really are not emulated are named here.
    "x-force-features=on,rdseed=off,sha-ni=off,xsavec=off,3dnowprefetch=off,"
    "misalignsse=off,osvw=off,fxsr-opt=off,nrip-save=off"
)


def choose(*, progress: Progress) -> Accel:
    """Probes this host; what KVM answers is kept until the host is booted again.

    Args:
        progress: is told when a QEMU is fetched (`clusters.virtual_node.emulator`).

    Raises:
        ClusterError: QEMU is missing.
    """
    version = _version((QEMU,))
    problem = _kept_kvm_problem(version)
    if problem is None:
        return Accel("kvm", "host", "KVM ran a test guest", version, (QEMU,))
    program, trouble = emulator.choose(QEMU, version, progress)
    if trouble is not None:
        progress(trouble)
    reason = f"{problem}; CPUs are emulated, AMD-V among them"
    return Accel("tcg", TCG_CPU, reason, _version(program), program)


def _kept_kvm_problem(version: str) -> str | None:
    """As `_kvm_problem`, from the cache where nothing has changed since it was asked."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    question = f"{boot} {version} {os.access('/dev/kvm', os.R_OK | os.W_OK)}"
    kept = cache.directory() / "kvm.json"
    # Absent, or written by another version of this: ask again.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(kept.read_text())
        if known["question"] == question:
            answer: str | None = known["problem"]
            return answer
    problem = _kvm_problem()
    written = kept.with_name(f".kvm.{os.getpid()}")
    written.write_text(json.dumps({"question": question, "problem": problem}))
    written.replace(kept)
    return problem


def _kvm_problem() -> str | None:
    """Why KVM cannot be used, None when it can."""
    if not Path("/dev/kvm").exists():
        return "this host has no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is not open to this user (group kvm)"
    nested = [
        parameter.read_text().strip()
        for parameter in Path("/sys/module").glob("kvm_*/parameters/nested")
    ]
    if not set(nested) & {"1", "Y"}:
        return "this host's KVM does not offer nested virtualisation"
    return guest_problem()


def guest_problem() -> str | None:
    """Runs the test guest under KVM; says what went wrong, None when it ran."""
    with tempfile.TemporaryDirectory(prefix="virtual-node-") as directory:
        disk = Path(directory) / "disk"
        disk.write_bytes(BOOT_SECTOR)
        command = [
            *(QEMU, "-nodefaults", "-no-user-config", "-display", "none"),
            *("-accel", "kvm", "-cpu", "host", "-m", "16"),
            *("-drive", f"file={disk},format=raw,if=ide,snapshot=on"),
            *("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"),
        ]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=KVM_PROBE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"a test guest under KVM did not run within {KVM_PROBE_SECONDS:.0f} s"
    if ended.returncode != EXIT_STATUS:
        said = ended.stderr.strip().splitlines()
        return f"a test guest under KVM failed ({said[-1] if said else ended.returncode})"
    return None


def _version(program: tuple[str, ...]) -> str:
    try:
        said = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise ClusterError(
            f"{QEMU} is missing on this host: apt-get install --no-install-recommends "
            "qemu-system-x86"
        ) from None
    return said.stdout.splitlines()[0].partition("version ")[2]
