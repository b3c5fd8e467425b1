"""Programs that images are built with, run to their ends."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from clusters.contract.provider import ClusterError, Progress

STEP = re.compile(r"I: ((?:running apt-get|downloading|extracting|automatically chosen mode).*)")
"""What mmdebstrap is about, in its log."""


def run(
    command: Sequence[str | Path],
    *,
    package: str,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
) -> str:
    """Runs a tool to its end; returns what it wrote to stderr. Raises ClusterError."""
    missing = ClusterError(
        f"{package} is missing on this host: apt-get install --no-install-recommends {package}"
    )
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
        )
    except FileNotFoundError:
        raise missing from None
    assert process.stdin is not None
    assert process.stderr is not None
    with process:
        # A tool that ends before it has read says why on stderr.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(stdin)
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if progress is not None and (step := STEP.match(line)):
                progress(f"mmdebstrap: {step[1]}")
    if process.returncode == 127:  # setpriv's, for a command that is not there
        raise missing
    if process.returncode:
        # What mmdebstrap says of its own end comes after what made it end.
        tail = "\n".join(lines[-20:])
        raise ClusterError(f"{package} failed:\n{tail}")
    return "\n".join(lines)
