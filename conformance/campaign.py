"""Several runs with one verdict: each shape, each profile, every one a run of its own."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from conformance.exits import Exit

ALL = "all"
LOG = "run.log"
REPORT = "report.json"
WORST_FIRST = (
    Exit.INTERRUPTED,
    Exit.USAGE,
    Exit.NOT_CONFORMANT,
    Exit.INCONCLUSIVE,
    Exit.CONFORMANT,
)


@dataclass(frozen=True)
class Leg:
    """One run of the campaign.

    Attributes:
        arguments: of `./conform run`, without the report directory.
        directory: its report directory, which holds its log too.
    """

    shape: str
    profile: str
    arguments: tuple[str, ...]
    directory: Path

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return f"{self.shape} {self.profile}"


@dataclass(frozen=True)
class Result:
    """How a run ended: exit code and a few words from its report."""

    leg: Leg
    code: Exit
    words: str


def legs(
    shapes: Iterable[str], profiles: Iterable[str], arguments: Sequence[str], directory: Path
) -> tuple[Leg, ...]:
    """One run for each shape and profile, its reports in a directory of its own."""
    return tuple(
        Leg(
            shape,
            profile,
            (*arguments, "--shape", shape, "--profile", profile),
            directory / f"{shape}.{profile}",
        )
        for shape, profile in itertools.product(shapes, profiles)
    )


def run(planned: Sequence[Leg], *, at_once: int, say: Callable[[str], None]) -> int:
    """Makes the runs and returns the worst of their exit codes.

    Args:
        planned: the runs.
        at_once: how many of them at the same time.
        say: is told of each run as it ends.
    """
    results: list[Result] = []
    running: dict[Leg, subprocess.Popen[bytes]] = {}
    say(f"{len(planned)} runs, {at_once} at once; each has its log in its report directory")
    with ThreadPoolExecutor(at_once) as pool:
        legs_run = [pool.submit(_run, leg, running) for leg in planned]
        try:
            for future in as_completed(legs_run):
                result = future.result()
                results.append(result)
                say(f"{len(results)}/{len(planned)}  {result.leg.name}: {result.words}")
        except KeyboardInterrupt:
            for future in legs_run:
                future.cancel()
            for process in list(running.values()):
                process.send_signal(signal.SIGINT)
            raise
    for result in results:
        if result.code is not Exit.CONFORMANT:
            say(f"{result.leg.name}: exit code {result.code:d}; {result.leg.directory}")
    return int(min((result.code for result in results), key=WORST_FIRST.index))


def _run(leg: Leg, running: dict[Leg, subprocess.Popen[bytes]]) -> Result:
    leg.directory.mkdir(parents=True, exist_ok=True)
    # What an earlier campaign said of it says nothing of this one.
    (leg.directory / REPORT).unlink(missing_ok=True)
    call = [sys.executable, "-m", "conformance", "run", *leg.arguments]
    with (leg.directory / LOG).open("w") as log:
        process = subprocess.Popen(
            [*call, "--report-dir", str(leg.directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        running[leg] = process
        code = process.wait()
        del running[leg]
    try:
        report = json.loads((leg.directory / REPORT).read_text())
        counted = ", ".join(f"{n} {verdict}" for verdict, n in report["counts"].items() if n)
        words = f"{report['conclusion']['outcome']} ({counted}; {report['run']['seconds']:.0f} s)"
    except (OSError, ValueError, KeyError):
        words = f"no report; see {leg.directory / LOG}"
    # A run that was killed by a signal has no code of ours, and no verdict.
    return Result(leg, Exit(code) if code in set(Exit) else Exit.INCONCLUSIVE, words)
