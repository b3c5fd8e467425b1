"""Files that are written whole or not at all, in directories that others may write to, too."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Makes a file of this user alone (mode 0600) anew.

    A reader finds all of the old text or all of the new one: the writer may be killed at any
    moment. Until then the text is in a file beside it that did not exist before and whose name
    nobody can foresee (mkstemp(3)). A link of that name is replaced; nothing is written through it.

    Raises:
        OSError: the directory is missing or cannot be written to.
    """
    descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
