"""Report directories of runs that keep, break or do not show a promise, without a cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conformance.cli import main
from conformance.collecting.bundle import write_run, write_snapshot
from tests.selfproof import mutations as change
from tests.selfproof import recording as good
from tests.unit.test_judge import everything

RUNS = {
    "good": change.both(),
    "sabotaged": change.affinity(150, 155, "2-3"),
    "inconclusive": change.lost("domain", "libvirt does not answer", domain=None),
}
"""What each run does to the good recording. The sabotaged one lets vCPU 1 roam to pCPU 2, which is
vCPU 0's."""


def judged(directory: Path, name: str = "good", *, case: str = "demo") -> Path:
    """A report directory with its evidence, judged.

    Args:
        directory: where.
        name: of the run.
        case: what the case is called.
    """
    run = everything().run
    command = "conform run --cluster simulated"
    for raw in (RUNS[name](good.running()), good.deleted(), good.refused()):
        write_snapshot(directory / "evidence", replace(raw, case=_named(raw.case, case)))
    cases = [{**each, "id": _named(each["id"], case)} for each in run["cases"]]
    write_run(
        directory / "evidence",
        {**run, "cases": cases, "run": {**run["run"], "command": command}},
    )
    main(["judge", str(directory)])
    return directory


def _named(id: str, case: str) -> str:
    return case if id == "demo" else id
