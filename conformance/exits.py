"""The exit codes of `./conform`, what a gate may insist on, and the signals that end a run."""

from __future__ import annotations

import signal
from enum import IntEnum, StrEnum
from typing import NoReturn


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


ENDING = (signal.SIGTERM, signal.SIGHUP)
"""What ends a run beside an interrupt: it judges what it has and cleans up."""


def interrupt(_number: int, _frame: object) -> NoReturn:
    """A handler: as if it had been Ctrl-C."""
    raise KeyboardInterrupt


def ends_like_an_interrupt() -> None:
    """Handles `ENDING`; a hang-up that is ignored, as below ``nohup``, stays so."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
