"""Which version of this tool it is, down to the commit where it runs from a checkout."""

from __future__ import annotations

import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_SECONDS = 5


@cache
def version() -> str:
    """Such as ``0.1.0 (commit 1f3c5a9)``; a checkout with changes of its own says so."""
    try:
        number = importlib.metadata.version("cpu-conformance")
    except importlib.metadata.PackageNotFoundError:
        number = "development"
    commit = _commit()
    return f"{number} (commit {commit})" if commit else number


def _commit() -> str:
    """What git calls this checkout; empty where this is none, or where there is no git."""
    if not (_ROOT / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ("git", "-C", str(_ROOT), "describe", "--always", "--tags", "--dirty=, changed"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
