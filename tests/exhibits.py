"""Recordings of clusters, good and broken: bundles in ``tests/recorded``.

Each has a file beside it with the findings that it must give: ``conform record`` writes both.
"""

from __future__ import annotations

from pathlib import Path

from conformance.collecting.packing import unpack

RECORDED = Path(__file__).parent / "recorded"


def unpacked(name: str, directory: Path) -> Path:
    """The evidence of a recording, below a directory."""
    unpack(RECORDED / f"{name}.tar.xz", directory)
    return directory / "evidence"
