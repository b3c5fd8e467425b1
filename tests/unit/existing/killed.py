"""Runs that are killed while they use somebody else's cluster, and what that looks like afterwards.

``python -m tests.unit.existing.killed NUMBER SEED`` kills so many at random moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusters import providers
from clusters.contract.shape import SHAPES, ClusterSpec
from clusters.existing.claims import LEASES, NAMESPACES, lease_path
from clusters.kit.api import Api
from clusters.kit.changes import NAME
from conformance import cli

ROOT = Path(__file__).parents[3]
LONG_AGO = "2020-01-01T00:00:00.000000Z"
SCENARIOS = "gate-off or sidecar-gate or node-full"
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
Json = dict[str, Any]


def state(api: Api) -> Json:
    """Everything of a cluster that a run may make or change."""
    (kubevirt,) = api.items("/apis/kubevirt.io/v1/kubevirts")
    nodes = {each["metadata"]["name"]: each["metadata"] for each in api.items("/api/v1/nodes")}
    listed = ("/api/v1/pods", "/api/v1/configmaps", NAMESPACES, LEASES, VMIS)
    return {
        "gates": kubevirt["spec"]["configuration"],
        "labels": {name: metadata["labels"] for name, metadata in nodes.items()},
        **{path: sorted(map(_name, api.items(path))) for path in listed},
    }


def _name(obj: Json) -> str:
    metadata = obj["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def begin(directory: Path, kubeconfig: str, *more: str) -> subprocess.Popen[str]:
    """A disruptive run, in a process group of its own."""
    options = ["--cluster", "existing", "--kubeconfig", kubeconfig, "--matrix", "scenarios"]
    options += ["--disruptive", "--report-dir", str(directory), "-k", SCENARIOS, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "conformance", "run", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill(run: subprocess.Popen[str]) -> None:
    """SIGKILL for the run and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def own_namespaces(api: Api) -> list[str]:
    """The namespaces of runs."""
    names = [each["metadata"]["name"] for each in api.items(NAMESPACES)]
    return [name for name in names if name.startswith("conformance-")]


def age(api: Api) -> None:
    """Lets the time pass after which a run that gives no sign of life counts as dead."""
    leases = {each["metadata"]["namespace"] for each in api.items(LEASES)}
    for namespace in leases:
        api.merge(lease_path(namespace), {"spec": {"renewTime": LONG_AGO}})
    for namespace in set(own_namespaces(api)) - leases:
        ttl = {"metadata": {"annotations": {"cpu-conformance/ttl": "0s"}}}
        api.merge(f"{NAMESPACES}/{namespace}", ttl)
        time.sleep(1.1)  # a creation is dated to the second


def has_claimed(api: Api) -> bool:
    """Whether a run has begun."""
    return bool(own_namespaces(api))


def has_changed(api: Api) -> bool:
    """Whether a run has changed something and not put it back."""
    return any(each["metadata"]["name"] == NAME for each in api.items("/api/v1/configmaps"))


def has_vmi(api: Api) -> bool:
    """Whether a VMI runs."""
    return any((each.get("status") or {}).get("phase") == "Running" for each in api.items(VMIS))


def await_(condition: Callable[[Api], bool], api: Api, run: subprocess.Popen[str]) -> None:
    """Returns when it holds; fails when the run ends before."""
    while not condition(api):
        assert run.poll() is None, run.stdout.read() if run.stdout else ""
        time.sleep(0.02)


def settled(api: Api, before: Json) -> Json:
    """The state when it is as before, or does not change any more."""
    now = state(api)
    for _ in range(120):  # a heartbeat is half a second here
        if (now := state(api)) == before:
            break
        time.sleep(0.5)
    return now


def main(number: int, seed: int) -> int:
    """Kills so many runs, each followed by a sweep; how many of them are not as before."""
    chance, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "c"
        directory.mkdir()
        provider = providers.provider("simulated")
        spec = ClusterSpec(nodes=SHAPES["policy-none"])
        handle = provider.up("there", spec, directory, progress=print, detached=False)
        api = Api(handle.kubeconfig)
        before = state(api)
        for each in range(1, number + 1):
            begun = chance.choice((has_claimed, has_changed, has_changed, has_vmi))
            after = chance.uniform(0, 15)
            run = begin(Path(name) / "reports", handle.kubeconfig, "-n", chance.choice("02"))
            try:
                await_(begun, api, run)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.wait(after)
            finally:
                kill(run)
            left = state(api)
            age(api)
            code = cli.main(["sweep", "--kubeconfig", handle.kubeconfig])
            now = settled(api, before)
            wrong += code != 0 or now != before
            print(
                f"{each}: {after:.1f} s after {begun.__name__}; left: {differing(before, left)}; "
                f"swept: {code}, {differing(before, now) or 'as before'}",
                flush=True,
            )
        provider.down(handle)
    print(f"{number} killed, {wrong} not as before")
    return wrong


def differing(before: Json, now: Json) -> str:
    """What is not as before."""
    return ", ".join(key.rpartition("/")[2] for key in before if before[key] != now[key])


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
