"""Some cases of recorded evidence, with what they need of the rest: to be shown to others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from conformance.collecting import foreign
from conformance.collecting.bundle import RUN
from conformance.collecting.foreign import BundleError
from conformance.collecting.recorded import stem, stem_in

_SNAPSHOTS = "snapshots/"
_SHARED = {"hardware": "hardware", "on_node": "nodes"}
"""What a snapshot shares with others: its field, and the folder of the file that it names."""


def excerpt(evidence: Path, names: Sequence[str], cases: Set[str]) -> Iterator[tuple[str, str]]:
    """The files of these cases, with their texts.

    Args:
        evidence: a directory of evidence.
        names: of its files, below the directory.
        cases: ids of cases, scenarios, and of nodes that were audited.

    Raises:
        BundleError: a file cannot be read, or there is no such case.
    """
    run = foreign.load(evidence, RUN, foreign.LARGEST_RUN)
    if not isinstance(run, dict):
        raise BundleError(f"{RUN} is no JSON object")
    stems = {stem(case): case for case in cases}
    taken = {name: stem_in(name.removeprefix(_SNAPSHOTS)) for name in names}
    wanted = {name for name in names if name.startswith(_SNAPSHOTS) and taken[name] in stems}
    if missing := cases - {stems[taken[name]] for name in wanted}:
        raise BundleError(f"nothing was recorded of {', '.join(sorted(missing))}")
    for name in sorted(wanted):
        wanted |= set(_shared(foreign.load(evidence, name)))
    for name in names:
        if name == RUN:
            yield name, json.dumps(_run(run, cases, wanted))
        elif name in wanted or "/" not in name or _is_about(evidence, name, stems):
            yield name, foreign.read(evidence, name, foreign.LARGEST_RUN)


def _shared(snapshot: object) -> Iterator[str]:
    for field, folder in _SHARED.items():
        if isinstance(snapshot, dict) and snapshot.get(field):
            yield f"{folder}/{snapshot[field]}.json"


def _is_about(evidence: Path, name: str, stems: Mapping[str, str]) -> bool:
    """Whether a problem or a log is of one of the cases, or of the run as a whole.

    What was watched of a node is of all of its VMIs.
    """
    folder, _, file = name.partition("/")
    if folder == "watch":
        return True
    if folder == "logs":
        return any(file.startswith(f"{each}.") for each in stems)
    problem = foreign.load(evidence, name) if folder == "problems" else None
    return isinstance(problem, dict) and problem.get("case", "") in {"", *stems.values()}


def _run(run: Mapping[str, Any], cases: Set[str], files: Set[str]) -> Mapping[str, Any]:
    """``run.json`` as if these cases were all that had been planned."""
    audit = run.get("audit")
    nodes = [each for each in audit.get("nodes", ()) if each in cases] if audit else []
    return {
        **run,
        "cases": [each for each in run.get("cases", ()) if each.get("id") in cases],
        "scenarios": [each for each in run.get("scenarios", ()) if each in cases],
        "unjudged": [],
        "snapshots": [each for each in run.get("snapshots", ()) if _SNAPSHOTS + each in files],
        **({"audit": {**audit, "nodes": nodes}} if audit else {}),
    }
