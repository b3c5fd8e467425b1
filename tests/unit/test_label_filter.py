"""Label filters select as Ginkgo's do, whole cases and scenarios, and say what they cannot read."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from conformance.judging.terms import Terms
from conformance.label_filter import parsed
from conformance.matrix.scenarios import SCENARIOS
from conformance.matrix.smoke import smoke
from fixtures.labels import labels_of_case, labels_of_scenario
from tests.unit.test_suite import conform

ROOT = Path(__file__).parents[2]
LABELS = ("scenario", "disruptive", "family:NODE", "tier:contract", "needs:smt")


@pytest.mark.parametrize(
    ("expression", "selects"),
    [
        ("scenario", True),
        ("case", False),
        ("!case", True),
        ("scenario && !disruptive", False),
        ("case || disruptive", True),
        ("case, disruptive", True),
        ("case || scenario && case", False),
        ("(case || scenario) && disruptive", True),
        ("!(case || scenario)", False),
        ("!!scenario", True),
        ("FAMILY:node", True),
        ("/^needs:/", True),
        ("/^smt/", False),
        (r"/needs\:(smt|numa)/ && tier:contract", True),
    ],
)
def test_an_expression_selects(expression: str, selects: bool) -> None:
    assert parsed(expression)(LABELS) is selects


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "breaks off"),
        ("a &&", "breaks off"),
        ("a b", "'labelb' is out of place"),
        ("(a", "not closed"),
        ("a)", "out of place"),
        ("&& a", "out of place"),
        ("/(/", "no regular expression"),
        ("a & b", "means nothing"),
    ],
)
def test_what_is_no_expression_is_refused(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"--label-filter .*") as error:
        parsed(expression)
    assert said in str(error.value)


def test_cases_and_scenarios_have_labels_of_what_they_are_about() -> None:
    terms = Terms("v1", {})
    cases = {each.id: labels_of_case(each, terms) for each in smoke()}
    assert {"case", "isolate", "family:EMU", "tier:contract"} <= cases["isolate"]
    assert "family:EMU" not in cases["cores-2"]
    assert "refused" in cases["no-threads-3"]
    scenarios = {name: labels_of_scenario(each, terms) for name, each in SCENARIOS.items()}
    assert {"scenario", "disruptive", "NODE-GATE"} <= scenarios["gate-off"]
    assert "disruptive" not in scenarios["shared-beside-dedicated"]


def test_a_run_of_a_filter_runs_whole_cases_and_says_it_is_a_part(tmp_path: Path) -> None:
    expression = "case && /^iothreads$/"
    ended = conform(
        "run", "--cluster", "simulated", "--label-filter", expression, "-n", "0", cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads((tmp_path / "reports-out" / "report.json").read_text())
    ran = {each["id"] for each in report["cases"]} - {"_nodes"}
    assert ran == {"isolate-io", "io-own", "io-pool"}
    assert report["selection"]["left_out"] > 5
    assert expression in report["run"]["command"].replace("'", "")
    assert report["conclusion"]["outcome"] == "conformant-as-far-as-asked"
    assert "not-observed" not in {each["verdict"] for each in report["findings"]}


def test_an_expression_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    ended = conform("run", "--cluster", "simulated", "--label-filter", "(a", cwd=tmp_path)
    assert ended.returncode == 3
    assert "not closed" in ended.stdout + ended.stderr


def test_kubectl_finds_it_as_a_plugin() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-conform"] == scripts["conform"]
