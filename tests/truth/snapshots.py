"""Snapshots of recorded evidence, changed as another moment would have shown them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.truth.recordings import Recording

Json = dict[str, Any]


class Shot:
    """One recorded snapshot that can be changed.

    Attributes:
        data: its own file; `pods` and `files` are what it shares with others of its node.
    """

    def __init__(self, directory: Path, path: Path) -> None:
        self._directory = directory
        self._path = path
        self.data: Json = json.loads(path.read_text())
        self.pods: list[Json]
        self.files: dict[str, str]
        shared = directory / "nodes" / f"{self.data['on_node']}.json"
        self.pods, self.files = json.loads(shared.read_text())

    def save(self, name: str = "") -> None:
        """Writes it in its place, or beside it as another snapshot; its node is its own then."""
        text = json.dumps([self.pods, self.files])
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        (self._directory / "nodes" / f"{digest}.json").write_text(text)
        self.data["on_node"] = digest
        path = self._path.with_name(name) if name else self._path
        path.write_text(json.dumps(self.data))

    @property
    def own(self) -> Sequence[Json]:
        """The launcher pod, as it is by itself and in the list of the node."""
        uid = self.data["pod"]["metadata"]["uid"]
        return [self.data["pod"], *(p for p in self.pods if p["metadata"]["uid"] == uid)]


def shots(recording: Recording, case: str = "", moment: str = "running") -> list[Shot]:
    """The snapshots of a case, or of all, at a moment."""
    pattern = f"{case or '*'}.{moment}.*.json"
    found = sorted((recording.directory / "snapshots").glob(pattern))
    assert found, pattern
    return [Shot(recording.directory, path) for path in found]


def change(
    recording: Recording, edit: Callable[[Shot], None], case: str = "", moment: str = "running"
) -> None:
    """Changes every snapshot of a case, or of all, at a moment."""
    for shot in shots(recording, case, moment):
        edit(shot)
        shot.save()
