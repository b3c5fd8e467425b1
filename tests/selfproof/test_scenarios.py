"""Every scenario fails when what it guards is switched off, and never passes on less evidence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import StoryCheck, stories
from conformance.collecting import bundle
from conformance.editions import labels
from conformance.judging.terms import terms_of
from conformance.matrix.scenarios import SCENARIOS
from conformance.model.evidence import Story
from conformance.model.finding import Verdict
from conformance.model.vocabulary import LIVE_MIGRATION
from conformance.parsing.assemble import assemble

ROOT = Path(__file__).parents[2]
SWITCHES = (
    ("LIFE-SHARED", "shared-beside-dedicated", "shared_pool_not_updated"),
    ("LIFE-ABORTED", "deleted-while-starting", "entry_leaked"),
    ("LIFE-CHURN", "coming-and-going", "overlapping_sets"),
    ("LIFE-RESTART", "container-restart", "assignment_lost_with_container"),
    ("LIFE-KUBELET", "kubelet-restart", "assignment_lost_on_restart"),
    ("LIFE-KUBELET", "kubelet-restart-pods", "assignment_lost_on_restart"),
    ("LIFE-PENDING", "node-full", "nodes_overcommitted"),
    ("LIFE-PENDING", "node-full", "waiting_forgotten"),
    ("LIFE-REUSED", "node-full", "entry_leaked"),
    ("SIDE-CAPACITY", "sidecar-edge", "sidecars_not_counted"),
    ("NODE-UNLABEL", "cpu-manager-stops", "label_always_true"),
    ("NODE-GATE", "gate-off", "label_always_true"),
    ("NODE-MANUAL", "gate-off", "manual_label_undone"),
    ("NODE-ONLY", "labelled-only", "selector_missing"),
    ("SIDE-GATE", "sidecar-gate", "sidecar_gate_ignored"),
    ("EMU-PARITY", "even-parity", "parity_cpu_missing"),
    ("MIG-PINNED", "migration", "migrated_domain_unpinned"),
    ("MIG-EXCLUSIVE", "migration", "overlapping_sets"),
    ("MIG-RELEASED", "migration", "entry_leaked"),
    ("MIG-KEPT", "migration-no-room", "waiting_migration_unpins"),
    ("PLUG-MAX", "hotplug", "template_change_unchecked"),
    ("PLUG-LIVE", "hotplug", "plugged_in_name_only"),
)
"""What is switched off in the reference stack, by requirement and scenario."""
OLD = frozenset({"NODE-MANUAL"})
"""Known to be broken by the current generation, so that the older one has to show it."""


def run(directory: Path, *options: str, nodes: str = "policy-none") -> Path:
    """A run of scenarios on a simulated cluster that has a node without a CPU manager, or two."""
    call = (sys.executable, "-m", "conformance", "run", "--cluster", "simulated")
    shape = ("--matrix", "scenarios", "--shape", nodes, "--report-dir", "out")
    subprocess.run(
        [*call, *shape, *options],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    return directory / "out"


def migrates(scenario: str) -> bool:
    return LIVE_MIGRATION in SCENARIOS[scenario].needs


def test_every_check_of_a_scenario_has_a_switch() -> None:
    assert {each[:2] for each in SWITCHES} == {
        (check.requirement, check.scenario) for check in stories()
    }


@pytest.mark.parametrize(("requirement", "scenario", "fault"), SWITCHES)
def test_a_scenario_fails_when_what_it_guards_is_switched_off(
    requirement: str, scenario: str, fault: str, tmp_path: Path
) -> None:
    profile = "v1alpha2" if requirement in OLD else "current"
    # What must come, comes quickly; what settles is told as soon as its loop has run.
    options = ("-k", f"[{scenario}]", "--patience", "0.2", "--profile", profile)
    nodes = "two-nodes" if migrates(scenario) else "policy-none"
    out = run(tmp_path, "--break", fault, *options, nodes=nodes)
    report = json.loads((out / "report.json").read_text())
    (finding,) = [
        each
        for each in report["findings"]
        if (each["requirement"], each["scenario"]) == (requirement, scenario)
    ]
    assert finding["verdict"] == "fail", finding
    assert finding["compared"]
    assert fault in report["cluster"]["stack"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    """The record of all scenarios on a cluster that keeps what it promises."""
    return bundle.read(run(tmp_path_factory.mktemp("good")) / "evidence")


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    """The record of migrations on a cluster that keeps what it promises."""
    directory = tmp_path_factory.mktemp("moved")
    return bundle.read(run(directory, "-k", "[migration", nodes="two-nodes") / "evidence")


@pytest.mark.parametrize("check", stories(), ids=lambda c: f"{c.requirement} in {c.scenario}")
def test_a_story_with_a_gap_is_not_believed(
    check: StoryCheck, request: pytest.FixtureRequest
) -> None:
    good = request.getfixturevalue("moved" if migrates(check.scenario) else "good")
    told = [assemble(raw) for _, raw in good.snapshots[check.scenario]]
    assert told
    setting = terms_of(good.run).setting
    whole = Story(check.scenario, "v1", tuple(told), labels(setting.kubevirt_release))
    kept = check.judge(whole).verdict
    assert kept in (Verdict.PASS, Verdict.KNOWN_DIVERGENCE)
    assert check.judge(replace(whole, snapshots=())).verdict is Verdict.NOT_OBSERVED
    blind = tuple(replace(each, node=None, pod=None, vmi=None, pods=()) for each in told)
    assert check.judge(replace(whole, snapshots=blind)).verdict is Verdict.NOT_OBSERVED
    moments = dict.fromkeys(each.moment for each in told)
    needed = [
        moment
        for moment in moments
        if check.judge(
            replace(whole, snapshots=tuple(each for each in told if each.moment != moment))
        ).verdict
        is Verdict.NOT_OBSERVED
    ]
    assert needed, f"{check.requirement} misses none of {', '.join(moments)}"
