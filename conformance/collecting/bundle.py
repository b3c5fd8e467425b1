"""The evidence of a run as files: one a snapshot, so that several processes can write.

``run.json`` says what was planned and on what cluster, the ``format`` of the evidence, and which
snapshots there were when it was written last; ``snapshots/`` holds the raw snapshots,
``problems/`` what broke, ``faults.jsonl`` requests that the API failed and that were sent again,
``watch/`` what samplers of nodes printed, ``endings.jsonl`` when the end of a pod was asked for.
What a snapshot says of its node is kept apart, by its content, since snapshots share it:
``hardware/`` has the files that never change, ``nodes/`` the pods and files of one look at the
node, the same for every VMI on it until something changes there.

Evidence may come from anywhere, and in part. What cannot be read of it costs what it is about: a
snapshot is `RawSnapshot.lost`, with what it shares with others; a problem is another problem.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clusters.host.whole import write_whole
from conformance.collecting import foreign
from conformance.collecting.foreign import BundleError
from conformance.collecting.forms import FormError, structure
from conformance.collecting.recorded import LONGEST_STEM, Snapshots, digits, stem
from conformance.collecting.watches import Watches, appended, milliseconds
from conformance.model.evidence import RawSnapshot
from conformance.model.shared import Shared, Ts
from conformance.model.watch import Watched
from reports import document as report

FORMAT = 3
"""Of the evidence that this version writes.

1, which no number says, named no snapshots in run.json; 2 had no ``watch/``, and was judged by
snapshots alone. A field never changes its meaning: what
means something else has another name. One that is added needs no other format, since whoever does
not know it does not judge the snapshots that have it; the number grows when that is not enough.
"""
__all__ = [
    "ENDINGS",
    "FAULTS",
    "FORMAT",
    "RUN",
    "Bundle",
    "BundleError",
    "Endings",
    "FaultLog",
    "GivenBack",
    "Problem",
    "problems",
    "read",
    "write_log",
    "write_problem",
    "write_run",
    "write_snapshot",
]

RUN = "run.json"
FAULTS = "faults.jsonl"
GIVEN_BACK = "given-back.jsonl"
ENDINGS = "endings.jsonl"
_READING = "reading the evidence"
_PROBLEMS = 1000
"""That are read: more say no more."""
_ALWAYS = frozenset(
    {"case", "scenario", "moment", "began", "ended", "manifest", "vmi", "pod", "node", "pods"}
    | {"events", "rejection", "hardware", "files", "unreadable", "domain", "console", "former"}
    | {"not_observed", "torn", "done"}
)
"""What every snapshot says; other fields are written where they say something."""


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
        newer: format of the evidence, where this version does not know it.
        directory: where it was read; None for what was never written.
        watched: what was watched, by node; read when it is asked for.
        endings: when the end of a pod was asked for, by its UID, seconds since 1970.
    """

    run: Mapping[str, Any]
    snapshots: Mapping[str, Sequence[tuple[str, RawSnapshot]]]
    problems: tuple[Problem, ...]
    faults: tuple[str, ...] = ()
    newer: int | None = None
    directory: Path | None = None
    watched: Mapping[str, Watched] = field(default_factory=dict)
    endings: Mapping[str, float] = field(default_factory=dict)


def write_run(directory: Path, run: Mapping[str, Any]) -> None:
    """Writes ``run.json`` anew, with the names of the snapshots that there are by now."""
    taken = foreign.names(directory, "snapshots") if directory.exists() else []
    _write(directory, RUN, {**run, "format": FORMAT, "snapshots": taken})


def write_snapshot(directory: Path, raw: RawSnapshot) -> Path:
    """Adds a snapshot; returns its file."""
    data = {
        each.name: getattr(raw, each.name)
        for each in fields(raw)
        if each.name in _ALWAYS or not _is_default(each, getattr(raw, each.name))
    }
    data["domain"] = raw.domain and asdict(raw.domain)
    data["former"] = raw.former and asdict(raw.former)
    data["hardware"] = _share(directory, "hardware", raw.machine)
    data["on_node"] = _share(directory, "nodes", raw.look)
    del data["pods"], data["files"]
    stamp = digits(raw.began)
    about = raw.manifest or raw.node or {}
    name = about.get("metadata", {}).get("name", "") if raw.scenario else ""
    mark = f"{stamp}-{_part_of_name(name)}" if name else stamp
    file = f"snapshots/{stem(raw.case)}.{_part_of_name(raw.moment)}.{mark}.json"
    _write(directory, file, data)
    return directory / file


def _is_default(each: Field[Any], value: object) -> bool:
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return bool(value == default)


def _part_of_name(text: str) -> str:
    return quote(text, safe=" ").replace(".", "-")[:LONGEST_STEM]


def _share(directory: Path, kind: str, part: Shared[*Ts]) -> str:
    """Writes a part of a snapshot unless it is there already; returns its name."""
    text, digest = part.once(_written)
    if not (directory / kind / f"{digest}.json").exists():
        _write_text(directory, f"{kind}/{digest}.json", text)
    return digest


def _written(*values: object) -> tuple[str, str]:
    text = json.dumps(values, sort_keys=True)
    return text, hashlib.sha256(text.encode()).hexdigest()[:16]


def write_problem(directory: Path, problem: Problem) -> None:
    """Adds a problem; one that is there already is the same one."""
    content = asdict(problem)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    _write(directory, f"problems/{digest}.json", content)


def write_log(directory: Path, name: str, text: str) -> None:
    """Keeps what somebody said, for people: nothing is judged by it."""
    _write_text(directory, f"logs/{stem(name)}.log", text)


class FaultLog:
    """Takes requests that the API failed and that are sent again; processes may share it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FAULTS

    def append(self, text: str, /) -> None:
        """Adds one, in a single short write."""
        _append(self._path, text)


class Endings:
    """When the end of each pod was asked for; processes may share it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / ENDINGS

    def note(self, pod_uid: str) -> None:
        """From now on it ends, in a single short write."""
        _append(self._path, [pod_uid, milliseconds()])


class GivenBack:
    """CPUs that VMIs of a run gave back to their nodes; processes may share it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / GIVEN_BACK

    def note(self, node: str, when: str, cpus: str) -> None:
        """Adds what one VMI had, in a single short write."""
        _append(self._path, [node, f"{when} {cpus}"])

    def to(self, node: str) -> tuple[str, ...]:
        """What was given back to a node so far, oldest first: ``TIME CPULIST``."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        return tuple(words for place, words in map(json.loads, lines) if place == node)


def _append(path: Path, value: object) -> None:
    with appended(path) as log:
        log.write(f"{json.dumps(value)}\n".encode())


def read(directory: Path) -> Bundle:
    """Reads what was written: everything but the snapshots, which are read one case at a time.

    Raises BundleError when there is no ``run.json`` or it has another form.
    """
    try:
        run = foreign.load(directory, RUN, foreign.LARGEST_RUN)
        form = structure(_Run, run, RUN, strict=False)
        _require_usable(form.cases)
    except (BundleError, FormError) as error:
        raise BundleError(f"{directory}: {error}") from error
    _share_specs(run.get("cases") or ())
    faults, unreadable = _faults(directory)
    newer = form.format if form.format > FORMAT else None
    watched = Watches(directory, form.watch)
    problems_ = (
        *_newer(newer),
        *problems(directory),
        *unreadable,
        *(Problem(_READING, why, node=node) for node, why in watched.lost()),
    )
    recorded = {key: value for key, value in run.items() if key not in {"format", "snapshots"}}
    snapshots = Snapshots(directory, form.snapshots)
    endings = _endings(directory)
    return Bundle(recorded, snapshots, problems_, faults, newer, directory, watched, endings)


def _endings(directory: Path) -> Mapping[str, float]:
    """Of a line that cannot be read nothing is known: then a pod's last look ends what counts."""
    found: dict[str, float] = {}
    try:
        lines = foreign.read(directory, ENDINGS).splitlines()
    except BundleError:
        return {}
    for line in lines:
        with contextlib.suppress(BundleError, FormError, ValueError):
            uid, at = structure(tuple[Any, ...], foreign.parse(line, ENDINGS), ENDINGS)
            known = found.get(structure(str, uid, ENDINGS))
            when = structure(int, at, ENDINGS) / 1000
            found[uid] = when if known is None else min(known, when)
    return found


def problems(directory: Path) -> tuple[Problem, ...]:
    """What broke so far; a file that cannot be read is a problem of its own."""
    try:
        names = [name for name in foreign.names(directory, "problems") if name.endswith(".json")]
    except BundleError as error:
        return (Problem(_READING, str(error)),)
    found = [_problem(directory, name) for name in names[:_PROBLEMS]]
    if left := len(names) - len(found):
        found.append(Problem(_READING, f"there are {left} problems more"))
    return tuple(found)


def _problem(directory: Path, name: str) -> Problem:
    file = f"problems/{name}"
    try:
        return structure(Problem, foreign.load(directory, file), file)
    except (BundleError, FormError) as error:
        return Problem(_READING, str(error))


def _faults(directory: Path) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """What the API failed, and why that cannot be read; the last line may be half one."""
    if not os.path.lexists(directory / FAULTS):
        return (), ()
    found = []
    try:
        for number, line in enumerate(foreign.read(directory, FAULTS).splitlines(), 1):
            try:
                found.append(structure(str, foreign.parse(line, FAULTS), FAULTS))
            except (BundleError, FormError):
                found.append(f"line {number} of {FAULTS}, which cannot be read")
    except BundleError as error:
        return (), (Problem(_READING, str(error)),)
    return tuple(found), ()


def _newer(newer: int | None) -> Iterator[Problem]:
    if newer is not None:
        message = (
            f"the evidence is of format {newer} and this version reads {FORMAT}: what it does not "
            "know it has passed over; judge it with the version that recorded it"
        )
        yield Problem(_READING, message)


@dataclass(frozen=True)
class _Capability:
    available: bool | None
    reason: str


@dataclass(frozen=True)
class _Case:
    id: str
    title: str
    manifest: Mapping[str, Any]
    beside: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class _Unjudged:
    what: str
    why: str


@dataclass(frozen=True)
class _Audit:
    unasked: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()


_NOBODY = report.Run("", "", "", "", 0.0)
_NOTHING = report.Cluster("", "", simulation=False)


@dataclass(frozen=True)
class _Run:
    """The form of ``run.json``, as far as anything is read of it."""

    format: int = 1
    snapshots: tuple[str, ...] = ()
    run: report.Run = _NOBODY
    cluster: report.Cluster = _NOTHING
    profile: str = ""
    matrix: str = ""
    moments: tuple[str, ...] = ()
    capabilities: Mapping[str, _Capability] = field(default_factory=dict)
    setting: Mapping[str, Any] | None = None
    cases: tuple[_Case, ...] = ()
    unjudged: tuple[_Unjudged, ...] = ()
    audit: _Audit | None = None
    scenarios: tuple[str, ...] = ()
    watch: Mapping[str, int] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def _share_specs(cases: Sequence[dict[str, Any]]) -> None:
    """Specs of manifests that are alike are kept once: a run may plan a hundred thousand."""
    known: dict[str, Any] = {}
    for case in cases:
        if "spec" in case["manifest"]:
            spec = case["manifest"]["spec"]
            case["manifest"]["spec"] = known.setdefault(repr(spec), spec)


def _require_usable(cases: Sequence[_Case]) -> None:
    if len({case.id for case in cases}) != len(cases):
        raise BundleError(f"{RUN} has two cases of one id")
    for case in cases:
        if not all(map(foreign.shallow, (case.manifest, *case.beside))):
            raise BundleError(f"{RUN}: the manifest of case {case.id:.100} is nested too deeply")


def _write(directory: Path, name: str, data: Mapping[str, Any]) -> None:
    """One member a line: people read it, too, and to indent it all takes ten times as long."""
    members = (
        f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}"
        for key, value in sorted(data.items())
    )
    _write_text(directory, name, "{\n" + ",\n".join(members) + "\n}\n")


def _write_text(directory: Path, name: str, text: str) -> None:
    """Evidence shows other people's pods: it is for this user alone."""
    path = directory / name
    directory.parent.mkdir(parents=True, exist_ok=True)
    for each in dict.fromkeys((directory, path.parent)):
        each.mkdir(mode=0o700, exist_ok=True)
        if each.is_symlink():
            raise OSError(errno.ELOOP, "a symbolic link is not followed", str(each))
    write_whole(path, text)
