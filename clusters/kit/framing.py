"""Bulk reads of files with one command and one stream of bytes.

The scripts need nothing but ``sh`` and ``cat`` and are constant: the globs come as lines of
standard input, ended by an empty one, since they may be more than a URL can carry, and the
stream of an exec cannot be closed on one side. Files are read a hundred at a time by one
``cat``, since a process for each of some thousand files would be felt on the node; only
where that ``cat`` fails are its files read one by one, to learn which of them failed and why.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence

from clusters.contract.access import AccessError, Reading

READ = r"""mark=$1; IFS=$(printf '\036'); m=/proc/sys/kernel/random/boot_id; l=; c=; n=0
flush() {
[ "$l" ] || return 0
set -f; printf '%s\0' $l ''; cat $m $c 2>/dev/null; s=$?; printf '%s %s\0' "$mark" $s
[ $s -eq 0 ] || for f in $l; do cat "$f" 2>&1; printf '%s %s\0' "$mark" $?; done
set +f; l=; c=; n=0
}
while IFS= read -r p && [ "$p" ]; do for f in $p; do [ -f "$f" ] || continue
l="$l$f$IFS" c="$c$f$IFS$m$IFS" n=$((n+1)); [ $n -lt 100 ] || flush
done; done; flush; true"""
"""Reads the files that match; its parameter is a mark.

Writes batches: the paths, NUL-terminated, and a NUL; the node's boot id, and after each file
the boot id again; ``MARK STATUS NUL``. If that status is not 0, each file once more,
followed by ``MARK STATUS NUL`` of its own; a reason is then the last line of the content.
"""

LIST = r"""IFS=; while read -r p && [ "$p" ]; do for f in $p; do
if [ -e "$f" ] || [ -L "$f" ]; then printf '%s\0' "$f"; fi; done; done; true"""
"""Writes each matching path, NUL-terminated."""

_BOOT_ID_BYTES = 37
_VANISHED = {"No such file or directory", "No such process", "No such device"}
"""What cat says of a file that has gone since it was listed: ENOENT, /proc, cgroups."""


class FramedShell(ABC):
    """`clusters.contract.access.NodeShell` by means of these commands, however they get there."""

    def read(self, patterns: Sequence[str]) -> Reading:
        """As `NodeShell.read`."""
        mark = secrets.token_hex(12)
        return parse_read(self._run(read_command(mark), patterns), mark)

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """As `NodeShell.list`."""
        return parse_list(self._run(list_command(), patterns))

    @abstractmethod
    def _run(self, command: Sequence[str], patterns: Sequence[str]) -> bytes:
        """What the command writes, given `dump_patterns` of these. Raises AccessError."""


def read_command(mark: str) -> list[str]:
    """A command that reads every match; its output is for `parse_read`.

    Args:
        mark: a word that no file contains: random, and new for each read.
    """
    return ["sh", "-c", READ, "sh", mark]


def list_command() -> list[str]:
    """A command that names every match; its output is for `parse_list`."""
    return ["sh", "-c", LIST]


def dump_patterns(patterns: Sequence[str]) -> bytes:
    """Standard input for both commands: absolute paths or globs.

    The node's boot id, which separates files, cannot be among what is read.
    """
    for pattern in patterns:
        if not pattern.startswith("/") or "\n" in pattern or "\0" in pattern:
            raise ValueError(f"not an absolute path or glob: {pattern!r}")
    return "".join(f"{pattern}\n" for pattern in (*patterns, "")).encode()


def parse_read(output: bytes, mark: str) -> Reading:
    """Reads what the command of `read_command` wrote.

    Raises:
        AccessError: it is not what that command writes, such as when it breaks off.
    """
    files: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    stream = _Stream(output, mark.encode())
    while paths := stream.paths():
        together, status = stream.until_mark()
        if status == 0:
            files |= zip(paths, _contents(together, len(paths)), strict=True)
            continue
        for path in paths:
            content, status = stream.until_mark()
            if status == 0:
                files[path] = decode(content)
                continue
            reason = decode(content).rstrip("\n").rpartition("\n")[2].rpartition(": ")[2]
            if reason not in _VANISHED:
                unreadable[path] = reason
    return Reading(files, unreadable)


def _contents(together: bytes, count: int) -> list[str]:
    boot_id = together[:_BOOT_ID_BYTES]
    pieces = together.split(boot_id) if len(boot_id) == _BOOT_ID_BYTES else []
    if len(pieces) != count + 2 or pieces[-1]:
        raise AccessError(f"{count} files were read, but not {count} contents arrived")
    return [decode(piece) for piece in pieces[1:-1]]


class _Stream:
    def __init__(self, data: bytes, mark: bytes) -> None:
        self._data = data
        self._mark = mark + b" "
        self._at = 0

    def paths(self) -> list[str]:
        """The paths of the next batch; none at the end."""
        if self._at == len(self._data):
            return []
        paths = []
        while path := self._take(b"\0"):
            paths.append(decode(path))
        return paths

    def until_mark(self) -> tuple[bytes, int]:
        content = self._take(self._mark)
        return content, int(self._take(b"\0"))

    def _take(self, end: bytes) -> bytes:
        found = self._data.find(end, self._at)
        if found < 0:
            tail = decode(self._data[-100:])
            raise AccessError(f"files could not be read, the answer breaks off at {tail!r}")
        piece = self._data[self._at : found]
        self._at = found + len(end)
        return piece


def parse_list(output: bytes) -> tuple[str, ...]:
    """Reads what the command of `list_command` wrote: paths, sorted, each once."""
    return tuple(sorted(set(decode(output).split("\0")[:-1])))


def decode(data: bytes) -> str:
    """UTF-8; any other byte is shown as ``\\xNN``."""
    return data.decode(errors="backslashreplace")
