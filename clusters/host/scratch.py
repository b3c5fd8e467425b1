"""Temporary directories of this tool. What a killed run could not remove, the next one does."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from clusters.host import processes


def directory(below: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """A new one below ``$TMPDIR`` or another directory, private; its name says whose it is.

    A cleanup that is refused hides no other error: what is left is removed later.
    """
    owner = processes.identity(os.getpid()).replace(":", ".")
    return tempfile.TemporaryDirectory(
        prefix=f"{_prefix()}{owner}-", dir=below, ignore_cleanup_errors=True
    )


def sweep() -> None:
    """Removes those of this user whose process has ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{_prefix()}*.*-*"):
        owner = path.name.removeprefix(_prefix()).partition("-")[0].replace(".", ":")
        # Whoever made it may remove it at this moment.
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid == os.getuid() and not processes.alive(owner):
                shutil.rmtree(path, ignore_errors=True)


def _prefix() -> str:
    return f"cpu-conformance-{os.getuid()}-"
