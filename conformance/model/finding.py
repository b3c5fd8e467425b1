"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of one requirement on one snapshot.

    NOT_APPLICABLE needs a reason (which capability or shape is lacking); NOT_OBSERVED means
    that the evidence is missing and never counts as kept; KNOWN_DIVERGENCE is a failure
    that the catalogue knows of this release; ERROR is a defect of the harness or cluster.
    """

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not-applicable"
    NOT_OBSERVED = "not-observed"
    KNOWN_DIVERGENCE = "known-divergence"
    ERROR = "error"


@dataclass(frozen=True)
class Compared:
    """One of the values that a check compared.

    Attributes:
        what: such as ``vCPU 1 by vcpupin``.
        value: text, CPU lists as Linux writes them.
        source: where it came from: file, API object and field, command.
    """

    what: str
    value: str
    source: str


@dataclass(frozen=True)
class Finding:
    """One requirement judged on one snapshot.

    Attributes:
        requirement: id in the catalogue.
        message: one sentence that alone tells what was compared and what is wrong.
        compared: the values, in the order of the message.
        final: what is wrong may never be, not even for a moment: a later look does not mend it.
        notes: what a reader should know although nobody promised otherwise.
        objections: what is wrong, one by one.
        look: what to look at next where something is wrong.
    """

    requirement: str
    verdict: Verdict
    message: str
    compared: tuple[Compared, ...] = ()
    case: str = ""
    scenario: str = ""
    moment: str = ""
    node: str = ""
    final: bool = False
    notes: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    look: str = ""

    def at(self, case: str, scenario: str, moment: str, node: str) -> Finding:
        """The finding with where it was made; `dataclasses.replace` takes three times as long."""
        return Finding(
            self.requirement,
            self.verdict,
            self.message,
            self.compared,
            case,
            scenario,
            moment,
            node,
            self.final,
            self.notes,
            self.objections,
            self.look,
        )
