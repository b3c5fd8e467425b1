"""What is not seen of a VMI that does not run, for a reason that is known of the release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from conformance.checks.starting import STARTED
from conformance.model.finding import Finding, Verdict

Placed = tuple[str, Finding]
"""A finding, after the file of the snapshot that it is about."""


def excused(findings: Iterable[Placed]) -> list[Placed]:
    """The findings of a case; nothing can be asked of its guest where `STARTED` is known not to
    be kept, which is told once, by that finding, and does not leave a run without a verdict.

    What was seen all the same, to be kept or not, stays as it is.
    """
    placed = list(findings)
    started = next((each for _path, each in placed if each.requirement == STARTED), None)
    if started is None or started.verdict is not Verdict.KNOWN_DIVERGENCE:
        return placed
    return [
        (
            path,
            replace(
                each,
                verdict=Verdict.NOT_APPLICABLE,
                message=f"the VMI does not run, which is known of this release ({STARTED}): "
                f"{each.message}",
            )
            if each.verdict is Verdict.NOT_OBSERVED and each.moment == started.moment
            else each,
        )
        for path, each in placed
    ]
