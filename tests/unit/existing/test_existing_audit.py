"""Do no harm: what an audit and a check ask of a cluster, counted, with just their rights.

The cluster is the reference stack on simulated nodes, known by its kubeconfig alone. Each sentence
of docs/real-clusters.md, "Do no harm", has its test here or in test_existing_whole_run.py.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
import websocket
import yaml
from urllib3.connectionpool import HTTPConnectionPool

from clusters import providers
from clusters.contract.provider import Handle
from clusters.contract.shape import SHAPES, ClusterSpec, NodeSpec
from clusters.existing.libvirt import VirshLibvirt
from clusters.existing.rights import AUDIT, LIBVIRT, Right, single
from clusters.kit.api import Api
from clusters.kit.pod_exec import ApiExec
from conformance import cli
from conformance.auditing.looking import Looker
from conformance.exits import Exit
from tests.unit.existing.conftest import rbac_name

RBAC = Path(__file__).parents[3] / "clusters/existing/rbac"
SECRET = "hunter2"
SIDECAR = "localhost/cpu-conformance/sidecar:latest"
Json = dict[str, Any]
KERNEL = {
    "image": "localhost/cpu-conformance/guest:latest",
    "kernelPath": "/boot/vmlinux",
    "initrdPath": "/boot/initrd",
}


def vmi(name: str, *, isolate: bool = False, **cpu: Any) -> Json:
    wanted = {"cores": 2, "dedicatedCpuPlacement": True, **cpu}
    if isolate:
        wanted["isolateEmulatorThread"] = True
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "annotations": {"token": SECRET}, "labels": {"app": name}},
        "spec": {
            "domain": {
                "cpu": wanted,
                "memory": {"guest": "64Mi"},
                "devices": {},
                "firmware": {"kernelBoot": {"container": KERNEL, "kernelArgs": SECRET}},
            }
        },
    }


@contextlib.contextmanager
def cluster(nodes: tuple[NodeSpec, ...], *faults: str) -> Iterator[Handle]:
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory(prefix="c-", dir="/tmp") as runtime:
        patch.setenv("XDG_RUNTIME_DIR", runtime)
        directory = Path(runtime) / "c"
        directory.mkdir()
        provider = providers.provider("simulated")
        spec = ClusterSpec(nodes, options={"break": faults})
        handle = provider.up("there", spec, directory, progress=lambda _: None, detached=False)
        try:
            yield handle
        finally:
            provider.down(handle)
            patch.undo()


def populate(handle: Handle, *vmis: Json) -> None:
    """Somebody's VMIs, in a namespace of theirs, running."""
    api = Api(handle.kubeconfig)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}}
    api.create("/api/v1/namespaces", namespace)
    path = "/apis/kubevirt.io/v1/namespaces/prod/virtualmachineinstances"
    for each in vmis:
        api.create(path, each)
    for _ in range(600):  # a broken stack may never run one of them
        phases = [(each.get("status") or {}).get("phase") for each in api.items(path)]
        if set(phases) <= {"Running", "Failed"}:
            break
        time.sleep(0.1)
    api.close()


@pytest.fixture(scope="module")
def there() -> Iterator[Handle]:
    with cluster(SHAPES["policy-none"]) as handle:
        hooks = {
            "hooks.kubevirt.io/hookSidecars": json.dumps([{"args": [SECRET], "image": SIDECAR}])
        }
        hooked = vmi("hooked")
        hooked["metadata"]["annotations"] |= hooks
        shared = vmi("shared", dedicatedCpuPlacement=False)
        populate(handle, vmi("billing"), vmi("isolated", isolate=True), hooked, shared)
        yield handle


def granted(*rights: Right) -> Callable[[str, str, str, str], bool]:
    """Whether somebody with exactly these rights may ask for something."""
    allowed = {(verb, r.group, r.resource, r.namespace) for r, verb in single(rights)}

    def may(verb: str, group: str, resource: str, namespace: str) -> bool:
        return bool({(verb, group, resource, n) for n in (namespace, "")} & allowed)

    return may


@dataclass
class Asked:
    """What was asked of the API server, and whether it was granted."""

    may: Callable[[str, str, str, str], bool]
    lines: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def note(self, method: str, url: str) -> bool:
        self.lines.append((method, url))
        parts = urlsplit(url)
        named = rbac_name(method, parts.path)
        if named is None:
            return True
        verb = "watch" if "watch" in parse_qs(parts.query) else named[0]
        namespace = re.search("/namespaces/([^/]+)/", parts.path)
        fine = self.may(verb, named[1], named[2], namespace[1] if namespace else "")
        if not fine:
            self.refused.append((method, url))
        return fine

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """(namespace/pod, words) of every exec."""
        found = []
        for _method, url in self.lines:
            parts = urlsplit(url)
            if place := re.fullmatch("/api/v1/namespaces/([^/]+)/pods/([^/]+)/exec", parts.path):
                found.append((f"{place[1]}/{place[2]}", parse_qs(parts.query)["command"]))
        return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Records every request of this process, and refuses what is not granted, as RBAC would."""
    seen = Asked(granted(*AUDIT))
    urlopen: Any = HTTPConnectionPool.urlopen
    connect: Any = websocket.WebSocket.connect

    def request(self: Any, method: str, url: str, *rest: Any, **more: Any) -> Any:
        if seen.note(method, url):
            return urlopen(self, method, url, *rest, **more)
        status = {"kind": "Status", "reason": "Forbidden", "message": "forbidden", "code": 403}
        body: Any = io.BytesIO(json.dumps(status).encode())
        return urllib3.HTTPResponse(body, status=403, preload_content=False)

    def socket(self: Any, url: str, **options: Any) -> Any:
        if seen.note("GET", url):
            return connect(self, url, **options)
        refusal: Any = websocket.WebSocketBadStatusException
        raise refusal("403 %s", 403)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", request)
    monkeypatch.setattr(websocket.WebSocket, "connect", socket)
    return seen


def audit(handle: Handle, directory: Path, *more: str) -> tuple[int, Json]:
    words = ["audit", "--kubeconfig", handle.kubeconfig, "--report-dir", str(directory)]
    code = cli.main([*words, "--rate", "10000", *more])
    return code, json.loads((directory / "report.json").read_text())


def test_an_audit_asks_and_changes_nothing(there: Handle, asked: Asked, tmp_path: Path) -> None:
    code, report = audit(there, tmp_path)
    assert code == Exit.CONFORMANT
    verdicts = {finding["verdict"] for finding in report["findings"]}
    assert verdicts <= {"pass", "not-applicable"}
    cases = {case["id"] for case in report["cases"]}
    assert cases == {
        *("prod.billing", "prod.isolated", "prod.hooked"),
        *("_nodes/node-1", "_nodes/node-2"),
    }, "VMIs without dedicated CPUs are nobody's business; nodes are, labelled or not"
    assert not asked.refused
    assert {method for method, _ in asked.lines} == {"GET"}
    assert not [url for _, url in asked.lines if "subresources.kubevirt.io" in url]
    assert not [url for _, url in asked.lines if "/secrets" in url or "/configmaps" in url]
    where = Counter(pod for pod, _ in asked.commands)
    assert where
    assert all(pod.startswith("kubevirt/virt-handler") for pod in where)
    assert max(where.values()) <= 3, "a node is read once for all its VMIs"
    cost = json.loads((tmp_path / "evidence/run.json").read_text())["audit"]["cost"]
    assert cost["commands"] == where.total()
    assert cost["launchers"] == 0
    for _, url in asked.lines:
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        if path.endswith(("/pods", "/virtualmachineinstances")):
            assert "limit" in query or "labelSelector" in query, f"{url} is not paged"


def test_no_secret_reaches_evidence_or_reports_and_nobody_else_reads_them(
    there: Handle, tmp_path: Path
) -> None:
    directory = tmp_path / "out"
    audit(there, directory)
    texts = [path for path in directory.rglob("*") if path.is_file()]
    assert not [path for path in texts if SECRET in path.read_text()]
    assert not [path for path in texts if '"env"' in path.read_text()]
    for path in (directory / "evidence").rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_names_can_be_hidden_and_judging_goes_on(there: Handle, tmp_path: Path) -> None:
    code, report = audit(there, tmp_path, "--redact", "--libvirt")
    assert code == Exit.CONFORMANT
    assert len(report["cases"]) == 5
    for path in tmp_path.rglob("*"):
        if path.is_file():
            found = re.search(r"\b(prod|billing|hooked|127\.0\.0\.1)\b", path.read_text())
            assert found is None, (path, found)
        if path.is_file() and path.suffix != ".html":  # elements have such ids there
            assert not re.search(r"\bnode-[12]\b", path.read_text()), path


def test_libvirt_is_asked_only_when_it_is_asked_for_and_can_change_nothing(
    there: Handle, asked: Asked, tmp_path: Path
) -> None:
    asked.may = granted(*AUDIT, *LIBVIRT)
    code, report = audit(there, tmp_path, "--libvirt")
    assert code == Exit.CONFORMANT
    inside = [words for pod, words in asked.commands if not pod.startswith("kubevirt/")]
    assert inside
    for words in inside:
        assert words[:2] == ["virsh", "-r"]
        line = re.sub("echo end-[0-9a-f]+", "", " ".join(words))
        asks = [command.split() for command in line.partition("virtqemud-sock")[2].split(";")]
        known = {"dumpxml", "vcpupin", "emulatorpin", "iothreadinfo", "version"}
        assert {each[0] for each in asks if each} <= known
        assert all(len(each) <= 2 for each in asks), "nothing is set"
    verdicts = {f["verdict"] for f in report["findings"] if f["requirement"] == "PIN-XML"}
    assert verdicts == {"pass"}


def test_without_a_right_to_exec_it_says_so_and_judges_no_node(
    there: Handle, asked: Asked, tmp_path: Path
) -> None:
    asked.may = granted(*(right for right in AUDIT if right.resource != "pods/exec"))
    code, report = audit(there, tmp_path)
    assert code == Exit.INCONCLUSIVE
    assert "fail" not in {finding["verdict"] for finding in report["findings"]}


def test_without_a_right_to_list_there_is_no_audit(
    there: Handle, asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.may = granted(*(right for right in AUDIT if right.resource != "virtualmachineinstances"))
    code = cli.main(["audit", "--kubeconfig", there.kubeconfig, "--report-dir", str(tmp_path)])
    assert code == Exit.INCONCLUSIVE
    said = capsys.readouterr().err
    assert "could not be audited" in said
    assert "403" in said
    assert "rbac/audit grants" in said


def test_the_manifests_grant_what_is_asked_and_nothing_else() -> None:
    assert manifest_rights("audit") == {
        (verb, right.group, right.resource, right.namespace) for right, verb in single(AUDIT)
    }
    assert manifest_rights("libvirt") == {
        (verb, right.group, right.resource, right.namespace) for right, verb in single(LIBVIRT)
    }
    for base in RBAC.iterdir():
        listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
        assert all((base / each).exists() for each in listed)


def manifest_rights(base: str) -> set[tuple[str, str, str, str]]:
    documents = list(yaml.safe_load_all((RBAC / base / f"{base}.yaml").read_text()))
    return {
        (verb, group, resource, document["metadata"].get("namespace", ""))
        for document in documents
        if document["kind"] in ("ClusterRole", "Role")
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


# states

MOVING = {"startTimestamp": "2026-11-30T00:00:00Z", "targetNode": "node-2"}


def spoiled(monkeypatch: pytest.MonkeyPatch, change: Callable[[Json], None]) -> None:
    """Shows the VMI `billing` as another cluster would."""
    items, find = Api.items, Api.find

    def changed(found: Any) -> Any:
        if found and (found.get("metadata") or {}).get("name") == "billing":
            change(found)
        return found

    monkeypatch.setattr(Api, "items", lambda *a, **q: [changed(each) for each in items(*a, **q)])
    monkeypatch.setattr(Api, "find", lambda *a, **q: changed(find(*a, **q)))


def status(**more: Any) -> Callable[[Json], None]:
    return lambda found: found["status"].update(more)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (status(migrationState=MOVING), "migrating"),
        (status(phase="Scheduling"), "starting"),
        (status(phase="Failed"), "ended"),
        (status(phase="Unknown"), "unknown state"),
        (status(currentCPUTopology={"cores": 1}), "changing its CPUs"),
        (
            lambda found: found["metadata"].update(deletionTimestamp="2026-11-30T00:00:00Z"),
            "stopping",
        ),
    ],
)
def test_what_is_between_two_promises_is_told_and_not_accused(
    there: Handle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Json], None],
    said: str,
) -> None:
    spoiled(monkeypatch, change)
    code, report = audit(there, tmp_path)
    assert code == Exit.CONFORMANT
    (case,) = (case for case in report["cases"] if case["id"] == "prod.billing")
    assert case["outcome"].startswith("not judged: the VMI was found")
    assert said in case["outcome"]
    assert not [f for f in report["findings"] if f["case"] == "prod.billing"]


def test_a_paused_vmi_is_judged(
    there: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = {"type": "Paused", "status": "True", "reason": "PausedByUser"}
    spoiled(monkeypatch, status(conditions=[paused]))
    code, report = audit(there, tmp_path)
    assert code == Exit.CONFORMANT
    (case,) = (case for case in report["cases"] if case["id"] == "prod.billing")
    assert "paused" in case["title"]
    assert {f["verdict"] for f in report["findings"] if f["case"] == "prod.billing"} >= {"pass"}


def test_what_begins_to_move_while_it_is_looked_at_is_not_accused(
    there: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    on_node = Looker._on

    def later(self: Looker, node: str, layers: Any) -> Any:
        found = on_node(self, node, layers)
        seen.append(node)
        if seen.count(node) > 1:
            for each in found.values():
                if each["metadata"]["name"] == "billing":
                    each["status"]["migrationState"] = MOVING
        return found

    monkeypatch.setattr(Looker, "_on", later)
    code, report = audit(there, tmp_path)
    assert code == Exit.CONFORMANT
    (case,) = (case for case in report["cases"] if case["id"] == "prod.billing")
    assert "migrating" in case["outcome"]


# scope and check


def test_one_namespace_one_label_one_node(there: Handle, tmp_path: Path) -> None:
    _, report = audit(there, tmp_path, "-n", "prod", "-l", "app=isolated")
    assert {case["id"] for case in report["cases"]} == {"prod.isolated", "_nodes/node-1"}
    _, report = audit(there, tmp_path, "--node", "node-2")
    assert {case["id"] for case in report["cases"]} == {"_nodes/node-2"}
    _, report = audit(there, tmp_path, "-n", "nowhere")
    assert not report["cases"]


def test_check_says_on_one_page_what_was_promised_and_what_is(
    there: Handle, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["check", "prod/isolated", "--kubeconfig", there.kubeconfig])
    said = capsys.readouterr().out
    assert code == Exit.CONFORMANT
    assert "exclusive pCPUs 3" in said
    assert "cpu_manager_state" in said
    assert len(said.splitlines()) < 40
    assert not asked.refused
    assert {method for method, _ in asked.lines} == {"GET"}
    assert len(asked.commands) <= 3


@pytest.mark.parametrize(
    ("subject", "code", "said"),
    [
        ("prod/shared", Exit.INCONCLUSIVE, "asks for no dedicated CPUs"),
        ("prod/nobody", Exit.INCONCLUSIVE, "there is no VM and no VMI"),
    ],
)
def test_check_of_what_cannot_be_judged(
    there: Handle, capsys: pytest.CaptureFixture[str], subject: str, code: int, said: str
) -> None:
    assert cli.main(["check", subject, "--kubeconfig", there.kubeconfig]) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_check_for_programs(there: Handle, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "prod/isolated", "--kubeconfig", there.kubeconfig]
    cli.main([*words, "-o", "json"])
    as_json = json.loads(capsys.readouterr().out)
    cli.main([*words, "-o", "yaml"])
    as_yaml = yaml.safe_load(capsys.readouterr().out)
    assert as_json["verdict"] == as_yaml["verdict"] == "conformant-as-far-as-asked"
    assert as_json["promised"]["exclusive pCPUs"] == "3"
    assert {each["verdict"] for each in as_json["findings"]} == {"pass"}


def test_a_vcpu_that_was_pinned_elsewhere_by_hand_is_named_by_audit_and_check(
    there: Handle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api, execute = Api(there.kubeconfig), ApiExec(there.kubeconfig)
    pods = api.items("/api/v1/namespaces/prod/pods")
    (pod,) = (pod for pod in pods if "billing" in pod["metadata"]["name"])
    launcher = pod["metadata"]["name"]
    view = VirshLibvirt(execute).view("prod", "billing", pod)
    (was,) = view.vcpu_pins[0]

    def pin(cpu: int) -> None:
        words = ("virsh", "vcpupin", "prod_billing", "0", str(cpu))
        assert execute.run("prod", launcher, "compute", words).returncode == 0

    pin(next(iter(view.vcpu_pins[1])))
    try:
        code, report = audit(there, tmp_path)
        words = ["check", "prod/billing", "--kubeconfig", there.kubeconfig]
        checked = cli.main(words)
    finally:
        pin(was)
        api.close()
    assert code == checked == Exit.NOT_CONFORMANT
    broken = {(f["case"], f["requirement"]) for f in report["findings"] if f["verdict"] == "fail"}
    assert ("prod.billing", "PIN-THREADS") in broken
    assert {case for case, _ in broken} == {"prod.billing"}, "its neighbours are left alone"
    said = capsys.readouterr().out
    assert "BROKEN            PIN-THREADS: vCPUs 0 and 1 may both run on pCPU" in " ".join(
        said.split("\n")
    )
    assert "sched_setaffinity" in said, "what to look at next"
    assert cli.main(words) == Exit.CONFORMANT
