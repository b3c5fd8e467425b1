"""The wheels of a lock, for the Python of an image, whatever Python this machine has."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from packaging.markers import Marker

from clusters.contract.provider import ClusterError

GLIBC = 36
"""2.36 is that of Debian 12, the oldest one that images are made of."""
_REQUIREMENT = re.compile(r"^(?P<name>[\w.-]+==[^\s;]+)(?: ; (?P<marker>[^\\]+))? \\$")
_IN_ROOT = frozenset({"purelib", "platlib"})
"""Directories of a wheel's ``.data`` whose content belongs beside its packages (PEP 427)."""


def fetch(lock: str, python: str, directory: Path) -> None:
    """Fetches the wheels of a lock into a directory.

    Args:
        lock: text of a lock, with hashes.
        python: of the image, such as ``3.11``.
        directory: where they go.

    Raises:
        ClusterError: pip is not here, or a wheel cannot be had, or is not the one of the lock.
    """
    wanted = directory / "wanted.lock"
    wanted.write_text(wanted_of(lock, python))
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(GLIBC, 4, -1)]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation=cp"),
        *(f"--python-version={python}", *platforms, "--platform=manylinux2014_x86_64"),
        *("--dest", str(directory), "-r", str(wanted)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-10:])
        raise ClusterError(f"the locked Python packages could not be fetched:\n{tail}")


def files(directory: Path) -> Mapping[str, bytes]:
    """What the wheels there put where Python finds packages, by relative path.

    Raises ClusterError for one that has files elsewhere.
    """
    return {
        path: content
        for wheel in sorted(directory.glob("*.whl"))
        for path, content in _unpacked(wheel)
    }


def wanted_of(lock: str, python: str) -> str:
    """The part of a lock that a Linux machine with that Python takes; markers are gone."""
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    lines: list[str] = []
    taken = False
    for line in lock.splitlines():
        found = _REQUIREMENT.match(line)
        if found:
            marker = found["marker"]
            taken = marker is None or Marker(marker.strip()).evaluate(environment)
        if taken and not line.lstrip().startswith("#"):
            lines.append(f"{found['name']} \\" if found else line)
    return "\n".join(lines) + "\n"


def _unpacked(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as content:
        for member in content.infolist():
            path = PurePosixPath(member.filename)
            if member.is_dir():
                continue
            if path.is_absolute() or ".." in path.parts:
                raise ClusterError(f"{wheel.name} has a file outside of it: {member.filename}")
            if path.parts[0].endswith(".data"):
                # Programs and headers are of no use there.
                if path.parts[1] not in _IN_ROOT:
                    continue
                path = PurePosixPath(*path.parts[2:])
            yield str(path), content.read(member)
