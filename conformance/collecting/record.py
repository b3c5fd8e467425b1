"""``run.json``: what a run set out to do, and on what cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from clusters.contract.access import AccessError, Capability, ClusterAccess
from clusters.kit.api import Api
from conformance.collecting.setting import read_setting
from conformance.collecting.snapshot import utc_now
from conformance.model.vocabulary import CAPABILITIES, DELETED, EVERY_NODE, REFUSED, RUNNING
from conformance.settling import Deadline, GaveUpError, NotYetError, until
from conformance.version import version
from reports import document as report

Record = dict[str, Any]

ASKED_FOR = 10.0
"""How long a cluster is asked what it can do, seconds."""


def record(
    run_id: str,
    provider: str,
    *,
    profile: str,
    matrix: str,
    cases: Iterable[tuple[str, str, Mapping[str, Any]]],
    scenarios: Sequence[str] = (),
    moments: Sequence[str] = (RUNNING, REFUSED, DELETED, EVERY_NODE),
    command: str = "",
    selection: report.Selection | None = None,
    waivers: Sequence[Mapping[str, str]] = (),
) -> Record:
    """A record that begins now, of a cluster that is not up yet.

    Args:
        run_id: of the run.
        provider: of the cluster.
        profile: by which it is judged.
        matrix: name of the matrix, or of the file.
        cases: id, title and manifest of everything that was planned.
        scenarios: ids of those that are to be told.
        moments: at which evidence is taken; requirements of other moments are not judged.
        command: the command line.
        selection: what of the matrix is asked.
        waivers: failures that are allowed, as `conformance.judging.waivers` has them.
    """
    began = utc_now()
    return {
        "run": asdict(report.Run(run_id, version(), began, began, 0.0, command)),
        "cluster": asdict(report.Cluster(provider, "a cluster that did not come up", False)),
        "profile": profile,
        "matrix": matrix,
        "selection": asdict(selection or report.Selection()),
        "moments": list(moments),
        "capabilities": {},
        "setting": None,
        "cases": [
            {"id": case, "title": title, "manifest": dict(manifest)}
            for case, title, manifest in cases
        ],
        "scenarios": list(scenarios),
        "phases": {},
        **({"waivers": list(waivers)} if waivers else {}),
    }


def describe(record: Record, access: ClusterAccess, api: Api, *, capabilities: bool = True) -> None:
    """Adds what cluster it is, its setting, and unless they are not wanted its capabilities.

    What it can do and cannot be asked now is not known, which is no lack.
    """
    record["setting"] = read_setting(api)
    record["cluster"] = asdict(
        report.Cluster(
            provider=record["cluster"]["provider"],
            stack=access.description,
            simulation=access.simulation,
            nodes=dict.fromkeys(access.nodes, ""),
            acceleration=access.acceleration,
        )
    )
    if capabilities:
        asked = _capabilities(access).items()
        record["capabilities"] = {name: asdict(item) for name, item in asked}


def _capabilities(access: ClusterAccess) -> Mapping[str, Capability]:
    def ask() -> Mapping[str, Capability]:
        try:
            return access.capabilities()
        except AccessError as error:
            raise NotYetError(str(error)) from error

    try:
        return until("what the cluster can do", ask, Deadline(ASKED_FOR), pause=2.0)
    except GaveUpError as error:
        return dict.fromkeys(CAPABILITIES, Capability(None, str(error)))
