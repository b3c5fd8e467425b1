"""What a run costs beside its VMIs: ``python -m tests.benchmark overhead``.

The same VMIs, on the same simulated nodes whose launchers take as long as real ones, once by a
loop that creates, waits and deletes, once by the suite with everything that it looks at.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusters import providers
from clusters.contract.shape import ClusterSpec
from clusters.host import rundir
from clusters.kit.api import Api, ApiError
from clusters.simulated.daemon import START_SECONDS
from conformance.collecting import api as paths
from conformance.matrix.cases import Case
from conformance.matrix.matrices import DEFAULT_CPUS, matrix
from conformance.settling import LAUNCHER_START, NotYetError, Patience, until
from fixtures.room import needed
from fixtures.scheduling import packed

NAMESPACE = "bare"
PAUSE = 0.5


def main(arguments: Sequence[str]) -> None:
    """Prints both times, of the clock and of the CPU, and how they compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark overhead", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="that a launcher takes")
    parser.add_argument("--matrix", default="smoke")
    parser.add_argument("-n", dest="workers", type=int, default=4)
    chosen = parser.parse_args(arguments)
    os.environ[START_SECONDS] = str(chosen.seconds)
    bare = _bare(chosen.matrix, chosen.workers)
    print(f"bare loop: {bare:.1f} s", flush=True)
    whole, suite, cpu = _suite(chosen.matrix, chosen.workers)
    print(f"suite: {suite:.1f} s ({suite / bare:.2f} of the bare loop)")
    print(f"whole command: {whole:.1f} s ({whole / bare:.2f}), {cpu:.1f} s of CPU", flush=True)


def _bare(name: str, workers: int) -> float:
    """Seconds in which so many threads create, await and delete every case in turn."""
    provider, run = providers.provider("simulated"), "bare"
    spec = ClusterSpec()
    handle = provider.up(run, spec, rundir.create(run), progress=lambda _: None, detached=False)
    try:
        api = paths.connect(handle.kubeconfig)
        api.create(paths.core("namespaces"), {"metadata": {"name": NAMESPACE}})
        cases = {case.id: case for case in matrix(name)}
        sizes = [(case.id, needed(case.expectation), 20.0) for case in cases.values()]
        todo = [cases[each] for each in reversed(packed(sizes, workers, [DEFAULT_CPUS]))]
        began = time.monotonic()
        threads = [
            threading.Thread(target=_work, args=(handle.kubeconfig, todo)) for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began
    finally:
        provider.down(handle)


def _work(kubeconfig: str, todo: list[Case]) -> None:
    api = paths.connect(kubeconfig)
    while True:
        try:
            case = todo.pop()
        except IndexError:
            return
        _one(api, case)


def _one(api: Api, case: Case) -> None:
    collection = paths.of_manifest(case.manifest, NAMESPACE)
    path = f"{collection}/{case.name}"
    try:
        until("the namespace", lambda: _create(api, collection, case), Patience().deadline(60.0))
    except ApiError:
        return

    def runs() -> None:
        found: Any = api.find(path) or {}
        if (found.get("status") or {}).get("phase") != "Running":
            raise NotYetError(case.id)

    def gone() -> None:
        if api.find(path) is not None:
            raise NotYetError(case.id)

    until("a start", runs, Patience().deadline(10 * LAUNCHER_START), pause=PAUSE)
    api.delete(path)
    until("an end", gone, Patience().deadline(LAUNCHER_START), pause=PAUSE)


def _create(api: Api, collection: str, case: Case) -> None:
    try:
        api.create(collection, case.manifest)
    except ApiError as error:
        if error.code == 403:
            raise NotYetError(str(error)) from error
        raise


def _suite(name: str, workers: int) -> tuple[float, float, float]:
    """Seconds of the whole command, of the suite in it, and of CPU, without scenarios."""
    with tempfile.TemporaryDirectory(prefix="conform-") as directory:
        options = ["--cluster", "simulated", "--matrix", name, "--report-dir", directory]
        began, used = time.monotonic(), _used()
        command = [sys.executable, "-m", "pytest", "tests/conformance", "-q", "-n", str(workers)]
        subprocess.run(
            [*command, *options, "-k", "not stories", "-p", "no:cacheprovider"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        whole = time.monotonic() - began
        report = json.loads((Path(directory) / "report.json").read_text())
        return whole, report["timings"]["phases"]["suite"], _used() - used


def _used() -> float:
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of_children.ru_utime + of_children.ru_stime
