"""What the user need not provide: a pinned release of Kubernetes, and Debian's etcd."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from clusters.contract.provider import ClusterError, Progress
from clusters.host import cache, download

RELEASE = "v1.36.0"
ARCHIVE = "kubernetes-server-linux-amd64.tar.gz"
URL = f"https://dl.k8s.io/{RELEASE}/{ARCHIVE}"
SHA512 = (
    "1c64da92575451c2c7ff97c79b772e603995f8e76da1371a6b0746aaa27b65dc"
    "e81c4d734cbb50f40e71486a8e08df36f14e12974f97d4d29e41f23a172a6a25"
)
"""Of the archive (kubernetes CHANGELOG/CHANGELOG-1.36.md, Downloads for v1.36.0)."""
PROGRAMS = "kubernetes/server/bin"
"""Where they are in the archive."""
KUBERNETES_MIB = 1024
ETCD_PACKAGE = "etcd-server"
ETCD_MIB = 128


def kubernetes(names: Sequence[str], progress: Progress) -> Path:
    """A directory with these programs of the pinned release, fetched when it is not kept.

    Raises:
        ClusterError: it cannot be had.
    """
    instead = f"give --kubernetes DIR, a directory with {', '.join(names)}"
    if platform.machine() != "x86_64":
        raise ClusterError(f"virtual nodes are amd64, and this host is {platform.machine()}")

    def fetch(directory: Path) -> None:
        archive = directory / ARCHIVE
        what = f"Kubernetes {RELEASE}"
        download.fetch(
            URL, archive, "sha512", SHA512, what=what, instead=instead, progress=progress
        )
        progress(f"{what}: unpacking {len(names)} programs")
        with tarfile.open(archive) as packed:
            for name in names:
                member = packed.extractfile(f"{PROGRAMS}/{name}")
                assert member is not None, f"{name} is a file of this very archive"
                with member, (directory / name).open("wb") as program:
                    shutil.copyfileobj(member, program)
                (directory / name).chmod(0o755)
        archive.unlink()

    return cache.kept(
        f"kubernetes-{SHA512[:16]}",
        fetch,
        what=f"Kubernetes {RELEASE}",
        need_mib=KUBERNETES_MIB,
        progress=progress,
    )


def etcd(progress: Progress) -> Path:
    """The program of Debian's or Ubuntu's package, which is unpacked but not installed.

    Installing it would start a service.

    Raises:
        ClusterError: it cannot be had.
    """

    def unpack(directory: Path) -> None:
        progress(f"unpacking this host's package {ETCD_PACKAGE}")
        _run(("apt-get", "download", "-qq", ETCD_PACKAGE), directory)
        (package,) = directory.glob("*.deb")
        _run(("dpkg-deb", "--extract", package.name, "."), directory)
        package.unlink()

    release = platform.freedesktop_os_release()
    kept = cache.kept(
        f"etcd-{release['ID']}{release.get('VERSION_ID', '')}",
        unpack,
        what="etcd",
        need_mib=ETCD_MIB,
        progress=progress,
    )
    return kept / "usr/bin/etcd"


def _run(command: Sequence[str], directory: Path) -> None:
    try:
        ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        said = (ended.stderr or ended.stdout).strip()[-300:]
        trouble = f"status {ended.returncode}, {said}" if ended.returncode else ""
    except OSError as error:
        trouble = str(error)
    if trouble:
        raise ClusterError(
            f"etcd is not on this host, and its package could not be unpacked "
            f"(`{' '.join(command)}`: {trouble}): put `etcd` on PATH or into the directory of "
            "--kubernetes; `apt-get update` may be all it takes"
        )
