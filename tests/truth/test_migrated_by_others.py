"""A cluster on which somebody migrates the VMIs of a run all the time, as one that is drained."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clusters import providers
from clusters.contract.provider import Handle
from clusters.contract.shape import SHAPES, ClusterSpec
from clusters.kit.api import Api
from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.collecting import api as client
from conformance.collecting import bundle
from conformance.collecting.record import describe, record
from conformance.collecting.snapshot import Collector
from conformance.judging.decide import decide
from conformance.judging.report import judge as judge_run
from conformance.judging.terms import Terms, terms_of
from conformance.matrix.manifests import Images
from conformance.model.evidence import RawSnapshot, Snapshot
from conformance.model.finding import Finding, Verdict
from conformance.parsing.assemble import assemble
from fixtures.run import Run, new_id, utc_now
from fixtures.worker import Worker
from tests.unit.clusters_in_memory import brought_up

NAMESPACE = "drained"
VMIS = f"/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/virtualmachineinstances"
MIGRATIONS = f"/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/virtualmachineinstancemigrations"
TIMES = 3
"""How often a VMI is migrated while it is looked at."""


@pytest.fixture
def cluster(runtime: Path) -> Iterator[Handle]:
    with brought_up(runtime, ClusterSpec(nodes=SHAPES["two-nodes"])) as handle:
        yield handle


def a_run(cluster: Handle, directory: Path, case: str) -> Run:
    run = Run(
        id=new_id(),
        began=utc_now(),
        handle=cluster.dump(),
        namespace=NAMESPACE,
        report_dir=str(directory),
        profile="current",
        matrix="smoke",
        keep="never",
        progress=str(directory / "nobody"),
    )
    worker = Worker("smoke", "current", None, patience=1.0, images=Images())
    cases = [(c.id, c.title, c.manifest) for c in worker.cases if c.id == case]
    recorded = record(run.id, "simulated", profile="current", matrix="smoke", cases=cases)
    access = providers.provider("simulated").connect(cluster)
    describe(recorded, access, client.connect(cluster.kubeconfig))
    bundle.write_run(run.evidence, recorded)
    return run


def migrate(kubeconfig: str, name: str, stop: threading.Event) -> int:
    """Migrates a VMI over and over; how often it moved."""
    moved = 0
    with contextlib.closing(Api(kubeconfig)) as api:
        while not stop.is_set():
            body: dict[str, Any] = {
                "apiVersion": "kubevirt.io/v1",
                "kind": "VirtualMachineInstanceMigration",
                "metadata": {"name": f"drain-{moved}"},
                "spec": {"vmiName": name},
            }
            api.create(MIGRATIONS, body)
            while True:
                found = api.get(f"{MIGRATIONS}/drain-{moved}")
                phase = (found.get("status") or {}).get("phase")
                if phase in ("Succeeded", "Failed"):
                    break
                time.sleep(0.05)
            assert phase == "Succeeded", found
            moved += 1
    return moved


def verdicts(terms: Terms, looks: list[Snapshot]) -> list[Finding]:
    """What is told of all looks together, and of each by itself."""
    expectation = terms.expect(looks[0].manifest)
    asked = [each for each in terms.applicable(expectation) if each[1].moment == "running"]
    parts = [looks, *([look] for look in looks)]
    return [decide(terms, *each, part, expectation)[1] for each in asked for part in parts]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("isolate", ("LIFE-RELEASED", "PIN-THREADS", "EMU-HOUSEKEEPING")),
        ("realtime", ("LIFE-RELEASED", "PIN-THREADS")),
    ],
)
def test_whoever_migrates_vmis_breaks_no_promise(
    cluster: Handle, tmp_path: Path, name: str, kept: tuple[str, ...]
) -> None:
    run = a_run(cluster, tmp_path, name)
    with contextlib.closing(Api(cluster.kubeconfig)) as api:
        api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        worker = Worker("smoke", "current", run, patience=1.0, images=Images())
        terms = terms_of(bundle.read(run.evidence).run)
        (case,) = [each for each in worker.cases if each.id == name]
        workload = worker.open(case)
        assert workload.at("running")
        (vmi,) = api.items(VMIS)
        access = providers.provider("simulated").connect(cluster)
        own = client.connect(cluster.kubeconfig)
        collector = Collector(own, access, "v1", own=NAMESPACE)
        stop, looks = threading.Event(), list[RawSnapshot]()
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(migrate, cluster.kubeconfig, vmi["metadata"]["name"], stop)
            try:
                while len({raw.pod["metadata"]["uid"] for raw in looks if raw.pod}) <= TIMES:
                    assert not moving.done()
                    raw = collector.running(case.id, vmi, NAMESPACE, "running")
                    looks.append(raw)
            finally:
                stop.set()
            assert moving.result() >= TIMES
        facts = [raw.once(assemble) for raw in looks]
        assert any(each.torn for each in facts)
        assert [str(f) for f in verdicts(terms, facts) if f.verdict is Verdict.FAIL] == []
        # The run itself: what it deletes is not where it looked at it last.
        assert workload.at("deleted")
        worker.close()
        assert not list(tmp_path.glob("evidence/problems/*"))
    found = judge_run(bundle.read(run.evidence)).findings
    told = {f.requirement: f.verdict.value for f in found if f.case == name}
    assert {told[each] for each in kept} == {"pass"}
    # Which releases are known for, and the reference stack is like them.
    for each in ("RT-SCHED", "EMU-PIT"):
        assert told.get(each, "known-divergence") in {"known-divergence", "not-applicable"}
    assert {"fail", "error"}.isdisjoint(told.values())
    pods = {
        raw.pod["metadata"]["uid"]
        for _path, raw in bundle.read(run.evidence).snapshots[name]
        if raw.pod and raw.moment == "running"
    }
    assert len(pods) == 2, "the last look is at the pod that it was migrated to"
