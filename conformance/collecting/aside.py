"""What an earlier run left in a report directory: kept aside, never mixed, never just deleted.

``reports-out`` of the run before is ``reports-out.1``, the one before that ``reports-out.2``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

KEPT = 5
"""Earlier reports that are kept."""
NAMES = (
    "evidence",
    "report.html",
    "report.json",
    "junit.xml",
    "summary.md",
    "metrics.prom",
    "compare.html",
)
"""What a report is made of. Nothing else of the directory is touched."""


def keep_aside(directory: Path) -> Path | None:
    """Moves what is there to ``DIRECTORY.1``, older ones by one; nothing is deleted.

    Returns:
        Where it is now; None where there was nothing.

    Raises:
        OSError: it cannot be moved.
    """
    found = [directory / name for name in NAMES if (directory / name).exists()]
    if not found:
        return None
    older = _older(directory)
    for number in sorted(older, reverse=True):
        # Only as far as they are in each other's way.
        if all(each in older for each in range(1, number)):
            older[number].rename(_numbered(directory, number + 1))
    aside = _numbered(directory, 1)
    aside.mkdir()
    for path in found:
        path.rename(aside / path.name)
    return aside


def make_way(directory: Path, say: Callable[[str], None]) -> None:
    """As `keep_aside`; says where that is. Raises OSError."""
    if former := keep_aside(directory):
        say(f"the report that was there is kept in {former}")


def forget_oldest(directory: Path) -> None:
    """Deletes all but the newest `KEPT` earlier reports, now that there is a newer one."""
    for number, path in _older(directory).items():
        if number > KEPT and any((path / name).exists() for name in NAMES):
            shutil.rmtree(path, ignore_errors=True)


def _numbered(directory: Path, number: int) -> Path:
    return directory.with_name(f"{directory.name}.{number}")


def _older(directory: Path) -> dict[int, Path]:
    """Earlier reports by their numbers. A link is nobody's report."""
    found = {}
    for path in directory.parent.glob(f"{directory.name}.*"):
        number = path.name.removeprefix(f"{directory.name}.")
        if number.isascii() and number.isdecimal() and path.is_dir() and not path.is_symlink():
            found[int(number)] = path
    return found
