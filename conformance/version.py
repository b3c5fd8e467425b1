"""Which version of this tool it is, down to the commit where it came from a repository."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from functools import cache
from pathlib import Path

NUMBER = "0.1.0"
"""What pyproject.toml names the version by."""
_ROOT = Path(__file__).parents[1]
_SECONDS = 5


@cache
def version() -> str:
    """Such as ``0.1.0 (commit 1f3c5a9)``; a checkout with changes of its own says so."""
    commit = _commit() if (_ROOT / ".git").exists() else _packed_commit() or _installed_commit()
    return f"{NUMBER} (commit {commit})" if commit else NUMBER


PACKED = "COMMIT"
"""The file of this package that names the commit where there is no repository: in an image."""


def _packed_commit() -> str:
    try:
        return Path(__file__).with_name(PACKED).read_text().strip()
    except OSError:
        return ""


def _commit() -> str:
    """What git calls this checkout; empty where there is no git."""
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


def _installed_commit() -> str:
    """The commit that was installed from a repository's address (PEP 610); empty for others."""
    try:
        text = importlib.metadata.distribution("cpu-conformance").read_text("direct_url.json")
        return str(json.loads(text or "{}")["vcs_info"]["commit_id"])[:12]
    except (importlib.metadata.PackageNotFoundError, ValueError, KeyError):
        return ""
