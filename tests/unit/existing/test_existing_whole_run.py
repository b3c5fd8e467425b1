"""The suite on a cluster that it knows by a kubeconfig alone: the stack on simulated nodes."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from clusters.contract.provider import Handle
from clusters.contract.shape import SHAPES, ClusterSpec
from clusters.existing.rights import DISRUPTIVE, RIGHTS, single
from clusters.kit.api import Api
from tests.unit.clusters_in_memory import brought_up
from tests.unit.existing.conftest import rbac_name

ROOT = Path(__file__).parents[3]
CASES = "isolate or shared"
"""Between them: exclusive and shared CPUs, emulator and IOThreads, guests, a refusal."""


@pytest.fixture
def simulated(runtime: Path) -> Iterator[Handle]:
    with brought_up(runtime, ClusterSpec(nodes=SHAPES["policy-none"])) as handle:
        yield handle


def start(
    name: str, tmp_path: Path, kubeconfig: str, *more: str, cases: str = CASES
) -> subprocess.Popen[str]:
    options = ["--cluster", "existing", "--report-dir", str(tmp_path / name), "-k", cases, *more]
    options += ["-p", "tests.unit.existing.recording", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "tests/conformance", "-q", *options],
        cwd=ROOT,
        env={
            **os.environ,
            "KUBECONFIG": kubeconfig,
            "ASKED": str(tmp_path / f"{name}.asked"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_runs_at_once_pass_within_their_rights_and_leave_no_vmi(
    simulated: Handle, runtime: Path, tmp_path: Path
) -> None:
    runs = {name: start(name, tmp_path, simulated.kubeconfig) for name in ("one", "two")}
    for name, run in runs.items():
        said, _ = run.communicate()
        assert run.returncode == 0, said
        findings = json.loads((tmp_path / name / "report.json").read_text())["findings"]
        # What the nodes of this shape do not offer is not applicable.
        assert {finding["verdict"] for finding in findings} - {"not-applicable"} == {"pass"}
    assert not asked(tmp_path) - {
        (verb, right.group, right.resource) for right, verb in single()
    }, "something is asked that clusters/existing/rbac/run does not grant"
    api = Api(simulated.kubeconfig)
    assert api.get("/apis/kubevirt.io/v1/virtualmachineinstances")["items"] == []
    assert {pod["metadata"]["namespace"] for pod in api.get("/api/v1/pods")["items"]} == {
        "kubevirt"
    }
    api.close()
    assert not list(runtime.glob("cpu-conformance/*")), "the runs have forgotten the cluster"


def test_scenarios_that_disturb_need_leave_and_put_everything_back(
    simulated: Handle, tmp_path: Path
) -> None:
    api = Api(simulated.kubeconfig)
    nodes = "/api/v1/nodes"
    before = {n["metadata"]["name"]: n["metadata"]["labels"] for n in api.get(nodes)["items"]}
    chosen = "node-full or sidecar-edge or gate-off or labelled-only or sidecar-gate"
    options = ("--matrix", "scenarios", "--disruptive")
    run = start("run", tmp_path, simulated.kubeconfig, *options, cases=chosen)
    said, _ = run.communicate()
    assert run.returncode == 0, said
    findings = json.loads((tmp_path / "run" / "report.json").read_text())["findings"]
    told = {f["requirement"]: f["verdict"] for f in findings if f["scenario"] and not f["moment"]}
    assert told.pop("NODE-MANUAL") == "known-divergence"
    assert set(told.values()) == {"pass"}
    assert asked(tmp_path) <= {
        (verb, right.group, right.resource) for right, verb in single((*RIGHTS, *DISRUPTIVE))
    }
    after = {n["metadata"]["name"]: n["metadata"]["labels"] for n in api.get(nodes)["items"]}
    assert after == before
    (kubevirt,) = api.get("/apis/kubevirt.io/v1/kubevirts")["items"]
    gates = kubevirt["spec"]["configuration"]["developerConfiguration"]["featureGates"]
    assert {"CPUManager", "Sidecar"} <= set(gates)
    api.close()


@pytest.mark.parametrize(
    ("more", "hog", "said"),
    [
        (
            ["--guest-image", "nowhere.example/unknown:1"],
            False,
            "image nowhere.example/unknown:1 is not to be had on node node-1 (",
        ),
        (["--patience", "0.05"], True, "no node has room for cores-2 ("),
    ],
    ids=["image", "room"],
)
def test_what_no_requirement_is_about_is_a_problem_and_no_verdict(
    simulated: Handle, tmp_path: Path, more: list[str], hog: bool, said: str
) -> None:
    api = Api(simulated.kubeconfig)
    if hog:
        resources = {key: {"cpu": "8500m", "memory": "8Mi"} for key in ("requests", "limits")}
        api.create(
            "/api/v1/namespaces/default/pods",
            {
                "metadata": {"name": "hog"},
                "spec": {"containers": [{"name": "c", "image": "pause", "resources": resources}]},
            },
        )
    run = start("run", tmp_path, simulated.kubeconfig, *more, cases="cores-2")
    output, _ = run.communicate()
    assert run.returncode == 2, output
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert said in report["problems"][0]["message"]
    assert "fail" not in {finding["verdict"] for finding in report["findings"]}
    snapshots = list((tmp_path / "run" / "evidence" / "snapshots").glob("cores-2.not-started.*"))
    assert len(snapshots) == 1, "the evidence of why it did not start is kept"
    names = {item["metadata"]["name"] for item in api.get("/api/v1/namespaces")["items"]}
    assert not [name for name in names if name.startswith("conformance-")]
    api.close()


MOST_REQUESTS = 23
"""Of one VMI that settles at once, execs and consoles among them."""


def test_a_vmi_takes_few_requests(simulated: Handle, tmp_path: Path) -> None:
    said, _ = start("one", tmp_path, simulated.kubeconfig, cases="isolate").communicate()
    lines = (tmp_path / "one.asked").read_text().splitlines()
    created = [n for n, line in enumerate(lines) if CREATION.search(line)]
    # What follows the last one is the end of the run.
    vmis = [lines[first:after] for first, after in itertools.pairwise(created)]
    ran = [own for own in vmis if any(line.endswith("/console") for line in own)]
    assert ran, said
    for own in ran:
        kinds = Counter(map(kind, own))
        # The hardware of a node is read once for all of its VMIs.
        # So is where the memory of a guest is, of those that have it on huge pages.
        more = any(line.endswith("/virtualmachineinstances/realtime") for line in own)
        assert kinds.total() - 1 - more <= MOST_REQUESTS, kinds.most_common()
        assert kinds["virsh"] == 1
        assert kinds["GET /version"] <= 1


CREATION = re.compile(r"^POST \S*/virtualmachineinstances$")


def kind(line: str) -> str:
    """A request without the names of what it is about."""
    method, url = line.split(" ", 1)
    asked = urlsplit(url)
    query = parse_qs(asked.query)
    if "command" in query:
        return query["command"][0]
    selected = [key for key in ("watch", "fieldSelector", "labelSelector") if key in query]
    return " ".join((method, re.sub(r"/(?=[^/]*\d)[^/]+", "/*", asked.path), *selected))


OWN = re.compile("/namespaces/conformance-[^/]+(/|$)")
"""Paths of a run's own namespace."""


def harmful(method: str, path: str) -> bool:
    """Whether a request of a run touches what is not its own (docs/real-clusters.md, Do no harm).

    Nodes and the KubeVirt CR are patched by runs with --disruptive alone.
    """
    if OWN.search(path) or path.endswith("/selfsubjectaccessreviews"):
        return False
    if path.endswith("/exec"):
        return not path.startswith("/api/v1/namespaces/kubevirt/pods/virt-handler-")
    if "/subresources.kubevirt.io/" in path and not path.endswith("/v1"):
        return True
    if method == "POST":
        return path != "/api/v1/namespaces"
    if method == "PATCH":
        return not re.search("/(nodes|kubevirts)/[^/]+$", path)
    return method != "GET"


def test_harm_is_known_as_such() -> None:
    own = "/api/v1/namespaces/conformance-1"
    vmis = "/apis/kubevirt.io/v1/namespaces/prod/virtualmachineinstances"
    console = "/apis/subresources.kubevirt.io/v1/namespaces/{}/virtualmachineinstances/a/console"
    assert not harmful("DELETE", own)
    assert not harmful("POST", f"{own}/pods")
    assert not harmful("GET", console.format("conformance-1"))
    assert harmful("GET", console.format("prod"))
    assert harmful("DELETE", f"{vmis}/a")
    assert harmful("POST", vmis)
    assert harmful("GET", "/api/v1/namespaces/prod/pods/virt-launcher-a/exec")
    assert harmful("DELETE", "/api/v1/namespaces/prod")
    assert harmful("PATCH", f"{vmis}/a")


def asked(directory: Path) -> set[tuple[str, str, str]]:
    """What was asked, in RBAC's words."""
    found = set()
    for file in directory.glob("*.asked"):
        for line in file.read_text().splitlines():
            method, url = line.split(" ", 1)
            assert not harmful(method, urlsplit(url).path), f"{method} {url}"
            named = rbac_name(method, urlsplit(url).path)
            if named is not None and named[2] != "selfsubjectaccessreviews":
                verb = "watch" if "watch" in parse_qs(urlsplit(url).query) else named[0]
                found.add((verb, *named[1:]))
    assert ("get", "", "pods/exec") in found
    assert ("watch", "kubevirt.io", "virtualmachineinstances") in found
    assert ("get", "subresources.kubevirt.io", "virtualmachineinstances/console") in found
    return found
