"""The page of what each verdict needs has a row for every requirement, and tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import registered, stories
from conformance.requirements.catalogue import catalogue

PAGE = Path(__file__).parents[2] / "docs/verdicts.md"
ROW = re.compile(r"\| ([A-Z]+(?:-[A-Z0-9]+)+) \|(.*)\|")


def rows() -> dict[str, list[str]]:
    found = [match for line in PAGE.read_text().splitlines() if (match := ROW.fullmatch(line))]
    assert len({match[1] for match in found}) == len(found), "a requirement has two rows"
    return {match[1]: [cell.strip() for cell in match[2].split(" | ")] for match in found}


def test_every_requirement_has_its_row_in_order() -> None:
    assert list(rows()) == [requirement.id for requirement in catalogue().requirements]


def test_every_row_says_when_it_is_judged_and_whether_it_settles() -> None:
    settling = {each.requirement for each in stories() if each.settles}
    settling |= {name for name, check in registered().items() if check.settles}
    moments = {name: check.moment for name, check in registered().items()}
    for name, (judged, settles, *_) in rows().items():
        assert judged == moments.get(name, "scenario"), name
        assert settles == ("yes" if name in settling else "no"), name


def test_every_row_says_what_each_verdict_needs() -> None:
    for name, cells in rows().items():
        assert len(cells) == 5, name
        assert all(cells), name
