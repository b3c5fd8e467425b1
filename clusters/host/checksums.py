"""Whether files are still what was written: a disk loses a bit without saying so.

Against damage, not against people: who may write here is a question of the directory.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 20
_ZEROS = bytes(BLOCK)


def of(directory: Path) -> dict[str, str]:
    """The checksum of each file below the directory, by its path there.

    Holes are skipped: the same content has the same checksum, whether it has holes or zeros.
    """
    return {str(path.relative_to(directory)): _of_file(path) for path in _files(directory)}


def unchanged(directory: Path) -> dict[str, list[int]]:
    """What changes when a file is written to, however little: as quick as listing them."""
    found = {}
    for path in _files(directory):
        status = path.stat()
        found[str(path.relative_to(directory))] = [
            status.st_size,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
        ]
    return found


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _of_file(path: Path) -> str:
    found = 0
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        position = _data(file.fileno(), 0)
        while position is not None:
            position -= position % BLOCK
            block = os.pread(file.fileno(), BLOCK, position)
            if block != _ZEROS[: len(block)]:
                found = zlib.crc32(block, zlib.crc32(position.to_bytes(8, "big"), found))
            position = _data(file.fileno(), position + BLOCK)
    return f"{size}:{found:08x}"


def _data(file: int, position: int) -> int | None:
    """Where the next data are from there on, None behind the last."""
    try:
        return os.lseek(file, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
