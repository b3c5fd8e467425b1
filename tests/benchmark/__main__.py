"""Times the judging of many VMIs, as ``./conform judge`` does it: ``python -m tests.benchmark``.

Not a test: nothing here fails for being slow. docs/performance.md has what it printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conformance.collecting import bundle
from conformance.judging.report import judge
from reports.write import write_all
from tests.benchmark import audit, overhead, page
from tests.benchmark.node import SHAPE, VMIS, record, write


def main() -> None:
    """Prints one line for each number of VMIs, the first being the measure of the others."""
    if sys.argv[1:2] == ["overhead"]:
        overhead.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["page"]:
        page.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["audit"]:
        audit.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, default=[1000, 10000, 100000])
    parser.add_argument(
        "--restless", action="store_true", help="no two snapshots of a node are alike"
    )
    parser.add_argument("--write", action="store_true", help="time the reports, too")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.judge:
        print(json.dumps(measure(arguments.judge, reports=arguments.write)))
        return
    print(f"{VMIS} VMIs of 4 CPUs on each node of {SHAPE.cpus} CPUs")
    recording = record()
    first: dict[str, Any] = {}
    for number in arguments.numbers:
        with tempfile.TemporaryDirectory(prefix="conform-") as directory:
            write(recording, Path(directory), number, restless=arguments.restless)
            child = [sys.executable, "-m", "tests.benchmark", "--judge", directory]
            child += ["--write"] if arguments.write else []
            told = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(told)
        first = first or {"number": number, **found}
        print(line(number, found, first), flush=True)


def line(number: int, found: dict[str, Any], first: dict[str, Any]) -> str:
    """One measurement in words, and how it compares with the first."""
    words = (
        f"{number:>7} VMIs (x{number / first['number']:g}): "
        f"{found['seconds']:.1f} s CPU (x{found['seconds'] / first['seconds']:.1f}; "
        f"{found['seconds'] / found['loop']:.0f} loops), {found['clock']:.1f} s on the clock, "
        f"{number / found['seconds']:.0f} VMIs/s, {found['findings']} findings, "
        f"{found['outcome']}, {found['mib']:.0f} MiB"
    )
    if "reports" in found:
        sizes = ", ".join(f"{name} {mib:.1f} MiB" for name, mib in found["sizes"].items())
        words += f"; reports {found['reports']:.1f} s CPU, {found['mib_reports']:.0f} MiB: {sizes}"
    return words


def measure(evidence: Path, *, reports: bool) -> dict[str, Any]:
    """Judges in this process alone, so that its peak of memory is that of judging.

    Seconds are those of the CPU: one thread does it all. A CPU that others use does less in a
    second; how often a loop could have run meanwhile tells more then.
    """
    loops = [_loop()]
    began, clock = time.process_time(), time.monotonic()
    document = judge(bundle.read(evidence))
    seconds, clock = time.process_time() - began, time.monotonic() - clock
    loops.append(_loop())
    found: dict[str, Any] = {
        "seconds": seconds,
        "clock": clock,
        "loop": sum(loops) / len(loops),
        "findings": len(document.findings),
        "outcome": document.conclusion.outcome,
        "mib": _peak(),
    }
    if reports:
        began = time.process_time()
        files = write_all(document, evidence)
        found["reports"] = time.process_time() - began
        found["mib_reports"] = _peak()
        found["sizes"] = {name: path.stat().st_size / 2**20 for name, path in files.items()}
    return found


def _loop() -> float:
    """Seconds of CPU of a loop that is always the same."""
    began, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number * number % 7
    return time.process_time() - began


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
