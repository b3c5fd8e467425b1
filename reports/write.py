"""The report as files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

from reports import html, junit, markdown, metrics
from reports.document import Document
from reports.form import dump

_FILES = {
    "report.html": html.render,
    "report.json": dump,
    "junit.xml": junit.render,
    "summary.md": markdown.render,
    "metrics.prom": metrics.render,
}


def write_all(
    document: Document, directory: Path, without: Collection[str] = ()
) -> Mapping[str, Path]:
    """Writes every form of the report into the directory, which is made when it is missing.

    Those named by `without` are left as they are. A reader finds each file whole, the old one or
    the new one, whenever the writer dies.

    Returns:
        The files by their names, ``report.html`` first.

    Raises:
        OSError: the directory cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # Rendering comes first: what cannot be rendered must not leave half a report.
    texts = {name: render(document) for name, render in _FILES.items() if name not in without}
    for name, text in texts.items():
        replace_file(directory / name, text)
    return {name: directory / name for name in texts}


def replace_file(path: Path, text: str) -> None:
    """Writes a file whole, or leaves the old one.

    The directory may be somebody else's: a link of that name is replaced, never followed, and
    the name of the unfinished file cannot be foreseen, nor may it be there.
    """
    temporary = path.with_name(f".{secrets.token_hex(16)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
