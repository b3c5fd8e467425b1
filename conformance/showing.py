"""Requirements and cases as tables for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import registered, stories
from conformance.judging.coverage import left_out
from conformance.judging.words import summary
from conformance.matrix.cases import Case
from conformance.matrix.matrices import matrix
from conformance.matrix.scenarios import Scenario
from conformance.model.expectation import Expectation
from conformance.requirements.catalogue import catalogue
from reports.wording import one_line


def show_requirements() -> None:
    """Every requirement, a line each."""
    rows = [
        (each.id, each.level, each.tier, each.title, each.moment)
        for each in catalogue().requirements
    ]
    _print(("ID", "LEVEL", "TIER", "TITLE", "JUDGED WHEN"), rows)


def requirements_as_data(id: str | None) -> list[dict[str, Any]]:
    """One requirement, or every one, for other programs. Raises KeyError."""
    found = [catalogue().requirement(id)] if id else catalogue().requirements
    return [
        {
            "id": each.id,
            "level": each.level,
            "tier": each.tier,
            "title": each.title,
            "text": each.text,
            "judged": each.moment,
            "profiles": list(each.profiles),
            "needs": list(each.needs),
            "follows": list(each.follows),
            "sources": [*map(str, each.sources)] or [each.derived or ""],
        }
        for each in found
    ]


def cases_as_data(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """The cases with what the oracle expects of each, for other programs."""
    return [
        {
            "id": case.id,
            "title": case.title,
            "must_be": _must_be(case.expectation).lower(),
            "expected": dict(_expected(case.expectation)),
            "manifest": dict(case.manifest),
        }
        for case in cases
    ]


def show_requirement(id: str) -> None:
    """One requirement: text, sources, and the cases that exercise it. Raises KeyError."""
    requirement = catalogue().requirement(id)
    print(f"{requirement.id}: {requirement.title}\n\n{requirement.text}\n")
    facts = {
        "level": f"{requirement.level}, tier {requirement.tier}",
        "profiles": ", ".join(requirement.profiles),
        "sources": "; ".join(map(str, requirement.sources)) or requirement.derived or "",
        "needs": ", ".join(requirement.needs) or "nothing in particular",
        "look first": ", ".join(requirement.follows),
        "see also": ", ".join(requirement.see_also),
    }
    for name, text in facts.items():
        if text:
            print(f"{name + ':':<12}{text}")
    for known in requirement.known_divergences:
        print(f"known:      {known.description} ({known.releases}; {known.reference})")
    check = registered().get(id)
    cases = [case.id for case in matrix("smoke") if check and check.applies(case.expectation)]
    told = [each.scenario for each in stories() if each.requirement == id]
    if told:
        print(f"{'scenarios:':<12}{', '.join(told)}")
    else:
        print(f"{'cases:':<12}{', '.join(cases) or 'none of the smoke matrix'}")


def show_cases(cases: Iterable[Case]) -> None:
    """The cases with what the oracle expects of each."""
    rows = [
        (
            case.id,
            _must_be(case.expectation),
            ", ".join(f"{name} {text}" for name, text in _expected(case.expectation).items()),
            case.title,
        )
        for case in cases
    ]
    _print(("CASE", "MUST BE", "EXPECTED", "TITLE"), rows)


def _must_be(expectation: Expectation) -> str:
    if expectation.undecided is not None:
        return "not judged"
    return "admitted" if expectation.admitted else "REFUSED"


def _expected(expectation: Expectation) -> Mapping[str, str]:
    if expectation.undecided is not None:
        return {"because": expectation.undecided}
    return summary(expectation)


def show_lines(lines: Iterable[object]) -> None:
    """Remarks, a line each, apart from what came before."""
    text = "\n".join(map(str, lines))
    if text:
        print(f"\n{text}")


def show_scenarios(chosen: Iterable[Scenario]) -> None:
    """The scenarios with what they show and what they need."""
    rows = [
        (
            each.id,
            ", ".join(check.requirement for check in stories() if check.scenario == each.id),
            ", ".join(each.needs) or "nothing in particular",
            each.title,
        )
        for each in chosen
    ]
    if rows:
        print()
        _print(("SCENARIO", "SHOWS", "NEEDS", "TITLE"), rows)


def show_left_out(matrix_name: str, profile: str, cases: Sequence[Case]) -> None:
    """The requirements of the profile that a matrix shows nothing of, and why."""
    rows = [
        (requirement.id, requirement.title, why)
        for requirement, why in left_out(matrix_name, profile, cases)
    ]
    shown = len(catalogue().of_profile(profile)) - len(rows)
    print(f"\n{shown} of the {shown + len(rows)} requirements of profile {profile} are shown.")
    if rows:
        print()
        _print(("LEFT OUT", "TITLE", "WHY"), rows)


def show_manifests(cases: Iterable[Case]) -> None:
    """The manifests as YAML documents."""
    yaml.safe_dump_all([dict(case.manifest) for case in cases], sys.stdout, sort_keys=False)


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows below a head."""
    _print(head, rows)


def _print(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(one_line, row))
    # A pipe has no width: there every row is one line, as grep wants it.
    Console(width=None if sys.stdout.isatty() else 400, markup=False).print(table)
