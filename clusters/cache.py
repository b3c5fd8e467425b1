"""What is expensive to make and is made once: kept by the hash of everything that goes in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import filelock

from clusters.provider import ClusterError, Progress

KEPT = 8


def directory() -> Path:
    """``$XDG_CACHE_HOME/cpu-conformance``, made when it is missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "cpu-conformance"
    path.mkdir(parents=True, exist_ok=True)
    return path


def key(parts: Iterable[str | bytes]) -> str:
    """A short name for these parts, in this order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def kept(
    name: str, make: Callable[[Path], None], *, what: str, need_mib: int, progress: Progress
) -> Path:
    """The directory of that name in the cache, made first if it is not there.

    A directory appears whole or not at all, and is made once even when several runs want it.
    Of each kind the `KEPT` that were used last remain.

    Args:
        name: ``KIND-KEY``.
        make: fills an empty directory.
        what: names it in messages, such as ``the node's image``.
        need_mib: free space without which making it is not even tried.
        progress: is told when another run is making it.

    Raises:
        ClusterError: there is not enough space, or `make` raised it.
    """
    path = directory() / name
    if _used(path):
        return path
    lock = filelock.FileLock(_lock(name))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress(f"waiting for another run that makes {what}")
        lock.acquire()
    try:
        if _used(path):
            return path
        _make_room(name)
        free = shutil.disk_usage(directory()).free >> 20
        if free < need_mib:
            raise ClusterError(
                f"{what} needs {need_mib} MiB, and {directory()} has {free} MiB free: "
                "make room, or point XDG_CACHE_HOME to another disk"
            )
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=directory()))
        try:
            make(unfinished)
            unfinished.rename(path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    finally:
        lock.release()
    return path


def discard(name: str) -> None:
    """Removes that directory from the cache."""
    shutil.rmtree(directory() / name, ignore_errors=True)


def _used(path: Path) -> bool:
    """Whether it is there; notes that it was used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _make_room(name: str) -> None:
    """Removes what killed runs left half made, and the oldest of that kind.

    What a machine runs from may be removed: it has its files open.
    """
    for path in directory().glob(".*.*/"):
        made = path.name[1:].rpartition(".")[0]
        with contextlib.ExitStack() as stack:
            if made != name:  # whose lock the caller holds
                try:
                    stack.enter_context(filelock.FileLock(_lock(made)).acquire(blocking=False))
                except filelock.Timeout:
                    continue
            shutil.rmtree(path, ignore_errors=True)
    kind = name.partition("-")[0]
    finished = sorted(directory().glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime)
    for path in finished[: -(KEPT - 1)]:
        shutil.rmtree(path, ignore_errors=True)


def _lock(name: str) -> Path:
    return directory() / f".{name}.lock"
