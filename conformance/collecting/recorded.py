"""Recorded snapshots as files, read one case at a time."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from conformance.collecting import foreign
from conformance.collecting.foreign import BundleError
from conformance.collecting.forms import FormError, structure
from conformance.model.evidence import RawSnapshot
from conformance.model.shared import Shared

_NO_CASE = "cluster"
_NAME = re.compile(r"(?P<case>.+)\.(?P<moment>[^.]+)\.(?P<stamp>[^.]+)\.json")
_CUT = re.compile(r"~[0-9a-f]{12}$")
_DIGEST = re.compile(r"[0-9A-Za-z]{1,64}")
_SHARED: Mapping[str, tuple[Any, ...]] = {
    "hardware": (Mapping[str, str],),
    "nodes": (tuple[Mapping[str, Any], ...], Mapping[str, str]),
}
"""What snapshots share, by directory."""


_NODES_AT_HAND = 16
"""What is kept of the nodes that were read last; snapshots of one node come together."""
_LONGEST_PATH = 4096
"""PATH_MAX of Linux; configz has a path of the API, which is shorter."""
_LARGEST_CASE = 256 * foreign.MIB
"""Of everything that the snapshots of one case say; they are in memory together."""
LONGEST_STEM = 100
"""Characters of a case's id that names of files have: NAME_MAX is 255, with moment and time."""


def stem(case: str) -> str:
    """What the names of a case's files begin with: short, of letters that lead nowhere else."""
    name = quote(case or _NO_CASE, safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) <= LONGEST_STEM:
        return name
    return f"{name[:LONGEST_STEM]}~{hashlib.sha256(case.encode()).hexdigest()[:12]}"


def stem_in(name: str) -> str:
    """What a file of snapshots begins with, by its name; empty when it is none."""
    match = _NAME.fullmatch(name)
    return match["case"] if match else ""


def digits(time: str) -> str:
    """The digits of a time, as names of files have it."""
    return "".join(letter for letter in time if letter in "0123456789")


class Snapshots(Mapping[str, Sequence[tuple[str, RawSnapshot]]]):
    """The snapshots of a directory, by case; those that cannot be read are lost."""

    def __init__(self, directory: Path, recorded: Sequence[str]) -> None:
        self._directory = directory
        self._names: dict[str, list[str]] = defaultdict(list)
        # What was there and is no more is lost, lest its absence be taken for a verdict.
        for name in sorted({*foreign.names(directory, "snapshots"), *recorded}):
            match = _NAME.fullmatch(name)
            if match and name.isprintable() and not name.startswith("."):
                self._names[match["case"]].append(name)
        self._part = lru_cache(maxsize=_NODES_AT_HAND)(self._read_part)

    def __iter__(self) -> Iterator[str]:
        return (name if _CUT.search(name) else unquote(name) for name in self._names)

    def __contains__(self, case: object) -> bool:
        """Without reading any."""
        return isinstance(case, str) and (stem(case) in self._names or case in self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, case: str) -> Sequence[tuple[str, RawSnapshot]]:
        # An id that was cut is its own name.
        names = self._names.get(stem(case)) or self._names.get(case)
        if names is None:
            raise KeyError(case)
        room = _Room(_LARGEST_CASE)
        found = [(f"snapshots/{name}", self._read(case, name, room)) for name in names]
        return sorted(found, key=lambda item: (digits(item[1].began), item[0]))

    def _read(self, case: str, name: str, room: _Room) -> RawSnapshot:
        try:
            return self._snapshot(case, f"snapshots/{name}", room)
        except (BundleError, FormError) as error:
            _case, moment, stamp, _json = name.rsplit(".", 3)
            began = stamp.partition("-")[0]
            return RawSnapshot(case, "", unquote(moment), began, began, {}, lost=str(error))

    def _snapshot(self, case: str, name: str, room: _Room) -> RawSnapshot:
        text = foreign.read(self._directory, name)
        room.take(name, len(text))
        data = foreign.parse(text, name)
        if not isinstance(data, dict):
            raise BundleError(f"{name} is no JSON object")
        machine = self._shared("hardware", data.pop("hardware", None), name, room)
        look = self._shared("nodes", data.pop("on_node", None), name, room)
        raw = structure(RawSnapshot, {**data, "hardware": {}}, name)
        if stem(raw.case) != stem(case):
            raise BundleError(f"{name} is about case {raw.case:.100}: was it renamed?")
        if not foreign.shallow(raw.manifest):
            raise BundleError(f"{name}: its manifest is nested too deeply")
        return raw.sharing(look, machine)

    def _shared(self, kind: str, digest: object, name: str, room: _Room) -> Any:
        """What a snapshot shares with others of its node."""
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise BundleError(f"{name} names no file in {kind}")
        file = f"{kind}/{digest}.json"
        try:
            size, part = self._part(file)
        except (BundleError, FormError) as error:
            raise BundleError(f"{name} needs another file: {error}") from error
        room.take(file, size)
        return part

    def _read_part(self, file: str) -> tuple[int, Any]:
        text = foreign.read(self._directory, file)
        part = foreign.parse(text, file)
        forms = _SHARED[file.partition("/")[0]]
        if not isinstance(part, list) or len(part) != len(forms):
            raise BundleError(f"{file} is not what snapshots share of a node")
        values = tuple(
            structure(form, value, file) for form, value in zip(forms, part, strict=True)
        )
        if any(len(path) > _LONGEST_PATH for path in values[-1]):
            raise BundleError(f"{file} has a path of more than {_LONGEST_PATH} characters")
        return len(text), Shared(*values)


@dataclass
class _Room:
    """How much the snapshots of a case may say together; what they share counts once."""

    left: int
    taken: set[str] = field(default_factory=set)

    def take(self, name: str, size: int) -> None:
        if name not in self.taken:
            self.taken.add(name)
            self.left -= size
        if self.left < 0:
            raise BundleError(
                f"{name}: the snapshots of its case are larger than "
                f"{_LARGEST_CASE // foreign.MIB} MiB together"
            )
