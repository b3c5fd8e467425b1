"""What a kind of cluster needs of this machine beyond Python and its packages."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import clusters
from clusters.contract.provider import ClusterError

ROOT = Path(clusters.__file__).parents[1]
PREPARE = ROOT / ".ci" / "prepare"
"""Installs what is missing, in a checkout that has its own virtual environment."""
SBIN = "/usr/sbin:/sbin"
"""Where Debian has some of these programs, and where not everybody's PATH leads."""


@dataclass(frozen=True)
class Need:
    """Something that takes more than Python.

    Attributes:
        group: what `.ci/prepare` calls it.
        what: it, in a sentence.
        programs: the Debian package of each program that it takes.
        modules: the Python distribution of each module that it takes.
    """

    group: str
    what: str
    programs: Mapping[str, str]
    modules: Mapping[str, str]

    def missing(self) -> str | None:
        """What of it is not here and how to get that; None when all is."""
        programs = [name for name in self.programs if not _found(name)]
        modules = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if not programs and not modules:
            return None
        ways = []
        if programs:
            packages = " ".join(sorted({self.programs[name] for name in programs}))
            ways.append(f"on Debian `apt-get install --no-install-recommends {packages}`")
        if modules:
            distributions = " ".join(self.modules[name] for name in modules)
            ways.append(
                f"`pip install {distributions}`, which compiles and needs gcc, pkg-config, "
                "libvirt's headers and Python's"
            )
        names = ", ".join([*programs, *(f"the Python module {name}" for name in modules)])
        return (
            f"{self.what} needs what is missing here: {names} ({'; '.join(ways)}); "
            "--cluster simulated and --cluster existing need none of it"
        )


_LIBVIRT = {"libvirt": "libvirt-python"}
IMAGES = Need("images", "building images", {"mmdebstrap": "mmdebstrap", "xz": "xz-utils"}, {})
NODE = Need(
    "node",
    "a virtual node",
    {
        **IMAGES.programs,
        "lz4": "lz4",
        "qemu-img": "qemu-utils",
        "qemu-system-x86_64": "qemu-system-x86",
        "ssh": "openssh-client",
    },
    _LIBVIRT,
)
NEEDS = {
    "embedded": NODE,
    "kind": Need("libvirt", "reading the launchers of a kind cluster", {}, _LIBVIRT),
    "virtual": NODE,
}
"""By the name of the provider; what is not here needs nothing."""


def require(provider: str) -> None:
    """Raises ClusterError when this machine lacks what a cluster of that kind needs."""
    need = NEEDS.get(provider)
    if need is not None and (missing := need.missing()):
        raise ClusterError(missing)


def prepare(need: Need | None, *more: str) -> None:
    """As `require`, after installing what is missing where that is this tool's to do.

    It is where the tool runs in a checkout's own virtual environment, which `./conform` made.

    Args:
        need: what is asked for.
        more: further groups of `.ci/prepare`.
    """
    missing = need.missing() if need is not None else None
    if Path(sys.prefix) == ROOT / ".venv" and PREPARE.exists() and (missing or more):
        groups: Sequence[str] = [need.group, *more] if need is not None else more
        if subprocess.run([PREPARE, *groups], check=False).returncode:
            raise ClusterError("this machine could not be prepared, see above")
        importlib.invalidate_caches()
        missing = need.missing() if need is not None else None
    if missing:
        raise ClusterError(missing)


def _found(program: str) -> bool:
    return bool(shutil.which(program) or shutil.which(program, path=SBIN))
