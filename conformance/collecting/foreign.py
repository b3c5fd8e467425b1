"""Files of evidence that anybody may have made: read without following or waiting for anything.

Evidence is handed around. Whoever judges it must not be made to wait (a pipe), to read what he
did not mean to (a link, ``..`` in a name), or to run out of memory (``/dev/zero``, a huge file).
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

MIB = 2**20
LARGEST = 64 * MIB
"""Of one file. The pods and threads of one node with 256 CPUs and 60 VMIs take 3 MiB."""
LARGEST_RUN = 512 * MIB
"""Of ``run.json``: a hundred thousand planned VMIs take 70 MiB."""
_DEEPEST = 64
"""Of manifests, which go into the reports. Those of KubeVirt are some ten levels deep."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe waits for its other end; O_NOCTTY is for terminals.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LONE = re.compile(r"\\u[dD][89a-fA-F]")


class BundleError(Exception):
    """The directory holds no evidence that can be read; the message says which file."""


def load(root: Path, name: str, limit: int = LARGEST) -> Any:
    """The JSON of a file below a directory.

    Args:
        root: the directory of the evidence.
        name: the file's path below it, of parts without ``..``.
        limit: of its size, in bytes.

    Raises:
        BundleError: it is missing, no regular file, too large, or not JSON.
    """
    return parse(read(root, name, limit), name)


def parse(text: str, source: str) -> Any:
    """The value of a JSON text. A key that comes twice counts as the last one says, as it does
    for Kubernetes.

    Half a surrogate pair, which no file can hold, is replaced by ``?``.

    Raises:
        BundleError: it is not JSON; NaN, Infinity and numbers beyond them are not.
    """
    try:
        loaded = _DECODER.decode(text)
        if _LONE.search(text):
            written = json.dumps(loaded, ensure_ascii=False)
            loaded = json.loads(written.encode("utf-8", "replace"))
    except ValueError as error:
        raise BundleError(f"{source} is not JSON: {error}") from error
    except RecursionError:
        raise BundleError(f"{source} is nested too deeply") from None
    return loaded


def read(root: Path, name: str, limit: int = LARGEST) -> str:
    """The text of a file below a directory. Raises BundleError."""
    with _named(root, name), _open(root, name, _FILE) as descriptor:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{name} is no regular file")
        data = _content(descriptor, found.st_size, limit) if found.st_size <= limit else b""
        if max(found.st_size, len(data)) > limit:
            raise BundleError(f"{name} is larger than {limit // MIB} MiB")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{name} is not UTF-8: {error}") from error


def _content(descriptor: int, size: int, limit: int) -> bytes:
    """At most one byte more than the limit: a file may grow, and its size may be a lie."""
    pieces, left = [], limit + 1
    while left and (piece := os.read(descriptor, min(left, max(size + 1, 2**12)))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def names(root: Path, name: str) -> list[str]:
    """The names in a directory below another one, sorted; none when it is missing.

    Raises BundleError for what is no directory.
    """
    if not os.path.lexists(root / name):
        return []
    with (
        _named(root, name),
        _open(root, name, _DIRECTORY) as directory,
        os.scandir(directory) as found,
    ):
        return sorted(each.name for each in found)


def shallow(value: object) -> bool:
    """Whether it can be written into a report: not nested too deeply."""
    level = [value]
    for _ in range(_DEEPEST):
        if not level:
            return True
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return False


@contextlib.contextmanager
def _open(root: Path, name: str, flags: int) -> Iterator[int]:
    """Opens part after part, none of which may be a link."""
    descriptor = os.open(root, _DIRECTORY)
    try:
        *directories, last = name.split("/")
        for part, how in [*((each, _DIRECTORY) for each in directories), (last, flags)]:
            if part in {"", ".", ".."}:
                raise BundleError(f"{name!r} is no name of evidence")
            deeper = os.open(part, how, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(root: Path, name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BundleError(f"{name} is missing: is this the evidence of a run?") from None
    except OSError as error:
        link = "it is a symbolic link, or below one; " if _is_link(root, name) else ""
        raise BundleError(f"{name} cannot be read: {link}{error.strerror}") from error
    except ValueError as error:  # a zero byte in a name
        raise BundleError(f"{name!r} cannot be read: {error}") from error


def _is_link(root: Path, name: str) -> bool:
    path = root / name
    return any(each.is_symlink() for each in (path, path.parent, root))


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        _no_number(text)
    return number


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)
