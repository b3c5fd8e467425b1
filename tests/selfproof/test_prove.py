"""Saboteurs: each is caught, nothing else is blamed, and no requirement is without some."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.collecting import bundle
from conformance.exits import Exit
from conformance.proving import all as _all  # noqa: F401 - registers every saboteur
from conformance.proving import bugs, prove
from conformance.proving.page import bugs_caught, self_proof
from conformance.proving.saboteur import Saboteur, of
from conformance.proving.trial import Outcome, Prover, Trial
from conformance.requirements.catalogue import catalogue
from tests.exhibits import unpacked

ROOT = Path(__file__).parents[2]
SABOTEURS = of(())
CHANGES = [each for each in SABOTEURS if not each.fault]
UNDECIDED = {
    # Recorded before settings were: what the CR asks for is not known there, which the judge says.
    "kubevirt-1.9": {
        "CPU-COUNT/limit-of-one-more",
        "CPU-COUNT/one-too-many-everywhere",
        "SIDE-RESOURCES/costs-half",
        "SIDE-RESOURCES/costs-less-memory",
    },
}


def run(where: Path, *arguments: str) -> Path:
    call = [sys.executable, "-m", "conformance", "run", "--cluster", "simulated"]
    done = subprocess.run(
        [*call, *arguments, "--report-dir", str(where)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.CONFORMANT, done.stdout[-2000:] + done.stderr[-2000:]
    return where / "evidence"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Prover]:
    """The runs whose evidence `conform prove` spoils."""
    made = [run(tmp_path_factory.mktemp("kept"), *base) for base in prove.BASES]
    return [Prover(bundle.read(evidence)) for evidence in made]


def shown(trials: Sequence[Trial]) -> str:
    return "\n".join(f"{t.outcome.value} in {t.case}: {t.failed}: {t.said}" for t in trials)


@pytest.mark.parametrize("saboteur", CHANGES, ids=lambda each: each.name)
def test_each_is_caught_and_nothing_else_is_blamed(
    saboteur: Saboteur, kept: Sequence[Prover]
) -> None:
    trials = prove.tried(saboteur, kept)
    assert {each.outcome for each in trials} == {Outcome.CAUGHT}, shown(trials)


@pytest.mark.parametrize("name", ["kubevirt-1.9", "kubevirt-1.8.4", "kubevirt-1.8.4-standard"])
def test_each_is_caught_in_what_a_real_kubevirt_showed(name: str, tmp_path: Path) -> None:
    prover = Prover(bundle.read(unpacked(name, tmp_path)))
    trials = [trial for each in CHANGES for trial in prover.trials(each)]
    wrong = [t for t in trials if t.outcome in (Outcome.MISSED, Outcome.BLAMED)]
    undecided = {t.saboteur.name for t in wrong if not t.failed and "not-observed" in t.said}
    assert undecided == UNDECIDED.get(name, set()), shown(wrong)
    assert {t.saboteur.name for t in wrong} == undecided, shown(wrong)
    assert sum(t.outcome is Outcome.CAUGHT for t in trials) > 90


def test_every_mandatory_requirement_has_three_and_one_that_leaves_all_others_right() -> None:
    number = Counter(each.requirement for each in SABOTEURS)
    alone = {each.requirement for each in SABOTEURS if each.alone}
    mandatory = [each.id for each in catalogue().requirements if each.level == "MUST"]
    assert [each for each in mandatory if number[each] < 3] == []
    assert [each for each in mandatory if each not in alone] == []
    assert set(number) <= {each.id for each in catalogue().requirements}


def test_what_may_fail_too_is_a_requirement() -> None:
    known = {each.id for each in catalogue().requirements}
    assert [each.name for each in SABOTEURS if not each.also <= known] == []
    assert [each.name for each in SABOTEURS if not each.does.endswith(".")] == []


def test_historical_bugs_are_stood_for() -> None:
    stood_for = {each.bug for each in SABOTEURS if each.bug}
    assert stood_for == set(bugs.SEEN)
    assert not stood_for & set(bugs.NOT_HERE)


@pytest.mark.parametrize(
    ("name", "page"), [("self-proof", self_proof), ("bugs-caught", bugs_caught)]
)
def test_pages_are_current(name: str, page: object) -> None:
    assert callable(page)
    made = "\n".join(page(SABOTEURS)) + "\n"
    assert (ROOT / "docs" / f"{name}.md").read_text() == made, (
        f"write it again: python -m conformance.proving {name} > docs/{name}.md"
    )


def test_one_that_changes_nothing_is_missed_and_one_that_breaks_more_is_blamed(
    kept: Sequence[Prover],
) -> None:
    caught = next(each for each in CHANGES if each.name == "PIN-THREADS/threads-float")
    idle = replace(caught, change=lambda scene: scene)
    assert {each.outcome for each in prove.tried(idle, kept)} == {Outcome.MISSED}
    other = next(each for each in CHANGES if each.name == "QOS-POD/is-burstable")
    assert other.change is not None
    assert caught.change is not None
    first, second = other.change, caught.change
    both = replace(caught, change=lambda scene: second(first(scene)))
    trials = prove.tried(both, kept)
    assert {each.outcome for each in trials} == {Outcome.BLAMED}
    assert {each.stray for each in trials} == {("QOS-POD",)}
    assert prove.exit_code(trials) == Exit.NOT_CONFORMANT
    nothing = [Trial(caught, Outcome.IDLE)]
    assert prove.exit_code(nothing) == Exit.INCONCLUSIVE
    assert prove.exit_code([replace(nothing[0], outcome=Outcome.CAUGHT)]) == Exit.CONFORMANT


def conform(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "conformance", *arguments]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)


def test_commands() -> None:
    listed = conform("saboteurs", "PIN-THREADS")
    assert listed.returncode == Exit.CONFORMANT
    assert "PIN-THREADS/threads-float\n    No thread of a vCPU is pinned" in listed.stdout
    assert "QOS" not in listed.stdout
    wrong = conform("prove", "PIN-THREAD")
    assert wrong.returncode == Exit.USAGE
    assert "PIN-THREADS" in wrong.stderr
    nowhere = conform("prove", "--evidence", "/nonexistent")
    assert nowhere.returncode == Exit.USAGE
