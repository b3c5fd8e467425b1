"""Waivers: failures that somebody has allowed for a while, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WaiverState(StrEnum):
    """APPLIED: findings were waived. UNUSED: nothing that it is about was broken. EXPIRED: it
    waived nothing, whatever was broken.
    """

    APPLIED = "applied"
    UNUSED = "unused"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Waiver:
    """One waiver of the file of ``--waivers``.

    Attributes:
        requirement: the id.
        case, node: globs of case or scenario, and of node.
        reason: in its author's words.
        expires: the last day, ISO 8601.
        findings: that it waived.
    """

    requirement: str
    case: str
    node: str
    reason: str
    expires: str
    state: WaiverState
    findings: int = 0
