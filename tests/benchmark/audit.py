"""Times an audit of many nodes, canned from one simulated one: ``python -m tests.benchmark audit``.

The API server and the nodes answer at once, so that what is measured is this tool's own work; the
number of commands is that of a real audit. Not a test: nothing here fails for being slow.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from clusters.contract.access import Reading
from clusters.contract.shape import KUBELET_ROOT
from conformance.auditing import audit as auditing
from conformance.auditing.audit import Wanted
from conformance.collecting import bundle
from conformance.collecting.node import HARDWARE, PROCESSES
from conformance.judging.report import judge
from conformance.model.evidence import RawSnapshot
from conformance.parsing.cgroups import MOUNT
from tests.benchmark import node as one
from tests.benchmark.node import Recording, _moved, _renaming

Json = dict[str, Any]
_SETTING = {"/version": "kubernetes", "/apis/kubevirt.io": "served"}


class Canned:
    """A cluster of copies of one recorded node: its API, and access to it."""

    kubeconfig, simulation, acceleration = "", True, ""
    kubelet_root = KUBELET_ROOT
    description = "canned nodes"

    def __init__(self, recording: Recording, number: int) -> None:
        self._setting = recording.run["setting"]
        self._first = recording.snapshots[0]
        self._vmis = [raw for raw in recording.snapshots if raw.vmi]
        self._rename = {f"node-1-{index}": _renaming(index) for index in range(number)}
        self.nodes = tuple(self._rename)

    def _of(self, name: str) -> Iterator[Json]:
        yield from (self._rename[name](raw.vmi) for raw in self._vmis)

    def items(self, path: str, **query: str) -> list[Json]:
        """As `Api.items`."""
        name = (query.get("fieldSelector") or query.get("labelSelector") or "").partition("=")[2]
        if path.endswith("/nodes"):
            return [self._rename[each](self._first.node) for each in self.nodes]
        if path.endswith("/pods"):
            return [self._rename[name](pod) for pod in self._first.pods]
        return [vmi for each in ([name] if name else self.nodes) for vmi in self._of(each)]

    def find(self, path: str) -> Any:
        """As `Api.find`."""
        if path in _SETTING:
            return self._setting[_SETTING[path]]
        if path.endswith("/kubevirts"):
            return {"items": [self._setting["kubevirt"]]}
        (configz,) = (text for file, text in self._first.files.items() if file.endswith("configz"))
        return json.loads(configz)

    get = find

    def node_shell(self, node: str) -> _Shell:
        """As `ClusterAccess.node_shell`."""
        rename, start = self._rename[node], self.nodes.index(node) * len(self._vmis)
        files = {rename(path): rename(text) for path, text in _moved(self._first.files, start)}
        return _Shell(files, self._first)


class _Shell:
    def __init__(self, files: Mapping[str, str], raw: RawSnapshot) -> None:
        self._files, self._hardware = files, raw.hardware

    def read(self, patterns: Sequence[str]) -> Reading:
        if patterns[0] == HARDWARE[0]:
            return Reading(self._hardware, {})
        if PROCESSES in patterns:
            places = {
                f"/proc/{tid}/cgroup": f"0::{path[len(MOUNT) :].rpartition('/')[0]}"
                for path, text in self._files.items()
                if path.endswith("/cgroup.threads")
                for tid in text.split()
            }
            kubelet = {p: t for p, t in self._files.items() if p.startswith(KUBELET_ROOT)}
            return Reading({**places, **kubelet, "/proc/1/cgroup": "0::/init.scope"}, {})
        return Reading(self._files, {})


def main(argv: Sequence[str]) -> None:
    """Prints what an audit of so many nodes takes."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark audit", description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--vmis", type=int, default=10, help="on each node")
    parser.add_argument("--canned", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.canned:
        measure(arguments.canned, arguments.nodes)
        return
    one.VMIS = arguments.vmis
    recording = one.record()
    with tempfile.TemporaryDirectory(prefix="conform-") as directory:
        for raw in recording.snapshots:
            bundle.write_snapshot(Path(directory), raw)
        bundle.write_run(Path(directory), recording.run)
        child = [sys.executable, "-m", "tests.benchmark", "audit", "--canned", directory]
        # In a process of its own, so that the peak of memory is that of the audit.
        subprocess.run([*child, "--nodes", str(arguments.nodes)], check=True)


def measure(evidence: Path, number: int) -> None:
    """Audits and judges in this process alone."""
    found = bundle.read(evidence)
    taken = tuple(raw for each in found.snapshots.values() for _path, raw in each)
    canned = Canned(Recording(found.run, taken), number)
    patched: Any = auditing
    patched.MeteredApi = lambda *_args, **_more: canned
    with tempfile.TemporaryDirectory(prefix="conform-") as directory:
        began, clock = time.process_time(), time.monotonic()
        audited = auditing.audit(
            cast(Any, canned),
            "simulated",
            "benchmark",
            Path(directory),
            lambda line: print(line, flush=True),
            profile="v1",
            wanted=Wanted(rate=1e6),
        )
        looked, seen = time.process_time() - began, time.monotonic() - clock
        document = judge(bundle.read(Path(directory)))
        whole = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(audited.nodes)} nodes, {len(audited.vmis)} VMIs: {looked:.1f} s CPU to look "
        f"({seen:.1f} s on the clock), {whole - looked:.1f} s CPU to judge, {peak:.0f} MiB; "
        f"{audited.cost.most} commands on a node at most; {document.conclusion.outcome}, "
        f"{len(document.findings)} findings: {document.conclusion.reason[:300]}"
    )
