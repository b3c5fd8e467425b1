"""Every node that is asked for is judged by a VMI of its own, or the report says why it was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.matrix.nodes import node_case, wanted
from conformance.matrix.smoke import smoke
from conformance.model.vocabulary import HOSTNAME, PROFILES
from reports import form, html, markdown
from reports.document import Document, Verdict
from reports.nodes import by_node
from tests.unit.reports.conftest import EXAMPLES
from tests.unit.test_suite import conform

EVERY = ("a", "b", "c", "d")
LABELLED = ("c", "a", "b")


@pytest.mark.parametrize(
    ("text", "found"),
    [("all", ["a", "b", "c"]), ("2", ["a", "b"]), ("d, b,d", ["d", "b"])],
)
def test_which_nodes_are_meant(text: str, found: list[str]) -> None:
    assert wanted(text, LABELLED, EVERY) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4", "3 nodes are labelled: a, b, c"),
        ("0", "3 nodes are labelled"),
        ("a,z", "there is no node z"),
        (",", "names no node"),
    ],
)
def test_a_node_that_cannot_be_meant_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wanted(text, LABELLED, EVERY)
    with pytest.raises(ValueError, match="no node is labelled"):
        wanted("all", (), EVERY)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_case_of_a_node_promises_what_it_would_promise_anywhere(profile: str) -> None:
    case = node_case("node-1.example", "host-1", profile, None)
    assert case.manifest["spec"]["nodeSelector"] == {HOSTNAME: "host-1"}
    (same,) = [each for each in smoke(profile) if each.id == "cores-2"]
    assert case.expectation == same.expectation
    assert case.expectation.dedicated


def test_ids_of_nodes_are_told_apart() -> None:
    names = ("a-b", "a.b", "A-b", "x" * 200, "x" * 199 + "y")
    cases = [node_case(name, name, "v1", None) for name in names]
    assert len({case.id for case in cases}) == len(names)
    assert len({case.name for case in cases}) == len(names)
    assert cases[0].id == "on-a-b"


def test_a_node_whose_case_was_not_selected_is_in_the_report_all_the_same() -> None:
    document = EXAMPLES["passing"]()
    selection = replace(document.selection, nodes={"node-9": "on-node-9"})
    told = replace(document, selection=selection)
    (row,) = [row for row in by_node(told) if row.node == "node-9"]
    assert (row.vmis, row.verdict) == (0, Verdict.NOT_OBSERVED)
    assert "not selected" in row.why
    assert "node-9" in markdown.render(told)
    assert "was not selected" in html.render(told)


Report = Callable[[], Document]


def run(directory: Path, *words: str) -> tuple[int, str, Document]:
    ended = conform("run", "--cluster", "simulated", *words, cwd=directory)
    path = directory / "reports-out" / "report.json"
    assert path.exists(), ended.stdout + ended.stderr
    return ended.returncode, ended.stdout, form.load(path.read_text())


def test_each_labelled_node_is_judged_by_a_vmi_of_its_own(tmp_path: Path) -> None:
    # Of the matrix nothing: what is judged is what the nodes have been given.
    code, said, document = run(tmp_path, "--shape", "two-nodes", "--nodes", "all", "-k", "on-node")
    assert code == 0, said
    rows = {row.node: row for row in by_node(document)}
    assert set(rows) == {"node-1", "node-2"}
    for name, case in document.selection.nodes.items():
        assert rows[name].verdict is Verdict.PASS
        own = [each for each in document.findings if each.case == case]
        assert {each.node for each in own if each.moment == "running"} == {name}
        assert {each.verdict for each in own} <= {Verdict.PASS, Verdict.NOT_APPLICABLE}
        assert f"PASS on {name}: 1 case" in said
    evidence: dict[str, Any] = json.loads(
        (tmp_path / "reports-out" / "evidence" / "run.json").read_text()
    )
    assert evidence["selection"]["nodes"] == dict(document.selection.nodes)
    again = conform("judge", "reports-out", cwd=tmp_path)
    assert again.returncode == 0
    assert "PASS on node-2: 1 case" in again.stdout


def test_a_node_that_takes_none_is_not_observed_and_says_why(tmp_path: Path) -> None:
    words = ("--shape", "policy-none", "--nodes", "node-1,node-2", "-k", "on-node")
    code, said, document = run(tmp_path, *words, "--patience", "0.05")
    assert code == 2, said
    rows = {row.node: row for row in by_node(document)}
    assert rows["node-1"].verdict is Verdict.PASS
    assert rows["node-2"].verdict is Verdict.NOT_OBSERVED
    assert rows["node-2"].why
    assert "fail" not in {each.verdict for each in document.findings}
    assert "NOT OBSERVED on node-2" in said


def test_no_such_node_is_a_usage_error(tmp_path: Path) -> None:
    ended = conform(
        "run", "--cluster", "simulated", "--nodes", "nowhere", "-k", "on-", cwd=tmp_path
    )
    assert ended.returncode == 3
    assert "there is no node nowhere" in ended.stdout + ended.stderr
