"""The exit codes of `./conform`, and what a gate may insist on."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Exit(IntEnum):
    """What the caller is told.

    CONFORMANT: nothing mandatory was broken, and nothing that was asked is open.
    NOT_CONFORMANT: only ever given by a verdict; a fault of this tool's own is INCONCLUSIVE.
    INCONCLUSIVE: something mandatory was not observed, or the cluster or this tool broke.
    """

    CONFORMANT = 0
    NOT_CONFORMANT = 1
    INCONCLUSIVE = 2
    USAGE = 3
    INTERRUPTED = 130


class Insist(StrEnum):
    """What a gate insists on, beside what decides anyway.

    ASKED: every mandatory requirement that applies was asked, of the whole of the matrix.
    KEPT: it was kept, so that nothing is known not to be kept either.
    """

    ASKED = "asked"
    KEPT = "kept"
