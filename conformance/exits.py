"""The exit codes of `./conform`."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the caller is told.

    INCONCLUSIVE: something mandatory was not observed, or the cluster broke.
    """

    CONFORMANT = 0
    NOT_CONFORMANT = 1
    INCONCLUSIVE = 2
    USAGE = 3
    INTERRUPTED = 130
