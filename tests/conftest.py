"""What tests of every room share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the clusters of the test keep their files, as $XDG_RUNTIME_DIR.

    Short, because of the sockets in it, and its own: other runs sweep the common one.
    """
    with tempfile.TemporaryDirectory(prefix="c-", dir="/tmp") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)
