"""Whole runs by a service account that has exactly the rights of a base below rbac/, and no other.

The cluster is the reference stack on simulated nodes, whose API server asks RBAC.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.contract.provider import Handle
from clusters.contract.shape import SHAPES, ClusterSpec
from clusters.existing.claims import LEASES
from clusters.existing.rights import FILES, RIGHTS, Right, files_in, rights_in, single
from clusters.kit.api import Api
from conformance import cli
from conformance.exits import Exit
from tests.unit.clusters_in_memory import brought_up
from tests.unit.existing.killed import (
    age,
    await_,
    begin,
    has_changed,
    kill,
    settled,
    state,
)

ROOT = Path(__file__).parents[3]
RBAC = ROOT / "clusters/existing/rbac"
NAMESPACE = "cpu-conformance"
PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
}
VM = """
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: mine}
spec:
  runStrategy: Always
  template:
    spec:
      domain:
        cpu: {cores: 2, dedicatedCpuPlacement: true}
        memory: {guest: 64Mi}
        devices: {}
---
apiVersion: v1
kind: Secret
metadata: {name: seed}
stringData: {a: b}
"""
Json = dict[str, Any]


@pytest.fixture
def there(runtime: Path) -> Iterator[Handle]:
    with brought_up(runtime, ClusterSpec(nodes=SHAPES["policy-none"])) as handle:
        yield handle


@pytest.fixture
def api(there: Handle) -> Iterator[Api]:
    api = Api(there.kubeconfig)
    yield api
    api.close()


def documents(base: str) -> list[Json]:
    return list(yaml.safe_load_all((RBAC / base / f"{base}.yaml").read_text()))


def apply(api: Api, base: str, *, without: str = "") -> None:
    """As ``kubectl apply -k``; without the rules of a resource."""
    for each in documents(base):
        metadata, group = each["metadata"], each["apiVersion"]
        root = "/api/v1" if group == "v1" else f"/apis/{group}"
        if "namespace" in metadata:
            root += f"/namespaces/{metadata['namespace']}"
        if "rules" in each:
            each["rules"] = [rule for rule in each["rules"] if without not in rule["resources"]]
        path = f"{root}/{PLURALS[each['kind']]}"
        if api.find(f"{path}/{metadata['name']}") is None:
            api.create(path, each)


def as_service_account(there: Handle, api: Api, directory: Path, name: str = NAMESPACE) -> str:
    """A kubeconfig with a token of a service account."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.create(path, request)["status"]["token"]
    config = yaml.safe_load(Path(there.kubeconfig).read_text())
    config["users"][0]["user"] = {"token": token}
    own = directory / "kubeconfig"
    own.write_text(yaml.safe_dump(config))
    return str(own)


def run(directory: Path, kubeconfig: str, *more: str) -> tuple[int, str]:
    options = ["--kubeconfig", kubeconfig, "--report-dir", str(directory / "reports"), "-n", "0"]
    ended = subprocess.run(
        [sys.executable, "-m", "conformance", "run", "--cluster", "existing", *options, *more],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def verdicts(directory: Path) -> set[str]:
    report = json.loads((directory / "reports/report.json").read_text())
    return {finding["verdict"] for finding in report["findings"]}


def test_a_run_with_the_rights_of_rbac_run_is_whole_and_leaves_nothing(
    there: Handle, api: Api, tmp_path: Path
) -> None:
    apply(api, "run")
    kubeconfig, before = as_service_account(there, api, tmp_path), state(api)
    code, said = run(tmp_path, kubeconfig, "-k", "isolate")
    assert code == Exit.CONFORMANT, said
    assert verdicts(tmp_path) <= {"pass", "not-applicable"}
    assert state(api) == before


@pytest.mark.parametrize("missing", ["leases", "virtualmachineinstances", "pods/exec"])
def test_without_one_of_its_rights_a_run_makes_nothing_and_names_the_right(
    there: Handle, api: Api, tmp_path: Path, missing: str
) -> None:
    apply(api, "run", without=missing)
    kubeconfig, before = as_service_account(there, api, tmp_path), state(api)
    code, said = run(tmp_path, kubeconfig, "-k", "isolate")
    assert code == Exit.INCONCLUSIVE
    assert f"{missing}" in " ".join(said.split())
    assert "rbac/run" in said
    assert state(api) == before


def test_a_run_in_a_given_namespace_needs_no_right_on_namespaces_and_touches_nothing_else(
    there: Handle, api: Api, tmp_path: Path
) -> None:
    apply(api, "namespaced")
    theirs = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    api.create(theirs, {"metadata": {"name": "theirs", "labels": {"app": "x"}}, "data": {"a": "b"}})
    kubeconfig, before = as_service_account(there, api, tmp_path), state(api)
    version = api.get(f"{theirs}/theirs")["metadata"]["resourceVersion"]
    code, said = run(tmp_path, kubeconfig, "-k", "isolate", "--namespace", NAMESPACE)
    assert code == Exit.CONFORMANT, said
    assert verdicts(tmp_path) <= {"pass", "not-applicable"}
    assert state(api) == before
    assert api.get(f"{theirs}/theirs")["metadata"]["resourceVersion"] == version


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ((), "may not create and delete and get and list namespaces"),
        (("--namespace", "default"), "in namespace default"),
    ],
)
def test_elsewhere_than_in_its_namespace_it_may_nothing(
    there: Handle, api: Api, tmp_path: Path, more: tuple[str, ...], missing: str
) -> None:
    apply(api, "namespaced")
    kubeconfig, before = as_service_account(there, api, tmp_path), state(api)
    code, said = run(tmp_path, kubeconfig, "-k", "isolate", *more)
    assert code == Exit.INCONCLUSIVE
    assert missing in " ".join(said.split())
    assert state(api) == before


def test_what_a_file_holds_goes_from_a_given_namespace_one_by_one(
    there: Handle, api: Api, tmp_path: Path
) -> None:
    apply(api, "namespaced")
    apply(api, "namespaced-files")
    (tmp_path / "vm.yaml").write_text(VM)
    kubeconfig, before = as_service_account(there, api, tmp_path), state(api)
    more = ("--namespace", NAMESPACE, "-f", str(tmp_path / "vm.yaml"))
    code, said = run(tmp_path, kubeconfig, *more)
    assert "Secret seed is made" in said
    assert code == Exit.CONFORMANT, said
    assert state(api) == before
    assert not api.items(f"/api/v1/namespaces/{NAMESPACE}/secrets")
    assert not api.items("/apis/kubevirt.io/v1/virtualmachines")


def test_a_killed_run_in_a_given_namespace_is_swept_with_the_rights_of_a_run(
    there: Handle, api: Api, tmp_path: Path
) -> None:
    apply(api, "namespaced")
    apply(api, "disruptive")
    api.create(
        f"/api/v1/namespaces/{NAMESPACE}/configmaps", {"metadata": {"name": "theirs"}, "data": {}}
    )
    kubeconfig, before = as_service_account(there, api, tmp_path), state(api)
    killed = begin(tmp_path / "reports", kubeconfig, "--namespace", NAMESPACE, "-n", "0")
    await_(has_changed, api, killed)
    kill(killed)
    sweep = ["sweep", "--kubeconfig", kubeconfig, "-n", NAMESPACE]
    there_then = state(api)
    assert there_then[LEASES] == [f"{NAMESPACE}/cpu-conformance"]
    assert cli.main(sweep) == Exit.CONFORMANT
    assert state(api)[LEASES] == there_then[LEASES], "it may be alive"
    age(api)
    assert cli.main(sweep) == Exit.CONFORMANT
    assert settled(api, before) == before


def rights(base: str) -> set[tuple[str, ...]]:
    return {
        (verb, group, resource, each["metadata"].get("namespace", ""), name)
        for each in documents(base)
        for rule in each.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def wanted(*granted: Right) -> set[tuple[str, ...]]:
    return {(verb, r.group, r.resource, r.namespace, r.name) for r, verb in single(granted)}


def test_the_bases_grant_what_is_asked_and_nothing_else() -> None:
    assert rights("run") == wanted(*RIGHTS)
    assert rights("namespaced") == wanted(*rights_in(NAMESPACE))
    assert rights("files") == wanted(*FILES)
    assert rights("namespaced-files") == wanted(*files_in(NAMESPACE))
    assert not [each for each in rights("namespaced") if each[2] == "namespaces"]
