"""Results reach whoever waits for them: what is read, what is written, what is left out."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.contract.provider import ClusterError, Handle
from clusters.existing import kubeconfig
from clusters.existing.kubeconfig import single_context
from clusters.kit import credentials
from clusters.kit.api import Api
from conformance.delivering import checkup, ci, parameters, sonobuoy
from conformance.delivering.receiving import Result
from reports import form, write
from reports.document import Document, Verdict
from tests.unit.clusters_in_memory import brought_up
from tests.unit.reports.conftest import EXAMPLES

ROOT = Path(__file__).parents[2]
RUN = ("conformance", "conformance-run")
CONFIG_MAP = f"/api/v1/namespaces/{RUN[0]}/configmaps/{RUN[1]}"
CASES = "[isolate]"


def result(directory: Path, document: Document | None, code: int = 0, why: str = "") -> Result:
    if document is not None:
        write.write_all(document, directory)
    return Result(code, why, directory, document)


# the cluster of the pod


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the pod of this process has its service account."""
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text("first\n")
    (account / "ca.crt").write_text("")
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", account)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv(kubeconfig.HOST, "10.0.0.1")
    monkeypatch.setenv(kubeconfig.PORT, "6443")
    return account


def test_a_pod_uses_its_service_account_and_its_token_as_it_is_now(
    pod: Path, tmp_path: Path
) -> None:
    path = tmp_path / "copy"
    path.write_text(single_context(None, None))
    found = credentials.configuration(str(path))
    assert found.host == "https://10.0.0.1:6443"
    assert found.ssl_ca_cert == str(pod / "ca.crt")
    for token in ("first", "second"):
        (pod / "token").write_text(f"{token}\n")
        (setting,) = found.auth_settings().values()
        assert setting["value"] == f"Bearer {token}"


def test_an_address_of_version_6_is_written_as_urls_have_it(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kubeconfig.HOST, "fd00::1")
    assert "https://[fd00::1]:6443" in single_context(None, None)


def test_a_kubeconfig_that_is_named_or_there_comes_first(pod: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no kubeconfig at /nowhere"):
        single_context("/nowhere", None)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("[]")
    with pytest.raises(ClusterError, match="holds no mapping"):
        single_context(None, None)


def test_a_pod_without_a_service_account_is_told_what_to_do(pod: Path) -> None:
    (pod / "token").unlink()
    with pytest.raises(ClusterError, match="give it a service account"):
        single_context(None, None)


# parameters


def test_parameters_are_words_of_the_command_line() -> None:
    data = {
        "spec.timeout": "1h",
        "spec.param.matrix": "standard",
        "spec.param.keyword": "[isolate]",
        "spec.param.disruptive": "true",
        "spec.param.patience": " 3 ",
        "status.succeeded": "true",
    }
    words = ["--disruptive", "-k", "[isolate]", "--matrix", "standard", "--patience", "3"]
    assert parameters.words(data, "run") == words
    assert parameters.words({"spec.param.libvirt": "false"}, "audit") == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("node-ssh", "sh -c id"),
        ("kubeconfig", "/etc/kubeconfig"),
        ("report-dir", "/etc"),
        ("matrix", "/etc/passwd"),
        ("matrix", "-"),
        ("keyword", "--node-ssh=sh"),
        ("disruptive", "yes"),
        ("patience", ""),
    ],
)
def test_no_parameter_names_a_program_or_a_file(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"spec.param.{key}"):
        parameters.words({f"spec.param.{key}": value}, "run")


# the form of the checkups


def test_a_kept_run_succeeds_and_its_reports_are_there_whole(tmp_path: Path) -> None:
    document = EXAMPLES["passing"]()
    data, files = checkup.written(result(tmp_path, document))
    assert data["status.succeeded"] == "true"
    assert data["status.failureReason"] == ""
    assert data["status.result.verdict"] == document.conclusion.outcome
    assert data["summary.md"] == (tmp_path / "summary.md").read_text()
    assert form.load(gzip.decompress(files["report.json.gz"]).decode()) == document
    assert gzip.decompress(files["junit.xml.gz"]) == (tmp_path / "junit.xml").read_bytes()


def test_a_broken_one_fails_and_says_what_was_broken(tmp_path: Path) -> None:
    document = EXAMPLES["failing"]()
    data, _files = checkup.written(result(tmp_path, document, code=1))
    assert data["status.succeeded"] == "false"
    assert document.conclusion.reason in data["status.failureReason"]
    broken = data["status.result.requirements-broken"].split(",")
    assert broken == [each.id for each in document.requirements if each.standing == "broken"]


def test_an_end_without_a_report_says_why(tmp_path: Path) -> None:
    data, files = checkup.written(result(tmp_path, None, code=2, why="nothing answers"))
    assert (data["status.succeeded"], data["status.failureReason"]) == ("false", "nothing answers")
    assert not files


def test_what_a_config_map_has_no_room_for_is_named(tmp_path: Path) -> None:
    document = EXAMPLES["passing"]()
    noise = random.Random(1).randbytes(1_200_000)
    told = result(tmp_path, document)
    (tmp_path / "report.json").write_bytes(noise)
    (tmp_path / "summary.md").write_bytes(b"x" * 500_000)
    data, files = checkup.written(told)
    assert set(files) == {"junit.xml.gz"}
    assert data["status.result.left-out"].startswith("report.json")
    assert "Cut off here" in data["summary.md"]
    size = sum(len(key) + len(value) for key, value in (data | files).items())
    assert size <= checkup.LARGEST


# Sonobuoy


@pytest.fixture
def worker() -> Iterator[tuple[int, list[Any]]]:
    """Sonobuoy's worker, which takes progress: its port, and what it was told."""
    told: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/progress"
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served.server_port, told
        served.shutdown()
        thread.join()


def test_the_done_file_names_a_tarball_of_everything(tmp_path: Path) -> None:
    there = {"SONOBUOY": "true", "SONOBUOY_RESULTS_DIR": str(tmp_path / "results")}
    assert sonobuoy.inside(there)
    told = result(tmp_path / "reports", EXAMPLES["failing"](), code=1)
    sonobuoy.SonobuoyResults(there).end(told)
    tarball = Path((tmp_path / "results" / "done").read_text())
    assert tarball.parent == tmp_path / "results"
    with tarfile.open(tarball) as tar:
        assert {"junit.xml", "report.json", "report.html"} <= set(tar.getnames())


def test_the_worker_is_not_kept_waiting_by_an_end_without_a_report(tmp_path: Path) -> None:
    there = {"SONOBUOY": "true", "RESULTS_DIR": str(tmp_path)}
    told = result(tmp_path / "none", None, code=2, why="nothing answers")
    sonobuoy.SonobuoyResults(there).end(told)
    with tarfile.open((tmp_path / "done").read_text()) as tar:
        assert tar.getnames() == ["error.txt"]


def test_elsewhere_no_worker_is_told_anything() -> None:
    assert not sonobuoy.inside({})
    sonobuoy.SonobuoyProgress({}).tell("x", 1, 2)
    sonobuoy.SonobuoyProgress({"SONOBUOY": "true", "SONOBUOY_PROGRESS_PORT": "1"}).tell("x", 1, 2)


# CI systems


def test_annotations_are_no_commands_of_a_cluster_s(capsys: pytest.CaptureFixture[str]) -> None:
    document = EXAMPLES["failing"]()
    evil = "50% of\n::add-mask::everything"
    findings = tuple(
        replace(each, summary=evil, message=evil) if each.verdict is Verdict.FAIL else each
        for each in document.findings
    )
    lines = list(ci.annotated(replace(document, findings=findings)))
    assert lines
    assert all(line.startswith(("::error", "::warning")) and "\n" not in line for line in lines)
    assert any("50%25" in line for line in lines)
    assert not list(ci.annotated(EXAMPLES["passing"]()))


def test_a_step_without_a_report_is_an_error_of_the_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ci.GitHub({}).end(result(tmp_path, None, code=2, why="nothing answers"))
    assert capsys.readouterr().err == "::error::nothing answers\n"


# all of them, as a pod that a Job would have made


START = """\
import sys
from pathlib import Path
from clusters.existing import kubeconfig
kubeconfig.SERVICE_ACCOUNT = Path(sys.argv[1])
from conformance.cli import main
sys.exit(main(sys.argv[2:]))
"""
"""The command, with a service account elsewhere: this process is no pod, and nothing here is in
a container. What differs from a pod is the image, the kubelet and the network."""


@pytest.fixture
def simulated(runtime: Path) -> Iterator[Handle]:
    with brought_up(runtime) as handle:
        yield handle


@pytest.fixture
def environment(simulated: Handle, tmp_path: Path) -> Mapping[str, str]:
    """Of a container in the simulated cluster, whose service account may do everything."""
    content = yaml.safe_load(Path(simulated.kubeconfig).read_text())
    return in_pod(simulated, tmp_path, content["users"][0]["user"]["token"])


def in_pod(simulated: Handle, tmp_path: Path, token: str) -> Mapping[str, str]:
    """The environment of a container; its service account is in ``account``."""
    content = yaml.safe_load(Path(simulated.kubeconfig).read_text())
    cluster = content["clusters"][0]["cluster"]
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text(token)
    authority = base64.b64decode(cluster["certificate-authority-data"])
    (account / "ca.crt").write_bytes(authority)
    host, port = cluster["server"].removeprefix("https://").split(":")
    home = tmp_path / "home"
    home.mkdir()
    kept = {key: os.environ[key] for key in ("PATH", "XDG_RUNTIME_DIR")}
    pod = {kubeconfig.HOST: host, kubeconfig.PORT: port, "HOME": str(home)}
    return {**kept, **pod, "PYTHONPATH": str(ROOT)}


def start(
    tmp_path: Path, environment: Mapping[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START, str(tmp_path / "account"), *words],
        cwd=tmp_path,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def make(api: Api, **parameters_: str) -> None:
    api.create("/api/v1/namespaces", {"metadata": {"name": RUN[0]}})
    given = {f"spec.param.{key}": value for key, value in parameters_.items()}
    former = {"status.succeeded": "true", "status.result.former": "1", "summary.md": "former"}
    api.create(
        CONFIG_MAP.rpartition("/")[0], {"metadata": {"name": RUN[1]}, "data": {**given, **former}}
    )


def test_a_run_in_the_cluster_has_the_verdict_of_one_from_outside(
    simulated: Handle,
    environment: Mapping[str, str],
    tmp_path: Path,
    worker: tuple[int, list[Any]],
) -> None:
    api = Api(simulated.kubeconfig)
    make(api, keyword=CASES)
    port, told = worker
    waiting = {
        "SONOBUOY": "true",
        "SONOBUOY_RESULTS_DIR": str(tmp_path / "sonobuoy"),
        "SONOBUOY_PROGRESS_PORT": str(port),
        "ARTIFACTS": str(tmp_path / "artifacts"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md"),
    }
    own = ["--results-configmap", "/".join(RUN), "-n", "0"]
    ended = start(tmp_path, {**environment, **waiting}, "run", "--cluster", "existing", *own)
    assert ended.returncode == 0, ended.stdout + ended.stderr

    found = api.get(CONFIG_MAP)
    data = found["data"]
    assert data["status.succeeded"] == "true"
    assert data["spec.param.keyword"] == CASES
    assert "status.result.former" not in data
    assert data["status.startTimestamp"] <= data["status.completionTimestamp"]
    packed = base64.b64decode(found["binaryData"]["report.json.gz"])
    inside = form.load(gzip.decompress(packed).decode())
    assert inside.selection.keyword == CASES

    reports = tmp_path / "artifacts" / "reports-out"
    assert form.load((reports / "report.json").read_text()) == inside
    junit = (reports / "junit.xml").read_bytes()
    assert (tmp_path / "artifacts" / "junit_cpu-conformance.xml").read_bytes() == junit
    with tarfile.open((tmp_path / "sonobuoy" / "done").read_text()) as tar:
        assert {"junit.xml", "evidence/run.json"} <= set(tar.getnames())
    assert {(each["total"], bool(each["failures"])) for each in told} == {(1, False)}
    assert (tmp_path / "step.md").read_text().startswith((reports / "summary.md").read_text()[:20])

    outside = start(
        tmp_path,
        {**environment, "KUBECONFIG": simulated.kubeconfig},
        *("run", "--cluster", "existing", "-k", CASES, "-n", "0", "--report-dir", "outside"),
    )
    assert outside.returncode == 0, outside.stderr
    other = form.load((tmp_path / "outside" / "report.json").read_text())
    assert other.conclusion == inside.conclusion
    verdicts = [{(f.id, f.verdict) for f in each.findings} for each in (inside, other)]
    assert verdicts[0] == verdicts[1]
    api.close()


def test_a_parameter_that_means_nothing_ends_the_run_before_it_begins(
    simulated: Handle, environment: Mapping[str, str], tmp_path: Path
) -> None:
    api = Api(simulated.kubeconfig)
    make(api, **{"node-ssh": "sh"})
    before = {each["metadata"]["name"] for each in api.items("/api/v1/namespaces")}
    own = ["--results-configmap", "/".join(RUN)]
    ended = start(tmp_path, environment, "run", "--cluster", "existing", *own)
    assert ended.returncode == 3
    data = api.get(CONFIG_MAP)["data"]
    assert data["status.succeeded"] == "false"
    assert "spec.param.node-ssh" in data["status.failureReason"]
    assert {each["metadata"]["name"] for each in api.items("/api/v1/namespaces")} == before
    api.close()


def test_an_audit_writes_its_results_too(
    simulated: Handle, environment: Mapping[str, str], tmp_path: Path
) -> None:
    api = Api(simulated.kubeconfig)
    make(api)
    ended = start(tmp_path, environment, "audit", "--results-configmap", "/".join(RUN))
    data = api.get(CONFIG_MAP)["data"]
    assert data["status.result.exit-code"] == str(ended.returncode), ended.stderr
    assert data["summary.md"] != "former"
    api.close()


def test_results_without_a_config_map_are_said_not_to_be_there(
    simulated: Handle, environment: Mapping[str, str], tmp_path: Path
) -> None:
    ended = start(tmp_path, environment, "audit", "--results-configmap", "no/where")
    assert ended.returncode == 2
    assert "the ConfigMap no/where cannot be read" in ended.stderr


@pytest.mark.parametrize("missing", ["", "leases"])
def test_the_printed_job_runs_in_a_given_namespace_with_the_printed_rights_alone(
    simulated: Handle, tmp_path: Path, missing: str
) -> None:
    api = Api(simulated.kubeconfig)
    for name in ("team", "other"):
        api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    asked = ["manifests", "run", "--namespace", "team", "--param", f"keyword={CASES}"]
    printed = subprocess.run(
        [sys.executable, "-m", "conformance", *asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    *objects, job = yaml.safe_load_all(printed)
    for each in objects:
        if "rules" in each:
            each["rules"] = [rule for rule in each["rules"] if missing not in rule["resources"]]
        namespace, group = each["metadata"].get("namespace"), each["apiVersion"]
        root = "/api/v1" if group == "v1" else f"/apis/{group}"
        below = f"/namespaces/{namespace}" if namespace else ""
        api.create(f"{root}{below}/{each['kind'].lower()}s", each)
    pod = job["spec"]["template"]["spec"]
    account = f"/api/v1/namespaces/team/serviceaccounts/{pod['serviceAccountName']}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.create(account, request)["status"]["token"]
    before = {each["metadata"]["name"] for each in api.items("/api/v1/namespaces")}

    (container,) = pod["containers"]
    words = [each.replace("/reports/", f"{tmp_path}/reports-") for each in container["args"]]
    ended = start(tmp_path, in_pod(simulated, tmp_path, token), *words, "-n", "0")
    data = api.get("/api/v1/namespaces/team/configmaps/cpu-conformance-run")["data"]
    assert data["status.result.exit-code"] == str(ended.returncode)
    assert data["status.succeeded"] == ("false" if missing else "true"), ended.stderr
    assert missing in data["status.failureReason"]
    # It made no namespace, and left nothing in the one that it was given.
    assert {each["metadata"]["name"] for each in api.items("/api/v1/namespaces")} == before
    assert not api.items("/apis/kubevirt.io/v1/namespaces/team/virtualmachineinstances")
    assert not api.items("/apis/coordination.k8s.io/v1/namespaces/team/leases")
    api.close()
