"""Renders the catalogue as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from conformance.model.vocabulary import SCENARIO
from conformance.requirements.catalogue import Catalogue, Document, Requirement

_INTRODUCTION = """\
# Requirements

Written by `python -m conformance.requirements > docs/requirements.md`; edit
`conformance/requirements/*.yaml` instead of this page.

This page lists the requirements that a cluster must meet, and the source of each requirement.

- Every implementation must meet the requirements of the tier *contract*. Those of the tier
  *implementation* describe how KubeVirt meets them.
- A requirement of the level MUST is *mandatory*: it decides the exit code.
- The profile *v1alpha2* is what the user guide of 2018 promises. *v1* is what the oldest part of
  today's guide, which was translated, says about dedicated CPUs. *current* is all of *v1*, and what
  today's guide and KubeVirt's source code promise in addition.
"""


def render(catalogue: Catalogue) -> str:
    """The page: an overview, each requirement, and both directions of the trace."""
    parts = [
        _INTRODUCTION,
        "## Overview\n",
        _table(
            ("Requirement", "Title", "Tier", "Judged", "Profiles"),
            (
                (_link(each.id), each.title, each.tier, each.moment, ", ".join(each.profiles))
                for each in catalogue.requirements
            ),
        ),
        *(_requirement(each) for each in catalogue.requirements),
        *(_trace(document, catalogue) for document in catalogue.documents),
    ]
    return "\n".join(parts)


def _requirement(requirement: Requirement) -> str:
    facts = [
        f"- Tier: {requirement.tier}; profiles: {', '.join(requirement.profiles)}",
        f"- Judged: {_judged(requirement)}",
        f"- Needs: {', '.join(requirement.needs)}" if requirement.needs else "",
        f"- When broken, look first at: {', '.join(map(_link, requirement.follows))}"
        if requirement.follows
        else "",
        *(f"- Promised by: {source}" for source in requirement.sources),
        f"- Derived: {requirement.derived}" if requirement.derived else "",
        *(
            f"- Known divergence: {each.releases}"
            f"{f', profile {each.profile}' if each.profile else ''}"
            f"{', rules ' + ', '.join(each.rules) if each.rules else ''}: {each.description} "
            f"({each.reference})"
            for each in requirement.known_divergences
        ),
        f"- Catches: {', '.join(requirement.see_also)}" if requirement.see_also else "",
    ]
    listed = "\n".join(fact for fact in facts if fact)
    return f"### {requirement.id}\n\n**{requirement.title}.** {requirement.text}\n\n{listed}\n"


def _judged(requirement: Requirement) -> str:
    if requirement.moment == SCENARIO:
        return "in a scenario of its own"
    return f"on every {requirement.moment} VMI that it concerns"


def _trace(document: Document, catalogue: Catalogue) -> str:
    rows = (
        (
            each.id,
            each.section,
            each.english,
            ", ".join(_link(found.id) for found in catalogue.tracing(each.id))
            or (f"not judged: {each.unjudged}" if each.unjudged else f"none: {each.informative}"),
        )
        for each in document.statements
    )
    return f"## {document.title}\n\n" + _table(
        ("Statement", "Section", "In our words", "Requirements"), rows
    )


def _link(id: str) -> str:
    return f"[{id}](#{id.lower()})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
