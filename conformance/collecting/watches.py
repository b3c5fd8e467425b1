"""What was watched of each node, as files of the evidence: written by `watcher`, read here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from conformance.collecting import foreign
from conformance.collecting.foreign import BundleError
from conformance.collecting.recorded import stem
from conformance.model.watch import Watched
from conformance.parsing import watch

STOPPED = "it was stopped"
"""Why a sampler has ended when its run has."""
_AT_HAND = 8
"""Nodes whose files are kept in memory."""


def milliseconds() -> int:
    """This process's clock, since 1970."""
    return time.time_ns() // 1_000_000


def appended(path: Path) -> BinaryIO:
    """A file of the evidence to add to, which is for this user alone; no link is followed."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def file_of(node: str) -> str:
    """The file of a node below the directory of the evidence."""
    return f"watch/{stem(node)}.log"


class Watches(Mapping[str, Watched]):
    """By node; what cannot be read says why."""

    def __init__(self, directory: Path, sizes: Mapping[str, int]) -> None:
        """What a run says that it has written.

        Args:
            directory: of the evidence.
            sizes: of each node's file, bytes.
        """
        self._directory = directory
        self._sizes = sizes
        self._read_once = lru_cache(maxsize=_AT_HAND)(self._read)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, node: str) -> Watched:
        if node not in self._sizes:
            raise KeyError(node)
        return self._read_once(node)

    def lost(self) -> Iterator[tuple[str, str]]:
        """Nodes of whose file something is missing that was there, and why that is known."""
        for node, size in self._sizes.items():
            try:
                found = os.lstat(self._directory / file_of(node)).st_size
            except (OSError, ValueError):
                found = 0
            if found < size:
                yield node, f"{file_of(node)} has {found} bytes of the {size} that were written"

    def _read(self, node: str) -> Watched:
        source = file_of(node)
        try:
            return watch.watched(foreign.read(self._directory, source), node, source)
        except BundleError as error:
            return Watched(node, unread=str(error))
