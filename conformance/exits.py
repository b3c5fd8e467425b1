"""The exit codes of `./conform`, what a gate may insist on, and the signals that end a run."""

from __future__ import annotations

import contextlib
import os
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


def interrupt(number: int, _frame: object) -> NoReturn:
    """A handler: as if it had been Ctrl-C."""
    if number == signal.SIGHUP:
        forget_lost_terminals()
    raise KeyboardInterrupt


def forget_lost_terminals() -> None:
    """Has what goes to a terminal that hung up go nowhere.

    Each write to it would be an error of its own, and hide the verdict and its exit code.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(_DESCRIPTORS):
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_rdev in _terminals and not os.isatty(descriptor):
                os.dup2(nowhere, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(nowhere)


_terminals: set[int] = set()
_DESCRIPTORS = 256


def ends_like_an_interrupt() -> None:
    """Handles `ENDING`; a hang-up that is ignored, as below ``nohup``, stays so."""
    _terminals.update(os.fstat(each).st_rdev for each in range(3) if os.isatty(each))
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
