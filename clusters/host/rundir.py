"""Where running clusters keep their files, and which of them are still alive.

One directory a cluster below a directory of the user: short, because unix sockets live in
it and their paths may not exceed 107 bytes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from clusters.contract.provider import ClusterError, Handle
from clusters.host import processes
from clusters.host.started import conform
from clusters.host.whole import write_whole

HANDLE = "handle.json"
SOCKET_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a unix socket's path at most (unix(7); a BSD has less room)."""
ROOM = 20
"""Bytes of such a path below the cluster's directory, ``/node-1/libvirt-0`` for one."""
CREATOR = "creator"
"""Who made the directory, so that one without a handle can be told from one in the making."""


def base() -> Path:
    """The directory of all clusters of this user, made private to the user."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        path = Path(runtime) / "cpu-conformance"
    else:
        path = Path(tempfile.gettempdir()) / f"cpu-conformance-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ClusterError(
            f"{path}, where running clusters keep their files, cannot be made "
            f"({error.strerror}): point XDG_RUNTIME_DIR or TMPDIR to a directory of yours"
        ) from None
    # In a directory of everybody, anybody may have made it, or a link to a place of ours.
    private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    if found.st_uid != os.getuid() or not private:
        raise ClusterError(
            f"{path} is no directory, belongs to somebody else or is open to others: remove it"
        )
    return path


def create(name: str) -> Path:
    """A new directory for the cluster of that name. Raises ClusterError when it is taken."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name):
        raise ClusterError(
            f"{name!r} cannot name a cluster: use at most 32 lower-case letters, digits and dashes"
        )
    path = base() / name
    _require_short(path)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        raise ClusterError(
            f"a cluster named {name!r} is there already; `{conform()} down {name}` removes it"
        ) from None
    _sign(path)
    return path


def sockets() -> tempfile.TemporaryDirectory[str]:
    """A new directory of this process alone, with a short path; `orphans` tells of it when the
    process was killed. Raises ClusterError.
    """
    made = tempfile.TemporaryDirectory(prefix=".", dir=base(), ignore_cleanup_errors=True)
    path = Path(made.name)
    _require_short(path)
    _sign(path)
    return made


def _sign(path: Path) -> None:
    try:
        (path / CREATOR).write_text(processes.identity(os.getpid()))
    except OSError as error:
        remove(path)
        raise ClusterError(
            f"nothing can be written to {path.parent} ({error.strerror}): make room there, or "
            "point XDG_RUNTIME_DIR to another directory"
        ) from None


def _require_short(path: Path) -> None:
    if len(os.fsencode(path)) > SOCKET_PATH - ROOM:
        raise ClusterError(
            f"{path} is too long for the paths of sockets: set XDG_RUNTIME_DIR to a shorter one"
        )


def remove(path: Path) -> None:
    """Removes a cluster's directory with everything in it."""
    shutil.rmtree(path, ignore_errors=True)


def handles() -> Iterator[Handle]:
    """The handles of every cluster that was brought up and not taken down, dead ones too."""
    for path in sorted(base().glob(f"*/{HANDLE}")):
        # Another run may take its own cluster down at this moment.
        with contextlib.suppress(FileNotFoundError):
            yield Handle.load(path.read_text())


def write_handle(directory: Path, handle: Handle) -> None:
    """Makes the cluster known; whoever lists clusters sees all of the handle or none."""
    write_whole(directory / HANDLE, handle.dump())


def orphans() -> Iterator[Path]:
    """Directories whose maker was killed before the cluster had a handle."""
    for path in sorted(base().glob(f"*/{CREATOR}")):
        with contextlib.suppress(FileNotFoundError):
            maker = path.read_text()
            if maker and not (path.parent / HANDLE).exists() and not processes.alive(maker):
                yield path.parent


def find(name: str) -> Handle:
    """The handle of the cluster of that name. Raises ClusterError when there is none."""
    for handle in handles():
        if handle.name == name:
            return handle
    raise ClusterError(f"there is no cluster named {name!r}; `{conform()} status` lists them")
