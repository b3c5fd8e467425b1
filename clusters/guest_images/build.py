"""Builds the three images: a guest, a disk for it, a sidecar beside it.

The guest is the reference stack's own, `clusters.guest_images.guest`, on Debian's kernel, so that
the same guest reports everywhere. Debian's cloud kernel has the serial line, sysfs and the
virtio bus built in, which is all that the guest needs; it mounts no disk.
"""

from __future__ import annotations

import tarfile
from importlib import resources
from pathlib import Path

from clusters.contract.provider import ClusterError, Progress
from clusters.guest_images.initrd import initrd
from clusters.host import cache
from clusters.kit import oci_archive
from clusters.kit.oci_archive import ContainerImage, File, write
from clusters.virtual_node import kernel
from clusters.virtual_node.image import debian_suite, unpack_packages

PACKAGES = ("busybox-static", "linux-image-cloud-amd64", "perl-base")
NEED_MIB = 1024
ARCHIVE = "images.tar"

KERNEL = "/boot/vmlinux"
INITRD = "/boot/initrd"
DISK = "/disk/disk.img"
SIDECAR = "/usr/bin/hook-sidecar"

_DISK_BYTES = 1 << 20
_SOURCES = ("build.py", "initrd.py", "sidecar.pl")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = f"{_LIBRARIES}/ld-linux-x86-64.so.2"
_PERL = ("usr/bin/perl", f"{_LIBRARIES}/perl-base/")
_NEEDED = tuple(f"{_LIBRARIES}/{name}" for name in ("libc.so.6", "libcrypt.so.1", "libm.so.6"))
"""Shared libraries of perl, by the names that it asks for."""


def build(prefix: str, *, progress: Progress) -> Path:
    """The archive of the images ``PREFIX/guest``, ``PREFIX/disk`` and ``PREFIX/sidecar``.

    Args:
        prefix: a registry with what leads to the images there, or ``localhost/...``.
        progress: is told what is being made.

    Returns:
        A file in the cache, made now if it was not there.

    Raises:
        ClusterError: a tool is missing, the disk is full, packages could not be fetched.
    """
    here = resources.files(__package__)
    own = [here.joinpath(name).read_bytes() for name in _SOURCES]
    own.append(Path(oci_archive.__file__).read_bytes())
    suite = debian_suite()
    name = f"images-{cache.key([suite, prefix, *PACKAGES, *own, *_guest_programs().values()])}"

    def make(directory: Path) -> None:
        progress(f"fetching {', '.join(PACKAGES)} of Debian {suite}")
        unpacked = directory / "packages.tar"
        unpack_packages(PACKAGES, suite, unpacked, progress=progress)
        progress("writing the images guest, disk and sidecar")
        with tarfile.open(unpacked) as packages:
            write(directory / ARCHIVE, images(packages, prefix))
        unpacked.unlink()

    kept = cache.kept(name, make, what="the images", need_mib=NEED_MIB, progress=progress)
    return kept / ARCHIVE


def images(packages: tarfile.TarFile, prefix: str) -> tuple[ContainerImage, ...]:
    """The three images, of the unpacked `PACKAGES`. Raises ClusterError when one lacks a file."""
    members = {member.name.removeprefix("./").rstrip("/"): member for member in packages}

    def content(path: str) -> bytes:
        file = packages.extractfile(members[path]) if path in members else None
        if file is None:
            raise ClusterError(f"Debian's packages have no file {path} any more: report this")
        return file.read()

    boot = next((path for path in members if path.startswith("boot/vmlinuz-")), "boot/vmlinuz-*")

    busybox = File(content("usr/bin/busybox"), 0o555)
    guest = initrd(
        {"bin/busybox": busybox.content, **_guest_programs()},
        {"bin/sh": "busybox"},
        ("sys",),
    )
    perl = {
        f"/{path}": File(content(path), member.mode & 0o777)
        for path, member in members.items()
        if path.startswith(_PERL) and member.isfile()
    }
    libraries = {f"/{path}": File(content(path), 0o555) for path in _NEEDED}
    libraries["/lib64/ld-linux-x86-64.so.2"] = File(content(_LOADER), 0o555)
    # Plain pods run a shell that sleeps; a scenario kills a container from inside.
    shell = {f"/usr/bin/{name}": busybox for name in ("sh", "sleep", "kill")}
    script = resources.files(__package__).joinpath("sidecar.pl").read_bytes()
    return (
        ContainerImage(
            f"{prefix}/guest:latest",
            {KERNEL: File(kernel.uncompressed(content(boot))), INITRD: File(guest)},
        ),
        ContainerImage(f"{prefix}/disk:latest", {DISK: File(bytes(_DISK_BYTES), 0o440)}),
        ContainerImage(
            f"{prefix}/sidecar:latest",
            {**libraries, **perl, **shell, SIDECAR: File(script, 0o555)},
            (SIDECAR,),
        ),
    )


def _guest_programs() -> dict[str, bytes]:
    guest = resources.files("clusters.guest_images.guest")
    return {
        "init": guest.joinpath("init.sh").read_bytes(),
        "report.awk": guest.joinpath("report.awk").read_bytes(),
    }
