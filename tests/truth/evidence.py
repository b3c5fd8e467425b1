"""The evidence of one good run as files, to be spoilt by whoever handed it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conformance.collecting import bundle
from conformance.judging.report import judge
from reports import document as report
from tests.selfproof import recording as good

Json = dict[str, Any]
CAPABILITIES = ("smt", "numa", "guest-console", "libvirt", "node-files")


def run() -> Json:
    """A run of two cases, one to be admitted and one to be refused."""
    return {
        "run": asdict(report.Run("r1", "0", "2026-08-01T10:00:00Z", "2026-08-01T10:05:00Z", 300.0)),
        "cluster": asdict(report.Cluster("none", "a recording", simulation=True)),
        "profile": "v1",
        "matrix": "smoke",
        "moments": ["running", "refused", "deleted"],
        "capabilities": {
            name: {"available": True, "reason": "by construction"} for name in CAPABILITIES
        },
        "setting": good.RECORDED_SETTING,
        "cases": [
            {"id": "demo", "title": "everything at once", "manifest": good.MANIFEST},
            {"id": "refused", "title": "isolation alone", "manifest": good.REFUSED},
        ],
        "scenarios": [],
        "phases": {"suite": 1.5},
    }


class Evidence:
    """A directory of evidence, by its parts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for raw in (good.running(), good.deleted(), good.refused()):
            bundle.write_snapshot(directory, raw)
        bundle.write_run(directory, run())

    def file(self, name: str) -> Path:
        """``run.json`` or the like; ``snapshots`` or ``nodes``: those of the running VMI."""
        if name not in {"snapshots", "nodes", "hardware"}:
            return self.directory / name
        (snapshot,) = (self.directory / "snapshots").glob("demo.running.*")
        if name == "snapshots":
            return snapshot
        member = "on_node" if name == "nodes" else name
        return self.directory / name / f"{json.loads(snapshot.read_text())[member]}.json"

    def change(self, name: str, change: Callable[[Any], Any]) -> None:
        """Changes a JSON file: what is returned is written, or what was changed in place."""
        path = self.file(name)
        data = json.loads(path.read_text())
        path.write_text(json.dumps(data if (made := change(data)) is None else made))

    def judged(self) -> report.Document:
        """The document that `conform judge` makes of it."""
        return judge(bundle.read(self.directory))

    def verdicts(self) -> dict[tuple[str, str], str]:
        """By case and requirement."""
        return {(each.case, each.requirement): each.verdict for each in self.judged().findings}
