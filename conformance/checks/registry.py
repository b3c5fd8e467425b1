"""Which function judges which requirement, and when it applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding

Judge = Callable[[Snapshot, Expectation], Finding]
"""Judges one snapshot; pure."""

Applies = Callable[[Expectation], bool]
"""Whether a requirement has anything to say about a case, from its expectation alone."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        moment: the moment of the snapshots that it judges: ``running``, ``refused``,
            ``deleted``, ...
    """

    requirement: str
    moment: str
    applies: Applies
    judge: Judge


_CHECKS: dict[str, Check] = {}


def check(requirement: str, *, moment: str, applies: Applies) -> Callable[[Judge], Judge]:
    """Registers the decorated function as the judge of a requirement."""

    def register(judge: Judge) -> Judge:
        if requirement in _CHECKS:
            raise ValueError(f"two checks judge {requirement}")
        _CHECKS[requirement] = Check(requirement, moment, applies, judge)
        return judge

    return register


def registered() -> Mapping[str, Check]:
    """Every registered check by requirement id; import `conformance.checks.all` first."""
    return dict(_CHECKS)
