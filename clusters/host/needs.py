"""Whether this machine has what is needed beyond Python and its packages."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import clusters
from clusters.contract.describing import Need
from clusters.contract.provider import ClusterError

ROOT = Path(clusters.__file__).parents[1]
PREPARE = ROOT / ".ci" / "prepare"
"""Installs what is missing, in a checkout that has its own virtual environment."""
SBIN = "/usr/sbin:/sbin"
"""Where Debian has some of these programs, and where not everybody's PATH leads."""

LIBVIRT = {"libvirt": "libvirt-python"}
IMAGES = Need("building images", {"mmdebstrap": "mmdebstrap", "xz": "xz-utils"}, group="images")
NODE = Need(
    "a virtual node",
    {
        **IMAGES.programs,
        "lz4": "lz4",
        "qemu-img": "qemu-utils",
        "qemu-system-x86_64": "qemu-system-x86",
        "ssh": "openssh-client",
    },
    LIBVIRT,
    group="node",
)


def missing(need: Need | None) -> str | None:
    """What of it is not here and how to get that; None when all is."""
    if need is None:
        return None
    programs = [name for name in need.programs if not _found(name)]
    modules = [name for name in need.modules if importlib.util.find_spec(name) is None]
    if not programs and not modules:
        return None
    ways = []
    if programs:
        packages = " ".join(sorted({need.programs[name] for name in programs}))
        ways.append(f"on Debian `apt-get install --no-install-recommends {packages}`")
    if modules:
        distributions = " ".join(need.modules[name] for name in modules)
        ways.append(
            f"`pip install {distributions}`, which compiles and needs gcc, pkg-config, "
            "libvirt's headers and Python's"
        )
    names = ", ".join([*programs, *(f"the Python module {name}" for name in modules)])
    return f"{need.what} needs what is missing here: {names} ({'; '.join(ways)})"


def require(need: Need) -> None:
    """Raises ClusterError when this machine lacks it."""
    if lacking := missing(need):
        raise ClusterError(lacking)


def install(need: Need | None, *more: str) -> None:
    """Installs what is missing of it where that is this tool's to do.

    It is where the tool runs in a checkout's own virtual environment, which `./conform` made.

    Args:
        need: what is asked for.
        more: further groups of `.ci/prepare`.

    Raises:
        ClusterError: it could not be installed.
    """
    group = need.group if need is not None and (more or missing(need)) else ""
    groups: Sequence[str] = [group, *more] if group else more
    if groups and Path(sys.prefix) == ROOT / ".venv" and PREPARE.exists():
        if subprocess.run([PREPARE, *groups], check=False).returncode:
            raise ClusterError("this machine could not be prepared, see above")
        importlib.invalidate_caches()


def prepare(need: Need, *more: str) -> None:
    """As `install`, then `require`."""
    install(need, *more)
    require(need)


def _found(program: str) -> bool:
    return bool(shutil.which(program) or shutil.which(program, path=SBIN))
