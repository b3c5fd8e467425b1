"""By which words this program is started, for messages that say what to do next."""

from __future__ import annotations

import os

from clusters.host.needs import PREPARE

VARIABLE = "CONFORM"
"""In which the script of a checkout says how it was called."""


def conform() -> str:
    """``conform`` where it is installed; in a checkout its script, as the user called it."""
    return os.environ.get(VARIABLE) or ("./conform" if PREPARE.exists() else "conform")
