"""The evidence of a run as files: one a snapshot, so that several processes can write.

``run.json`` says what was planned and on what cluster; ``snapshots/`` holds the raw
snapshots, ``problems/`` what broke, ``faults.jsonl`` requests that the API failed and that were
sent again. What a snapshot says of its node is kept apart, by its content, since snapshots share
it: ``hardware/`` has the files that never change, ``nodes/`` the pods and files of one look at
the node, the same for every VMI on it until something changes there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from conformance.model.evidence import Former, RawDomain, RawSnapshot
from conformance.model.same import Same, Ts

RUN = "run.json"
_NO_CASE = "cluster"
_NODES_AT_HAND = 16
"""What is kept of the nodes that were read last; snapshots of one node come together."""
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
        run: the content of ``run.json``, see `conformance.collecting.record`.
        snapshots: by the id of their case, in the order in which they were taken; their
            file names beside them. Read when they are asked for, and not kept: a run may
            have more than memory holds.
        faults: requests that the API failed and that were sent again.
    """

    run: Mapping[str, Any]
    snapshots: Mapping[str, Sequence[tuple[str, RawSnapshot]]]
    problems: tuple[Problem, ...]
    faults: tuple[str, ...] = ()


def write_run(directory: Path, run: Mapping[str, Any]) -> None:
    """Writes ``run.json`` anew."""
    _write(directory / RUN, run)


def write_snapshot(directory: Path, raw: RawSnapshot) -> Path:
    """Adds a snapshot; returns its file."""
    data = {field.name: getattr(raw, field.name) for field in fields(raw)}
    data["domain"] = raw.domain and asdict(raw.domain)
    data["former"] = raw.former and asdict(raw.former)
    data["hardware"] = _share(directory / "hardware", Same(raw.hardware))
    data["on_node"] = _share(directory / "nodes", Same(data.pop("pods"), data.pop("files")))
    stamp = "".join(letter for letter in raw.began if letter.isdigit())
    about = raw.manifest or raw.node or {}
    name = about.get("metadata", {}).get("name", "") if raw.scenario else ""
    mark = f"{stamp}-{name.replace('.', '-')}" if name else stamp
    path = directory / "snapshots" / f"{raw.case or _NO_CASE}.{raw.moment}.{mark}.json"
    _write(path, data)
    return path


def _share(directory: Path, part: Same[*Ts]) -> str:
    """Writes a part of a snapshot unless it is there already; returns its name."""
    text, digest = _shared(part)
    if not (directory / f"{digest}.json").exists():
        _write_text(directory / f"{digest}.json", text)
    return digest


@lru_cache(maxsize=4)
def _shared(part: Same[*Ts]) -> tuple[str, str]:
    text = json.dumps(part.values, sort_keys=True)
    return text, hashlib.sha256(text.encode()).hexdigest()[:16]


def write_problem(directory: Path, problem: Problem) -> None:
    """Adds a problem; one that is there already is the same one."""
    content = asdict(problem)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    _write(directory / "problems" / f"{digest}.json", content)


def write_log(directory: Path, name: str, text: str) -> None:
    """Keeps what somebody said, for people: nothing is judged by it."""
    _write_text(directory / "logs" / f"{name}.log", text)


class FaultLog:
    """Takes requests that the API failed and that are sent again; processes may share it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FAULTS

    def append(self, text: str, /) -> None:
        """Adds one, in a single short write."""
        with self._path.open("a") as log:
            log.write(json.dumps(text) + "\n")


def read(directory: Path) -> Bundle:
    """Reads what was written: everything but the snapshots, which are read one case at a time.

    Raises BundleError, here and where snapshots are asked for.
    """
    run = _read(directory / RUN)
    return Bundle(run, _Snapshots(directory), problems(directory), _faults(directory / FAULTS))


def problems(directory: Path) -> tuple[Problem, ...]:
    """What broke so far. Raises BundleError."""
    return tuple(Problem(**_read(path)) for path in sorted((directory / "problems").glob("*.json")))


class _Snapshots(Mapping[str, Sequence[tuple[str, RawSnapshot]]]):
    """The snapshots of a directory, by case."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths: dict[str, list[Path]] = defaultdict(list)
        for path in sorted((directory / "snapshots").glob("*.json")):
            self._paths[path.name.rsplit(".", 3)[0]].append(path)
        self._part = lru_cache(maxsize=_NODES_AT_HAND)(self._read_part)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, case: str) -> Sequence[tuple[str, RawSnapshot]]:
        if case not in self._paths:
            raise KeyError(case)
        found = [
            (path.relative_to(self._directory).as_posix(), self._snapshot(case, path))
            for path in self._paths[case]
        ]
        return sorted(found, key=lambda item: (item[1].began, item[0]))

    def _snapshot(self, case: str, path: Path) -> RawSnapshot:
        data = _read(path)
        if "case" in data and (data["case"] or _NO_CASE) != case:
            raise BundleError(f"{path} is about case {data['case']}: was it renamed?")
        try:
            (hardware,) = self._part(f"hardware/{data.pop('hardware', '')}.json", 1)
            pods, files = self._part(f"nodes/{data.pop('on_node', '')}.json", 2)
        except BundleError as error:
            raise BundleError(f"{path} needs another file: {error}") from error
        return _snapshot({**data, "hardware": hardware, "pods": pods, "files": files}, path)

    def _read_part(self, name: str, length: int) -> tuple[Any, ...]:
        path = self._directory / name
        part = _load(path)
        if not isinstance(part, list) or len(part) != length:
            raise BundleError(f"{path} is not what snapshots share of a node")
        return tuple(tuple(item) if isinstance(item, list) else item for item in part)


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
        for name in ("events", "done"):
            values[name] = tuple(values[name])
        if values["domain"] is not None:
            values["domain"] = RawDomain(**values["domain"])
        if values["former"] is not None:
            former = values["former"]
            values["former"] = Former(**{**former, "container_ids": tuple(former["container_ids"])})
        return RawSnapshot(**values)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{path} is no snapshot: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    data = _load(path)
    if not isinstance(data, dict):
        raise BundleError(f"{path} is not a JSON object")
    return data


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: is this the evidence of a run?") from None
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error


def _write(path: Path, data: Mapping[str, Any]) -> None:
    """One member a line: people read it, too, and to indent it all takes ten times as long."""
    members = (
        f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}"
        for key, value in sorted(data.items())
    )
    _write_text(path, "{\n" + ",\n".join(members) + "\n}\n")


def _write_text(path: Path, text: str) -> None:
    """Writes a whole file or none: a run may be killed at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{secrets.token_hex(4)}")
    unfinished.write_text(text)
    unfinished.replace(path)
