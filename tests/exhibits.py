"""Recordings of clusters, good and broken: bundles in ``tests/recorded``.

Each has a file beside it with the findings that it must give: ``conform record`` writes both.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from conformance.collecting.packing import unpack

RECORDED = Path(__file__).parent / "recorded"


def unpacked(name: str, directory: Path) -> Path:
    """The evidence of a recording, below a directory."""
    unpack(RECORDED / f"{name}.tar.xz", directory)
    return directory / "evidence"


def without_quotas_of_pods(evidence: Path) -> None:
    """Adds to an old recording what it lacks: that no cgroup around a container had a quota."""
    above = re.compile(r"(/sys/fs/cgroup/kubepods)((?:/[a-z]+)?)(/pod[^/]+)/.*")
    for path in (evidence / "nodes").glob("*.json"):
        pods, files = json.loads(path.read_text())
        for found in filter(None, map(above.fullmatch, list(files))):
            kubepods, quality, pod = found.groups()
            for group in (kubepods, kubepods + quality, kubepods + quality + pod):
                files.setdefault(f"{group}/cpu.max", "max 100000\n")
        path.write_text(json.dumps([pods, files]))
