"""What is expensive to make and is made once: kept by the hash of everything that goes in.

What is kept is run as programs and booted: the directory is this user's alone. It is read
whole, and compared with what was written, before it is first used after this machine was
started, and again whenever a file of it was touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import filelock

from clusters.contract.provider import ClusterError, Progress
from clusters.host import checksums

KEPT = 8
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def directory() -> Path:
    """``$XDG_CACHE_HOME/cpu-conformance``, made when it is missing.

    Raises ClusterError when it cannot be made, or somebody else could put something into it.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "cpu-conformance"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise ClusterError(
            f"{path} cannot be made ({error.strerror}): point XDG_CACHE_HOME to a directory of "
            "yours"
        ) from None
    if found.st_uid != os.getuid():
        raise ClusterError(
            f"{path} belongs to user {found.st_uid}, and what is in it is run: remove it, or "
            "point XDG_CACHE_HOME to a directory of yours"
        )
    if (mode := stat.S_IMODE(found.st_mode)) & 0o022:
        raise ClusterError(
            f"others may write to {path} (mode {mode:03o}), and what is in it is run: remove it, "
            "or `chmod go-w` it when you trust what is there"
        )
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
    One that is damaged is made again.
    Of each kind the `KEPT` that were used last remain.

    Args:
        name: ``KIND-KEY``.
        make: fills an empty directory.
        what: names it in messages, such as ``the node's image``.
        need_mib: free space without which making it is not even tried.
        progress: is told when another run is making it, and of damage.

    Raises:
        ClusterError: there is not enough space, it cannot be written, or `make` raised it.
    """
    path = directory() / name
    if _usable(path):
        return path
    lock = filelock.FileLock(_lock(name))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress(f"waiting for another run that makes {what}")
        lock.acquire()
    try:
        if _usable(path):
            return path
        if path.exists():
            progress(f"{what} in {path} is not what was written there, and is made anew")
            _remove(path)
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
            _write(_sums(path), checksums.of(unfinished))
            unfinished.rename(path)
            _note_checked(path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise ClusterError(f"{what} cannot be kept in {directory()}: {error}") from error
    finally:
        lock.release()
    return path


def discard(name: str) -> None:
    """Removes that directory from the cache."""
    _remove(directory() / name)


def _usable(path: Path) -> bool:
    """Whether it is there, as it was written; notes that it was used now."""
    if not path.is_dir():
        return False
    with contextlib.suppress(OSError):  # what is complete serves on a read-only disk too
        os.utime(path)
    if _read(_checked(path)) == _now(path):
        return True
    try:
        sound = _read(_sums(path)) == checksums.of(path)
    except OSError:  # the disk does not give it back
        sound = False
    if sound:
        _note_checked(path)
    return sound


def _note_checked(path: Path) -> None:
    with contextlib.suppress(OSError):
        _write(_checked(path), _now(path))


def _write(path: Path, content: object) -> None:
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _remove(path: Path) -> None:
    for note in (_sums(path), _checked(path)):
        note.unlink(missing_ok=True)
    if path.is_symlink():
        path.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _now(path: Path) -> list[object]:
    """When these were read: until what is equal changes, they need not be read again."""
    return [BOOT_ID.read_text() if BOOT_ID.exists() else "", checksums.unchanged(path)]


def _sums(path: Path) -> Path:
    return path.with_name(f".{path.name}.sums")


def _checked(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


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
        _remove(path)


def _lock(name: str) -> Path:
    return directory() / f".{name}.lock"
