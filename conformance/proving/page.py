"""docs/self-proof.md and docs/bugs-caught.md, from the catalogue of saboteurs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from conformance.proving.bugs import NOT_HERE, SEEN
from conformance.proving.saboteur import Saboteur

_MADE = "<!-- Made by `python -m conformance.proving {}`; edits are lost. -->"

_INTRODUCTION = """
A check that was never seen to fail is a guess. Each saboteur below breaks one requirement on
purpose. `./conform prove` makes a run in which all is kept, lets every saboteur spoil its evidence
or the cluster itself, and judges again: the requirement must fail, and no other one but those that
say the same. `./conform prove --evidence DIR` does it with the evidence of any run, a real
cluster's too.

- *alone*: the saboteur changes a single source, and every other one says what it said.
- *cluster*: it is a fault of the reference stack (`--break`).
"""
_BUGS = """
What KubeVirt and Kubernetes have had, and the [saboteurs](self-proof.md) that stand for it.
`./conform prove` shows that each is noticed.
"""


def self_proof(saboteurs: Iterable[Saboteur]) -> Iterator[str]:
    """The catalogue, requirement by requirement."""
    by_requirement: dict[str, list[Saboteur]] = defaultdict(list)
    for each in saboteurs:
        by_requirement[each.requirement].append(each)
    yield _MADE.format("self-proof")
    yield "# Self-proof"
    yield _INTRODUCTION
    for requirement, found in by_requirement.items():
        yield f"\n## {requirement}"
        yield "| saboteur | what it does | where | stands for | may fail too |"
        yield "|---|---|---|---|---|"
        for each in found:
            where = "cluster" if each.fault else "evidence, alone" if each.alone else "evidence"
            name = each.name.partition("/")[2]
            also = ", ".join(sorted(each.also))
            yield f"| `{name}` | {each.does} | {where} | {each.bug} | {also} |"


def bugs_caught(saboteurs: Iterable[Saboteur]) -> Iterator[str]:
    """Each historical defect, with what stands for it."""
    by_bug: dict[str, list[Saboteur]] = defaultdict(list)
    for each in saboteurs:
        if each.bug:
            by_bug[each.bug].append(each)
    yield _MADE.format("bugs-caught")
    yield "# Historical defects"
    yield _BUGS
    yield "| defect | what was seen | saboteurs |"
    yield "|---|---|---|"
    for bug, title in SEEN.items():
        names = ", ".join(f"`{each.name}`" for each in by_bug[bug])
        yield f"| {bug} | {title} | {names} |"
    yield "\n## Without a saboteur"
    yield "| defect | why |"
    yield "|---|---|"
    for bug, why in NOT_HERE.items():
        yield f"| {bug} | {why} |"
