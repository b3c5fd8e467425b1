"""The QEMU that emulates CPUs: this host's, or a newer one where this host's loses code.

When several emulated CPUs run, QEMU before 8.1 may translate an instruction in the moment in
which the guest's kernel replaces it, keep what it read, and run that for ever: the machine
hangs (QEMU's commit deba78709, "accel/tcg: Always lock pages before translation"). A kernel
does so whenever something comes for the first time, and a boot is full of it. Debian 12 has
QEMU 7.2; there the QEMU of Debian 13 is unpacked into the cache, with all its libraries, and
nothing of the host is touched.
"""

from __future__ import annotations

import re
from pathlib import Path

from clusters.provider import ClusterError, Progress
from clusters.virtual_node import cache, debian

SOUND = (8, 1)
SUITE = "trixie"
PACKAGES = ("qemu-system-x86",)
UNPACKED_MIB = 1024

_HOOK = """\
set -e
cd "$1"
mkdir {room}/lib {room}/share
cp -a usr/lib/x86_64-linux-gnu/*.so* usr/lib/x86_64-linux-gnu/qemu {room}/lib/
cp -rL usr/share/qemu/. {room}/share/
cp -L usr/bin/qemu-system-x86_64 {room}/qemu-system-x86_64
"""
KEPT = ("lib", "share", "qemu-system-x86_64")


def is_sound(version: str) -> bool:
    """Whether a QEMU of that version (``7.2.22 (Debian ...)``) keeps patched code apart."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= SOUND


def unpacked(progress: Progress) -> tuple[str, ...]:
    """The command that runs Debian's newer QEMU, from the cache or unpacked now.

    Raises ClusterError when it could not be fetched.
    """

    def keep(room: Path, directory: Path) -> None:
        for name in KEPT:
            debian.tool(["cp", "-r", "-P", room / name, directory / name], package="coreutils")

    def make(directory: Path) -> None:
        progress(f"unpacking the QEMU of Debian {SUITE}, since this host's is too old to emulate")
        debian.unpack(
            SUITE,
            PACKAGES,
            lambda room: _HOOK.format(room=room),
            directory=directory,
            keep=lambda room: keep(room, directory),
            progress=progress,
        )

    path = cache.kept(
        f"qemu-{cache.key([SUITE, *PACKAGES, _HOOK])}",
        make,
        what="a newer QEMU",
        need_mib=UNPACKED_MIB,
        progress=progress,
    )
    return (
        *("env", f"QEMU_MODULE_DIR={path}/lib/qemu"),
        *(f"{path}/lib/ld-linux-x86-64.so.2", "--library-path", f"{path}/lib"),
        *(f"{path}/qemu-system-x86_64", "-L", f"{path}/share"),
    )


def choose(host: str, host_version: str, progress: Progress) -> tuple[tuple[str, ...], str | None]:
    """The command of the QEMU that is to emulate, and why it is not a better one, if so."""
    if is_sound(host_version):
        return (host,), None
    try:
        return unpacked(progress), None
    except ClusterError as error:
        return (host,), (
            f"QEMU {host_version} may hang while it emulates, and a newer one could not be "
            f"fetched ({str(error).splitlines()[-1]})"
        )
