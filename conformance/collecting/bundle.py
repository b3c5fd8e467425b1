"""The evidence of a run as files: one a snapshot, so that several processes can write.

``run.json`` says what was planned and on what cluster; ``snapshots/`` holds the raw
snapshots, ``hardware/`` the node files that they share, ``problems/`` what broke, and
``faults.jsonl`` requests that the API failed and that were sent again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from conformance.model.evidence import Former, RawDomain, RawSnapshot

RUN = "run.json"
FAULTS = "faults.jsonl"


class BundleError(Exception):
    """The directory holds no evidence that can be read; the message says which file."""


@dataclass(frozen=True)
class Problem:
    """Something that broke in cluster or harness, apart from any requirement."""

    during: str
    message: str
    case: str = ""
    node: str = ""


@dataclass(frozen=True)
class Bundle:
    """Everything that was recorded.

    Attributes:
        run: the content of ``run.json``, see `fixtures.conductor`.
        snapshots: in the order in which they were taken; their file names beside them.
        faults: requests that the API failed and that were sent again.
    """

    run: Mapping[str, Any]
    snapshots: tuple[tuple[str, RawSnapshot], ...]
    problems: tuple[Problem, ...]
    faults: tuple[str, ...] = ()


def write_run(directory: Path, run: Mapping[str, Any]) -> None:
    """Writes ``run.json`` anew."""
    _write(directory / RUN, run)


def write_snapshot(directory: Path, raw: RawSnapshot) -> Path:
    """Adds a snapshot; returns its file."""
    hardware = json.dumps(dict(raw.hardware), sort_keys=True)
    digest = hashlib.sha256(hardware.encode()).hexdigest()[:16]
    shared = directory / "hardware" / f"{digest}.json"
    if not shared.exists():
        _write(shared, dict(raw.hardware))
    data = asdict(raw) | {"hardware": digest}
    stamp = "".join(letter for letter in raw.began if letter.isdigit())
    path = directory / "snapshots" / f"{raw.case or 'cluster'}.{raw.moment}.{stamp}.json"
    _write(path, data)
    return path


def write_problem(directory: Path, problem: Problem) -> None:
    """Adds a problem; one that is there already is the same one."""
    content = asdict(problem)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    _write(directory / "problems" / f"{digest}.json", content)


class FaultLog:
    """Takes requests that the API failed and that are sent again; processes may share it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FAULTS

    def append(self, text: str, /) -> None:
        """Adds one, in a single short write."""
        with self._path.open("a") as log:
            log.write(json.dumps(text) + "\n")


def read(directory: Path) -> Bundle:
    """Reads what was written. Raises BundleError."""
    run = _read(directory / RUN)
    shared: dict[str, Mapping[str, str]] = {}

    def snapshot(path: Path) -> RawSnapshot:
        data = _read(path)
        digest = data.get("hardware", "")
        if digest not in shared:
            shared[digest] = _read(directory / "hardware" / f"{digest}.json")
        return _snapshot({**data, "hardware": shared[digest]}, path)

    snapshots = [
        (path.relative_to(directory).as_posix(), snapshot(path))
        for path in (directory / "snapshots").glob("*.json")
    ]
    problems = [Problem(**_read(path)) for path in sorted((directory / "problems").glob("*.json"))]
    snapshots.sort(key=lambda item: (item[1].began, item[0]))
    return Bundle(run, tuple(snapshots), tuple(problems), _faults(directory / FAULTS))


def _faults(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return ()
    try:
        return tuple(str(json.loads(line)) for line in lines)
    except ValueError as error:
        raise BundleError(f"{path} has a line that is not JSON: {error}") from error


def _snapshot(data: Mapping[str, Any], path: Path) -> RawSnapshot:
    known = {field.name for field in fields(RawSnapshot)}
    if unknown := set(data) - known:
        raise BundleError(f"{path}: what is {', '.join(sorted(unknown))}?")
    values = dict(data)
    try:
        values["pods"], values["events"] = tuple(values["pods"]), tuple(values["events"])
        if values["domain"] is not None:
            values["domain"] = RawDomain(**values["domain"])
        if values["former"] is not None:
            former = values["former"]
            values["former"] = Former(**{**former, "container_ids": tuple(former["container_ids"])})
        return RawSnapshot(**values)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{path} is no snapshot: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: is this the evidence of a run?") from None
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise BundleError(f"{path} is not a JSON object")
    return data


def _write(path: Path, data: Mapping[str, Any]) -> None:
    """Writes a whole file or none: a run may be killed at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(data, indent=1, sort_keys=True))
    unfinished.replace(path)
