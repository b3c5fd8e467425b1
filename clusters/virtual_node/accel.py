"""Which acceleration this host has: KVM where it works, software emulation elsewhere.

That ``/dev/kvm`` opens proves nothing: it may hang as soon as a guest runs. So a guest of
a few instructions is run under a deadline.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from clusters.contract.provider import ClusterError
from clusters.host import cache, scratch

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
    """

    kind: str
    cpu: str
    reason: str
    qemu: str

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


def choose() -> Accel:
    """Probes this host; the answer holds, and is kept, until it is booted again.

    Raises ClusterError when QEMU is missing.
    """
    qemu = _qemu_version()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    question = f"{boot} {qemu} {os.access('/dev/kvm', os.R_OK | os.W_OK)}"
    kept = cache.directory() / "accel.json"
    try:
        known = json.loads(kept.read_text())
        if known.pop("question") == question:
            return Accel(**known)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent, or written by another version: probe again
    accel = _probe(qemu)
    written = kept.with_name(f".accel.{os.getpid()}")
    written.write_text(json.dumps({"question": question, **asdict(accel)}))
    written.replace(kept)
    return accel


def _probe(qemu: str) -> Accel:
    problem = _kvm_problem()
    if problem is None:
        return Accel("kvm", "host", "KVM ran a test guest", qemu)
    return Accel("tcg", TCG_CPU, f"{problem}; CPUs are emulated, AMD-V among them", qemu)


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
    with scratch.directory() as directory:
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


def _qemu_version() -> str:
    try:
        said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise ClusterError(
            f"{QEMU} is missing on this host: apt-get install --no-install-recommends "
            "qemu-system-x86"
        ) from None
    except (subprocess.CalledProcessError, PermissionError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip()
        raise ClusterError(
            f"{QEMU} does not work on this host: {why}; install it anew: "
            "apt-get install --reinstall qemu-system-x86"
        ) from None
    return said.stdout.splitlines()[0].partition("version ")[2]
