"""Builds the image: Debian's Python, the wheels of the lock, and this tool.

Nothing is compiled and no script of a package is run. The same packages, lock and sources give
the same digest: files have neither times nor owners of this machine, and there is no bytecode.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from clusters.contract.provider import ClusterError, Progress
from clusters.harness_image import wheels
from clusters.host import cache
from clusters.kit.oci_archive import ROOT, ContainerImage, Directory, File, Link, write
from clusters.virtual_node.image import debian_suite, unpack_packages

PACKAGES = ("busybox-static", "python3")
NEED_MIB = 1024
USER = 65532
"""Neither root nor anybody of the host: `nonroot` of images without a distribution."""
HOME = "/tmp"
PLACE = "/usr/lib/cpu-conformance"

_UNPACKED = "packages.tar"
_LIBRARIES = "usr/lib/x86_64-linux-gnu/"
_KEPT = ("etc/python3", "usr/bin/python3", "usr/lib/python3", "usr/lib64/", _LIBRARIES)
_LEFT_OUT = (f"{_LIBRARIES}gconv/", f"{_LIBRARIES}perl", "usr/lib/python3/dist-packages/debpython")
_PYTHON = re.compile(r"usr/bin/python(3\.\d+)")
_APPLETS = ("cat", "cp", "env", "ls", "mkdir", "mv", "rm", "sh", "sleep", "tail", "tar")
"""For `kubectl exec` and `kubectl cp`, and for CI systems that run scripts."""
_ETC = {
    "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nconform:x:{USER}:{USER}::{HOME}:/bin/sh\n",
    "/etc/group": f"root:x:0:\nconform:x:{USER}:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_COMMAND = f"""\
#!/usr/bin/python3
import sys

sys.path.insert(0, "{PLACE}")
from conformance.cli import main

sys.exit(main())
"""


def build(
    name: str, sources: Mapping[str, bytes], lock: str, archive: Path, *, progress: Progress
) -> None:
    """Writes the archive of the image.

    What has to be fetched is kept in the cache; the sources change more often.

    Args:
        name: of the image, with tag.
        sources: of this tool, by path relative to where it is imported from.
        lock: text of the lock of its packages.
        archive: the file to write.
        progress: is told what is being made.

    Raises:
        ClusterError: a tool is missing, the disk is full, packages could not be fetched.
        OSError: the archive cannot be written.
    """
    suite = debian_suite()

    def fetch(directory: Path) -> None:
        progress(f"fetching {', '.join(PACKAGES)} of Debian {suite}")
        unpack_packages(PACKAGES, suite, directory / _UNPACKED, progress=progress)
        with tarfile.open(directory / _UNPACKED) as packages:
            _files, python = system_files(packages)
        progress(f"fetching the locked Python packages for Python {python}")
        wheels.fetch(lock, python, directory)

    fetcher = resources.files(__package__).joinpath("wheels.py").read_bytes()
    kept = cache.kept(
        f"harness-{cache.key([suite, lock, *PACKAGES, fetcher])}",
        fetch,
        what="what the image is made of",
        need_mib=NEED_MIB,
        progress=progress,
    )
    with tarfile.open(kept / _UNPACKED) as packages:
        system, python = system_files(packages)
    progress("writing the image")
    write(archive, [image(name, system, python, wheels.files(kept), sources)])


def system_files(packages: tarfile.TarFile) -> tuple[dict[str, File | Link | Directory], str]:
    """What the image takes of the unpacked `PACKAGES`, and which Python that is, as ``3.11``.

    Raises ClusterError when they lack it.
    """
    found: dict[str, File | Link | Directory] = {}
    python = ""
    busybox: bytes | None = None
    for member in packages:
        path = member.name.removeprefix("./").rstrip("/")
        if path == "usr/bin/busybox":
            busybox = _content(packages, member)
        if not path.startswith(_KEPT) or path.startswith(_LEFT_OUT):
            continue
        if member.issym():
            found[f"/{path}"] = Link(member.linkname)
        elif member.isfile() or member.islnk():
            found[f"/{path}"] = File(_content(packages, member), member.mode & 0o777)
            if version := _PYTHON.fullmatch(path):
                python = version[1]
    if busybox is None or not python:
        raise ClusterError("Debian's packages have no busybox or no python3 any more: report this")
    found |= {f"/usr/bin/{name}": File(busybox, 0o755) for name in _APPLETS}
    return found, python


def image(
    name: str,
    system: Mapping[str, File | Link | Directory],
    python: str,
    installed: Mapping[str, bytes],
    sources: Mapping[str, bytes],
) -> ContainerImage:
    """The image of these files; a container of it runs `conform`, not as root."""
    packages = f"/usr/local/lib/python{python}/dist-packages"
    return ContainerImage(
        name,
        {
            **{f"/{name}": Link(f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")},
            **system,
            **{path: File(text.encode()) for path, text in _ETC.items()},
            **{f"{packages}/{path}": File(content) for path, content in installed.items()},
            # Of processes that Python starts from inside, such as pytest-xdist's, as well.
            f"{packages}/cpu-conformance.pth": File(f"{PLACE}\n".encode()),
            **{f"{PLACE}/{path}": File(content) for path, content in sources.items()},
            "/usr/bin/conform": File(_COMMAND.encode(), 0o755),
            HOME: Directory(0o1777),
        },
        ("/usr/bin/conform",),
        owner=ROOT,
        user=USER,
        environment={
            "HOME": HOME,
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            # Files of the image have no bytecode; the processes of a run share what they compile.
            "PYTHONPYCACHEPREFIX": f"{HOME}/.pycache",
        },
        directory=HOME,
    )


def _content(packages: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = packages.extractfile(member)
    assert file is not None, member.name
    return file.read()
