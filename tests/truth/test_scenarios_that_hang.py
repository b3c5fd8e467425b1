"""A VMI that a scenario was told to run and that never did is never a pass of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.collecting.bundle import read
from conformance.exits import Exit
from conformance.judging.report import judge
from reports.document import Verdict

ROOT = Path(__file__).parents[2]
SCENARIO = "shared-beside-dedicated"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The evidence of the scenario on a good simulated cluster: texts by path."""
    directory = tmp_path_factory.mktemp("told")
    options = ("--matrix", "scenarios", "-k", f"[{SCENARIO}]", "--report-dir", "out")
    subprocess.run(
        [sys.executable, "-m", "conformance", "run", "--cluster", "simulated", *options],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    evidence = directory / "out" / "evidence"
    return {
        path.relative_to(evidence).as_posix(): path.read_text()
        for path in evidence.rglob("*")
        if path.suffix in (".json", ".log") and path.parent.name != "problems"
    }


def verdicts(
    told: dict[str, str], directory: Path, change: Callable[[Json], None], *moments: str
) -> tuple[int, dict[str, Verdict]]:
    """Exit code, and the worst that is said by requirement, after VMI late was changed."""
    changed = 0
    for name, text in told.items():
        data: Any = json.loads(text) if name.endswith(".json") else text
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith("snapshots/") and data["manifest"].get("metadata", {}).get("name"):
            late = data["manifest"]["metadata"]["name"] == "late"
            if late and data["moment"] in moments:
                change(data)
                changed += 1
        path.write_text(json.dumps(data) if name.endswith(".json") else text)
    assert changed or not moments
    document = judge(read(directory))
    found: dict[str, Verdict] = {}
    for each in document.findings:
        if each.case == SCENARIO and each.verdict is not Verdict.PASS:
            found.setdefault(each.requirement, each.verdict)
    return document.conclusion.exit_code, found


def hangs(data: Json) -> None:
    data["vmi"]["status"]["phase"] = "Scheduled"


def fails(data: Json) -> None:
    data["vmi"]["status"]["phase"] = "Failed"


def test_c20_a_vmi_that_hangs_is_no_pass(told: dict[str, str], tmp_path: Path) -> None:
    code, found = verdicts(told, tmp_path, hangs, "joined", "after")
    assert code == Exit.INCONCLUSIVE
    assert found["LIFE-SHARED"] is Verdict.NOT_OBSERVED
    assert found["RUN-STARTED"] is Verdict.NOT_OBSERVED
    assert Verdict.FAIL not in found.values()


def test_c20_twin_one_that_failed_is_broken(told: dict[str, str], tmp_path: Path) -> None:
    code, found = verdicts(told, tmp_path, fails, "joined", "after")
    assert code == Exit.NOT_CONFORMANT
    assert found["RUN-STARTED"] is Verdict.FAIL


def test_c20_twin_a_story_in_which_all_run_is_kept(told: dict[str, str], tmp_path: Path) -> None:
    code, found = verdicts(told, tmp_path, hangs)
    assert code == Exit.CONFORMANT
    assert not {Verdict.FAIL, Verdict.ERROR, Verdict.NOT_OBSERVED} & set(found.values())
