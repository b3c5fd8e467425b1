"""Runs of the command line as processes of their own: several at once, each with a log."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
LOG = "run.log"
"""What a run printed, in its report directory."""


class Runs:
    """A pool of threads, each of which waits for one run at a time.

    As a context it ends when all is done. An exception ends it at once: what has not begun is left
    out, and runs on their way are interrupted, clean up, and are waited for.
    """

    def __init__(self, at_once: int) -> None:
        self._pool = ThreadPoolExecutor(at_once)
        self._running: set[subprocess.Popen[bytes]] = set()

    def __enter__(self) -> Runs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                process.send_signal(signal.SIGINT)
        self._pool.shutdown()

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Has a thread do something that calls `run`."""
        return self._pool.submit(work, *args, **kwargs)

    def run(self, directory: Path, *arguments: str) -> int:
        """Makes a run with its reports and its log in a directory; returns its exit code."""
        directory.mkdir(parents=True, exist_ok=True)
        call = [sys.executable, "-m", "conformance", "run", *arguments]
        with (directory / LOG).open("w") as log:
            process = subprocess.Popen(
                [*call, "--report-dir", str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running.add(process)
        try:
            return process.wait()
        finally:
            self._running.discard(process)
