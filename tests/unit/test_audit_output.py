"""What an audit says again and again, to other programs, and without names."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.contract.provider import ClusterError
from conformance.auditing.audit import Audited
from conformance.auditing.meter import Meter, MeteredApi
from conformance.auditing.redaction import PLAIN, Pseudonyms
from conformance.auditing.states import Found, State
from conformance.auditing.watch import Metrics, changes, state_changes, watch
from conformance.model.evidence import RawDomain
from reports.document import Document, Finding, Verdict
from tests.selfproof import recording as good
from tests.unit.reports.conftest import passing


@pytest.fixture
def document() -> Document:
    return passing()


def with_findings(document: Document, *findings: Finding) -> Document:
    return replace(document, findings=findings)


BROKEN = Finding("PIN-THREADS", Verdict.FAIL, "vCPU 0 may run on 2-3", (), case="n.v")
KEPT = Finding("PIN-THREADS", Verdict.PASS, "fine", (), case="n.v")
AUDITED = Audited(vmis=["n.v"], passed={"n.w": Found(State.MIGRATING, "to node-2")}, nodes=["a"])


def test_only_changes_are_told(document: Document) -> None:
    fail, seen = ("fail", "vCPU 0"), ("not-observed", "no answer")
    assert list(changes({}, {("n.v", "A"): fail})) == ["n.v A: fail: vCPU 0"]
    assert not list(changes({("n.v", "A"): fail}, {("n.v", "A"): ("fail", "other words")}))
    assert list(changes({("n.v", "A"): fail}, {("n.v", "A"): seen})) == [
        "n.v A: not-observed: no answer"
    ]
    assert list(changes({("n.v", "A"): fail}, {})) == ["n.v A: not fail any more"]
    assert list(state_changes({"n.v": "paused: x"}, {})) == ["n.v: not paused any more"]


def test_watch_goes_on_when_one_audit_fails(document: Document) -> None:
    answers: Iterator[Any] = iter(
        [
            (with_findings(document, BROKEN), AUDITED),
            ClusterError("nothing answers"),
            (with_findings(document, BROKEN), AUDITED),
            (with_findings(document, KEPT), AUDITED),
        ]
    )

    def once() -> tuple[Document, Audited]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    said: list[str] = []
    code = watch(once, 0.001, None, said.append, rounds=4)
    assert code == document.conclusion.exit_code
    assert said == [
        "n.v PIN-THREADS: fail: vCPU 0 may run on 2-3",
        "n.w: migrating: to node-2",
        "no audit: nothing answers",
        "n.v PIN-THREADS: not fail any more",
    ]


def test_open_metrics_are_served(document: Document) -> None:
    metrics = Metrics()
    server = metrics.serve(("127.0.0.1", 0))
    try:
        metrics.update(with_findings(document, BROKEN), AUDITED)
        metrics.failed()
        where = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(f"{where}/metrics") as answer:
            text = answer.read().decode()
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{where}/other")
    finally:
        server.shutdown()
        server.server_close()
    line = 'conform_finding{case="n.v",requirement="PIN-THREADS",verdict="fail"} 1'
    assert line in text.splitlines()
    assert 'conform_vmis{state="migrating"} 1' in text.splitlines()
    assert "conform_audit_failures_total 1" in text.splitlines()
    assert text.endswith("# EOF\n")


def test_names_are_replaced_everywhere_and_always_by_the_same() -> None:
    raw = good.running()
    assert PLAIN.snapshot(raw) is raw
    vmi = raw.vmi or {}
    namespace, name = vmi["metadata"]["namespace"], vmi["metadata"]["name"]
    node = (raw.node or {})["metadata"]["name"]
    xml = f"<domain><name>{namespace}_{name}</name></domain>"
    domain = RawDomain(xml, {}, "", {}, f"virsh -r in {namespace}/{name}")
    manifest = {**raw.manifest, "metadata": {"name": name, "namespace": namespace}}
    told = replace(
        raw,
        manifest=manifest,
        case=f"{namespace}.{name}",
        domain=domain,
        not_observed={"x": f"{node}."},
    )
    redaction = Pseudonyms()
    first, second = redaction.snapshot(told), redaction.snapshot(told)
    assert first == second
    assert redaction.snapshot(told) != Pseudonyms().snapshot(told), "nobody keeps the key"
    kept = json.dumps([first.case, first.vmi, first.pod, first.not_observed, list(first.files)])
    kept += json.dumps([each["metadata"] for each in first.pods]) + str(first.domain)
    for word in (namespace, node):
        assert f'"{word}"' not in kept
        assert f"{word}_" not in kept
        assert f"{word}/" not in kept
    assert first.vmi is not None
    assert first.case == f"{first.vmi['metadata']['namespace']}.{first.vmi['metadata']['name']}"
    assert first.domain is not None
    assert f"{first.case.replace('.', '_')}</name>" in first.domain.xml


def test_an_audit_refuses_to_send_what_is_no_question(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    server = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    content = {"current-context": "x", "clusters": [server], "contexts": [context]}
    kubeconfig.write_text(yaml.safe_dump({**content, "users": [{"name": "u", "user": {}}]}))
    meter = Meter(1000.0)
    api = MeteredApi(str(kubeconfig), meter, faults=[])
    with pytest.raises(ValueError, match="DELETE is not sent"):
        api.delete("/api/v1/namespaces/prod")
    with pytest.raises(ValueError, match="POST is not sent"):
        api.create("/api/v1/namespaces", {})
    with pytest.raises(ValueError, match="PATCH is not sent"):
        api.merge("/api/v1/nodes/n", {})
    assert meter.cost.requests == 0
