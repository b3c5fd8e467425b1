"""What a rule of admission is, and which there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conformance.matrix.reading import Placement
from conformance.model.vocabulary import PROFILES, holds

Fields = tuple[str, ...]
Violated = Callable[[Placement], bool | Fields]


@dataclass(frozen=True)
class Rule:
    """One way for a manifest to be inconsistent.

    Attributes:
        id: short name, such as ``requests-cpu-whole``.
        source: where it is promised.
        fields: JSON paths, one of which the refusal must name.
        violated: whether a placement breaks it; or which fields it breaks it with, where that
            depends on the placement.
        profiles: in which it holds, and in those that include one of them.
        title: what must not be, as a clause.
    """

    id: str
    source: str
    fields: Fields
    violated: Violated
    profiles: tuple[str, ...]
    title: str

    def at_fault(self, vmi: Placement) -> Fields:
        """The fields of which a refusal must name one; empty when the rule is kept."""
        found = self.violated(vmi)
        return found if isinstance(found, tuple) else self.fields if found else ()


_RULES: list[Rule] = []


def registered(profile: str) -> tuple[Rule, ...]:
    """Every rule of a profile, in the order in which they were registered."""
    return tuple(rule for rule in _RULES if holds(profile, rule.profiles))


def rule(
    id: str,
    *fields: str,
    source: str,
    profiles: tuple[str, ...] = PROFILES,
) -> Callable[[Violated], Violated]:
    """Registers the decorated function as a rule; its docstring is the title."""

    def register(
        violated: Violated,
    ) -> Violated:
        title = (violated.__doc__ or "").strip().split("\n", maxsplit=1)[0].rstrip(".")
        _RULES.append(Rule(id, source, fields, violated, profiles, title))
        return violated

    return register
