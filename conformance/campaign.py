"""Several runs with one verdict: each shape, each profile, every one a run of its own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from conformance.exits import Exit

ALL = "all"
LOG = "run.log"
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
    code: int
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
    say(f"{len(planned)} runs, {at_once} at once; each has its log in its report directory")
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(_run, leg) for leg in planned]
        try:
            for future in as_completed(running):
                result = future.result()
                results.append(result)
                say(f"{len(results)}/{len(planned)}  {result.leg.name}: {result.words}")
        except KeyboardInterrupt:
            # The runs have been interrupted with us, and end by themselves.
            for future in running:
                future.cancel()
            raise
    codes = {result.code for result in results}
    for result in results:
        if result.code:
            say(f"{result.leg.name}: exit code {result.code}; {result.leg.directory}")
    return next((int(code) for code in WORST_FIRST if code in codes), int(Exit.INCONCLUSIVE))


def _run(leg: Leg) -> Result:
    leg.directory.mkdir(parents=True, exist_ok=True)
    call = [sys.executable, "-m", "conformance", "run", *leg.arguments]
    with (leg.directory / LOG).open("w") as log:
        code = subprocess.run(
            [*call, "--report-dir", str(leg.directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ,
            check=False,
        ).returncode
    try:
        report = json.loads((leg.directory / "report.json").read_text())
        counted = ", ".join(f"{n} {verdict}" for verdict, n in report["counts"].items() if n)
        words = f"{report['conclusion']['outcome']} ({counted}; {report['run']['seconds']:.0f} s)"
    except (OSError, ValueError, KeyError):
        words = f"no report; see {leg.directory / LOG}"
    return Result(leg, code, words)
