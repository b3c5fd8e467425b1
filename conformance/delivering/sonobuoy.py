"""Sonobuoy's contract with a plugin: progress while it runs, a tarball and a done file at its end.

As Sonobuoy 0.57 has it: cmd/sonobuoy/app/gen.go (environment), pkg/worker/worker.go (results, done
file), pkg/plugin/interface.go (ProgressUpdate).
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from conformance.delivering.receiving import Result

DIRECTORY, OLD_DIRECTORY = "SONOBUOY_RESULTS_DIR", "RESULTS_DIR"
PORT = "SONOBUOY_PROGRESS_PORT"
_DEFAULT_DIRECTORY = "/tmp/sonobuoy/results"
TARBALL = "cpu-conformance.tar.gz"
DONE = "done"
_SECONDS = 2.0


def inside(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the container of a Sonobuoy plugin."""
    return environment.get("SONOBUOY") == "true"


class SonobuoyResults:
    """`conformance.delivering.receiving.Receiver` of Sonobuoy's worker, which waits beside."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        named = environment.get(DIRECTORY) or environment.get(OLD_DIRECTORY)
        self._directory = Path(named or _DEFAULT_DIRECTORY)

    def begin(self) -> None:
        """Nothing: the worker is there already."""

    def end(self, result: Result) -> None:
        """Packs reports and evidence, then writes the done file, which names the tarball.

        The worker waits for it as long as its time is not over, so that it comes without a
        report as well. Raises OSError.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        tarball = self._directory / TARBALL
        with tarfile.open(tarball, "w:gz") as tar:
            if result.document is not None:
                for path in sorted(result.directory.iterdir()):
                    if not path.name.startswith("."):
                        tar.add(path, path.name)
            else:
                note = self._directory / "error.txt"
                note.write_text(f"exit code {result.code}: {result.why}\n")
                tar.add(note, note.name)
        unfinished = self._directory / f".{DONE}"
        unfinished.write_text(str(tarball))
        unfinished.replace(self._directory / DONE)


class SonobuoyProgress:
    """Tells Sonobuoy's worker how far a run is; that nobody listens is no error."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        port = environment.get(PORT, "") if inside(environment) else ""
        self._url = f"http://localhost:{port}/progress" if port.isdecimal() else ""
        self._failures: list[str] = []

    def failed(self, message: str) -> None:
        """Something was seen broken; the next update says so."""
        self._failures.append(message)

    def tell(self, message: str, done: int, total: int) -> None:
        """So many of so many cases are over; the message says how the last one ended."""
        if not self._url:
            return
        failures = list(self._failures)
        update = {"msg": message, "total": total, "completed": done, "failures": failures}
        threading.Thread(target=self._post, args=(update,), daemon=True).start()

    def _post(self, update: Mapping[str, object]) -> None:
        request = urllib.request.Request(
            self._url,
            json.dumps(update).encode(),
            {"Content-Type": "application/json"},
            method="POST",
        )
        with contextlib.suppress(OSError, ValueError):
            urllib.request.urlopen(request, timeout=_SECONDS).close()
