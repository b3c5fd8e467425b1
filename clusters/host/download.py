"""A file of somebody's release: fetched, and used only with the digest that is known of it."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from clusters.contract.provider import ClusterError, Progress

SILENCE_SECONDS = 60.0
PROGRESS_SECONDS = 10.0
PIECE = 1 << 20


def fetch(
    url: str,
    target: Path,
    algorithm: str,
    expected: str,
    *,
    what: str,
    instead: str,
    progress: Progress,
) -> None:
    """Writes what is at that URL to a file, which is only there when it is the right one.

    Args:
        algorithm: as `hashlib` names it.
        expected: the digest, in hexadecimal.
        what: names it in messages.
        instead: what the user can do where this fails.
        progress: is told of the beginning, and every ten seconds how much has come.

    Raises:
        ClusterError: it cannot be had, or is something else.
    """
    progress(f"fetching {what} from {url}")
    digest = hashlib.new(algorithm)
    try:
        with (
            urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as answer,
            target.open("wb") as file,
        ):
            _copy(answer, file, digest, what, progress)
    except (OSError, HTTPException) as error:
        target.unlink(missing_ok=True)
        raise ClusterError(f"{what} cannot be fetched from {url} ({error}): {instead}") from error
    try:
        require(url, digest, expected, instead)
    except ClusterError:
        target.unlink()
        raise


def require(url: str, digest: hashlib._Hash, expected: str, instead: str) -> None:
    """Raises ClusterError when what was fetched has another digest than that one."""
    if (found := digest.hexdigest()) != expected:
        algorithm = digest.name.upper().replace("SHA", "SHA-")
        raise ClusterError(
            f"{url} has {algorithm} {found} instead of {expected}, and is not used: "
            f"somebody between here and there changes it; {instead}"
        )


def _copy(
    answer: HTTPResponse, file: BinaryIO, digest: hashlib._Hash, what: str, progress: Progress
) -> None:
    """Raises OSError when it breaks off, which `HTTPResponse.read` does not."""
    whole = int(answer.headers.get("Content-Length") or 0)
    said = time.monotonic()
    while piece := answer.read(PIECE):
        digest.update(piece)
        file.write(piece)
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            of = f" of {whole >> 20}" if whole else ""
            progress(f"{what}: {file.tell() >> 20}{of} MiB")
    if file.tell() < whole:
        raise OSError(f"it broke off after {file.tell()} of {whole} bytes")
