"""What a recording that cannot be read costs: every verdict that rests on all of its moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from conformance.model.evidence import RawSnapshot, Snapshot
from conformance.model.finding import Finding, Verdict
from conformance.parsing.assemble import assemble

_OBJECTIONS = (Verdict.FAIL, Verdict.KNOWN_DIVERGENCE)


@dataclass(frozen=True)
class Read:
    """The recordings of a case.

    Attributes:
        snapshots: (file, as recorded, facts) of those that could be read, oldest first.
        lost: (moment, reason) of the others; the moment may be unknown, hence empty.
    """

    snapshots: tuple[tuple[str, RawSnapshot, Snapshot], ...]
    lost: tuple[tuple[str, str], ...]

    def lost_at(self, moment: str) -> list[str]:
        """Why recordings that may be of a moment cannot be read."""
        return [why for when, why in self.lost if when in {moment, ""}]


def read(recorded: Iterable[tuple[str, RawSnapshot]]) -> Read:
    """Parses recordings. What our parsers break on is lost, like what is not there."""
    snapshots, lost = [], []
    for path, raw in recorded:
        if raw.lost is not None:
            lost.append((raw.moment, raw.lost))
            continue
        try:
            snapshots.append((path, raw, assemble(raw)))
        except Exception as error:
            lost.append((raw.moment, f"{path} is not understood: {error!r:.300}"))
    return Read(tuple(snapshots), tuple(lost))


def withheld(finding: Finding, lost: list[str], *, settles: bool) -> Finding:
    """A finding in the light of what else was recorded of its moment and cannot be read.

    What was seen to be wrong stays wrong, unless it may have settled since; nothing is known to
    be kept.
    """
    settled = not settles or finding.final
    if not lost or (finding.verdict in _OBJECTIONS and settled):
        return finding
    others = "" if finding.verdict is Verdict.NOT_OBSERVED else f"; of the rest: {finding.message}"
    message = f"not all that was recorded can be read: {'; '.join(lost[:3])}{others}"
    return replace(finding, verdict=Verdict.NOT_OBSERVED, message=message)
