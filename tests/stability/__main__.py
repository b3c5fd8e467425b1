"""Whether a verdict depends on order, on how much runs at once, or on load.

``python -m tests.stability`` runs the suite again and again: cases in an order by chance, with
one to eight workers, every third time beside eight busy processes. It prints each finding whose
verdict is not that of the first run, and exits with 1 if there was one.

Not a part of the project's tests: fifty runs take half an hour. docs/performance.md has what it
printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.stability import shuffled

ROOT = Path(__file__).resolve().parent.parent.parent
BUSY = 8
Findings = Mapping[tuple[str, str], str]


def main() -> int:
    """Prints a line a run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stability", description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=50)
    parser.add_argument("--cluster", default="simulated")
    parser.add_argument("--matrix", default="smoke")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of all chance")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    chance = random.Random(chosen.seed)
    first: Findings = {}
    differing = 0
    for number in range(1, chosen.runs + 1):
        workers, seed = chance.choice((1, 2, 3, 4, 6, 8)), chance.randrange(10**6)
        busy = BUSY if number % 3 == 0 else 0
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="conform-") as directory, _load(busy):
            code = _run(chosen.cluster, chosen.matrix, workers, seed, Path(directory))
            found = _findings(Path(directory))
        first = first or found
        others = sorted(key for key in {*first, *found} if first.get(key) != found.get(key))
        differing += bool(others)
        print(
            f"run {number}: exit code {code}, {len(found)} findings, {len(others)} differ; "
            f"-n {workers}, order {seed}, {busy} busy processes, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
        for key in others:
            print(f"  {' '.join(key)}: {first.get(key)} in the first, {found.get(key)} here")
    print(f"{differing} of {chosen.runs} runs differ")
    return 1 if differing else 0


def _run(cluster: str, matrix: str, workers: int, seed: int, directory: Path) -> int:
    """Exit code of a run of the suite with its reports in a directory."""
    call = [sys.executable, "-m", "pytest", "tests/conformance", "--cluster", cluster, "-q"]
    call += ["--matrix", matrix, "--report-dir", str(directory), "-n", str(workers)]
    call += ["-p", "tests.stability.shuffled", "-p", "no:cacheprovider"]
    environment = {**os.environ, shuffled.SEED: str(seed)}
    with (directory / "run.log").open("w") as log:
        done = subprocess.run(call, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
    return done.returncode


def _findings(directory: Path) -> Findings:
    """Verdicts by case and requirement; of a requirement told twice of a case, all of them."""
    report = directory / "report.json"
    if not report.exists():
        print((directory / "run.log").read_text()[-3000:])
        return {}
    verdicts: dict[tuple[str, str], set[str]] = {}
    for finding in json.loads(report.read_text())["findings"]:
        verdicts.setdefault((finding["case"], finding["requirement"]), set()).add(
            finding["verdict"]
        )
    return {key: ", ".join(sorted(value)) for key, value in verdicts.items()}


@contextlib.contextmanager
def _load(number: int) -> Iterator[None]:
    """So many processes that never rest."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
