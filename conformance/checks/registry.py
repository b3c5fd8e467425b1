"""Which function judges which requirement, and when it applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict

Judge = Callable[[Snapshot, Expectation, Comparison], str]
"""Compares; returns the sentence that holds when there was nothing to object to. Pure."""

Applies = Callable[[Expectation], bool]
"""Whether a requirement has anything to say about a case, from its expectation alone."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        moment: the moment of the snapshots that it judges: ``running``, ``refused``,
            ``deleted``, ...
        settles: what it requires comes true after a while (labels, housekeeping, the
            guest's report), so that the last snapshot counts. Otherwise it must hold at
            every moment, and a violation in any snapshot counts.
        look: what to look at next when it fails; one sentence.
    """

    requirement: str
    moment: str
    applies: Applies
    settles: bool
    look: str
    compare: Judge

    def judge(self, snapshot: Snapshot, expectation: Expectation) -> Finding:
        """Judges one snapshot: exactly one finding, whatever the snapshot holds."""
        comparison = Comparison()
        try:
            kept = self.compare(snapshot, expectation, comparison)
        except NotApplicable as reason:
            return Finding(self.requirement, Verdict.NOT_APPLICABLE, str(reason))
        except Unobserved as reason:
            comparison.missing(str(reason))
            kept = ""
        return comparison.finding(self.requirement, kept, self.look)


_CHECKS: dict[str, Check] = {}


def check(
    requirement: str, *, moment: str, applies: Applies, look: str, settles: bool = False
) -> Callable[[Judge], Judge]:
    """Registers the decorated function as the judge of a requirement; see `Check`."""

    def register(judge: Judge) -> Judge:
        if requirement in _CHECKS:
            raise ValueError(f"two checks judge {requirement}")
        _CHECKS[requirement] = Check(requirement, moment, applies, settles, look, judge)
        return judge

    return register


def registered() -> Mapping[str, Check]:
    """Every registered check by requirement id; import `conformance.checks.all` first."""
    return dict(_CHECKS)


def admitted(expectation: Expectation) -> bool:
    """For everything that must be admitted, plain pods too."""
    return expectation.admitted


def dedicated(expectation: Expectation) -> bool:
    """For everything with CPUs of its own, plain pods too."""
    return expectation.admitted and expectation.dedicated


def admitted_vmi(expectation: Expectation) -> bool:
    """For VMIs that must be admitted."""
    return expectation.admitted and expectation.guest


def dedicated_vmi(expectation: Expectation) -> bool:
    """For VMIs with dedicated CPUs."""
    return dedicated(expectation) and expectation.guest


def isolated(expectation: Expectation) -> bool:
    """For VMIs with dedicated CPUs and an isolated emulator thread."""
    return dedicated_vmi(expectation) and expectation.isolate_emulator
