"""What breaks of the harness itself is an error with its place, and never a word on a cluster."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from conformance.checks.registry import registered, stories
from conformance.judging import decide
from conformance.judging.terms import Terms
from conformance.model.evidence import Story
from conformance.model.finding import Verdict
from conformance.parsing import assemble
from tests.selfproof import recording as good

TERMS = Terms("v1", {}, setting=good.SETTING)


def breaks(*_about: object) -> str:
    raise ZeroDivisionError("a slip of ours")


def test_a_check_that_breaks() -> None:
    check = replace(registered()["CPU-COUNT"], compare=breaks)
    finding = check.judge(assemble(good.running()), good.EXPECTATION)
    assert finding.verdict is Verdict.ERROR
    assert "ZeroDivisionError at test_defects.py:" in finding.message


def test_a_check_of_a_scenario_that_breaks() -> None:
    check = replace(next(iter(stories())), compare=breaks)
    assert check.judge(Story("x", "v1", ())).verdict is Verdict.ERROR


def test_what_breaks_around_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "turned_away", breaks)
    wanted = TERMS.catalogue.requirement("CPU-COUNT")
    looks = [assemble(good.running())]
    check = registered()["CPU-COUNT"]
    _index, finding = decide.decide(TERMS, wanted, check, looks, good.EXPECTATION)
    assert finding.verdict is Verdict.ERROR
    assert finding.case == "demo"


def test_a_parser_that_breaks_leaves_everything_unobserved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["conformance.parsing.assemble"], "_on_node", breaks)
    facts = assemble(good.running())
    assert facts.case == "demo"
    for check in registered().values():
        if check.moment == "running" and check.applies(good.EXPECTATION):
            finding = check.judge(facts, good.EXPECTATION)
            assert finding.verdict is Verdict.NOT_OBSERVED, finding
            assert "ZeroDivisionError at test_defects.py" in finding.message
