"""An initial RAM file system, in the form that the kernel unpacks by itself.

Source of the form: Documentation/driver-api/early-userspace/buffer-format.rst of Linux, magic
070701 (``newc``).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

_CONSOLE = (5, 1)
"""Device number of ``/dev/console``, which the first process gets as its input and output."""


def initrd(
    files: Mapping[str, bytes], links: Mapping[str, str], directories: Sequence[str]
) -> bytes:
    """The archive; the same files give the same bytes.

    Args:
        files: content by relative path; all of them are executable.
        links: target by relative path.
        directories: empty ones that shall be there; those of files are made.
    """
    wanted = {*directories, "dev"}
    for path in (*files, *links):
        wanted |= {str(parent) for parent in PurePosixPath(path).parents} - {"."}
    members = [(path, stat.S_IFDIR | 0o755, b"", (0, 0)) for path in sorted(wanted)]
    members += [(path, stat.S_IFREG | 0o755, data, (0, 0)) for path, data in sorted(files.items())]
    members += [
        (path, stat.S_IFLNK | 0o777, target.encode(), (0, 0))
        for path, target in sorted(links.items())
    ]
    members += [
        ("dev/console", stat.S_IFCHR | 0o600, b"", _CONSOLE),
        ("TRAILER!!!", 0, b"", (0, 0)),
    ]
    return b"".join(
        _member(number, name, mode, data, device)
        for number, (name, mode, data, device) in enumerate(members, start=1)
    )


def _member(number: int, name: str, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    text = name.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device of the file, its own device, name, check
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(text), 0)
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return _padded(header + text) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
