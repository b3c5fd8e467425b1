"""What a report says of a finding, of a requirement, of a run: the words and their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """The outcome of one requirement: of one finding, or the worst of many.

    WAIVED is a failure that the user has allowed for a while (`reports.waivers`).
    """

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not-applicable"
    NOT_OBSERVED = "not-observed"
    WAIVED = "waived"
    KNOWN_DIVERGENCE = "known-divergence"
    ERROR = "error"


WORST_FIRST = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NOT_OBSERVED,
    Verdict.WAIVED,
    Verdict.KNOWN_DIVERGENCE,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
)
"""Every verdict, the one to look at first in front."""


class Standing(StrEnum):
    """What a whole run says of one requirement.

    Of findings that differ the first of these counts, BROKEN before all others. NOT_APPLICABLE:
    every finding says so, or the cluster is known to lack what it would take. NOT_ASKED: no case
    and no scenario that was selected could show it. WAIVED: what was broken of it is waived.
    """

    BROKEN = "broken"
    ERROR = "error"
    NOT_OBSERVED = "not-observed"
    WAIVED = "waived"
    KNOWN_DIVERGENCE = "known-divergence"
    KEPT = "kept"
    NOT_ASKED = "not-asked"
    NOT_APPLICABLE = "not-applicable"


class Outcome(StrEnum):
    """The outcome of the whole run.

    CONFORMANT: every mandatory requirement that applies was observed and kept.
    CONFORMANT_AS_ASKED: nothing was broken and nothing that was asked is open, but not all was
    asked, or something is known not to be kept.
    """

    CONFORMANT = "conformant"
    CONFORMANT_AS_ASKED = "conformant-as-far-as-asked"
    NOT_CONFORMANT = "not-conformant"
    INCONCLUSIVE = "inconclusive"
    INTERRUPTED = "interrupted"


Counts = Mapping[Verdict, int]
"""Findings by verdict; every verdict is present."""


class Judged(Protocol):
    """Whatever has a verdict: a finding, a case."""

    @property
    def verdict(self) -> Verdict:
        """Its verdict."""


def count(findings: Iterable[Judged]) -> Counts:
    """The findings by verdict, zeros included, the worst first."""
    counts = dict.fromkeys(WORST_FIRST, 0)
    for finding in findings:
        counts[finding.verdict] += 1
    return counts


def worst(findings: Iterable[Judged]) -> Verdict:
    """The worst verdict. Of nothing it is NOT_OBSERVED: no evidence never counts as kept."""
    seen = {finding.verdict for finding in findings}
    return next((verdict for verdict in WORST_FIRST if verdict in seen), Verdict.NOT_OBSERVED)
