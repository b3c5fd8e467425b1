"""What `conform manifests` prints, the API server takes, every field of it."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
import yaml

from clusters.existing.rights import AUDIT, DISRUPTIVE, LIBVIRT, RIGHTS
from clusters.kit import changes
from clusters.kit.api import Api, ApiError
from conformance import cli
from conformance.deploying.manifests import Deployment, base, manifests
from tests.unit.reference.apiserver.world import World

PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
}
LINES = (
    ["run"],
    ["run", "--disruptive", "-n", "mine", "--param", "matrix=standard"],
    ["run", "--image", "registry.example/team/harness@sha256:" + "0" * 64, "--volume-claim", "v"],
    ["audit", "--param", "namespace=prod"],
    ["audit", "--libvirt", "--schedule", "0 3 * * *", "-n", "mine"],
)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert cli.main(["manifests", *words]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_every_object_is_taken_as_it_is(
    world: World, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api(str(world.config))
    if "-n" in words:
        api.create(PATHS["Namespace"], {"metadata": {"name": "mine"}})
    found = printed(capsys, *words)
    for obj in found:
        path = PATHS[obj["kind"]].format(obj["metadata"].get("namespace"))
        api.try_out(path, obj)  # strict: an unknown field is refused
        api.create(path, obj)
    job = found[-1]
    template = job["spec"].get("jobTemplate", job)["spec"]["template"]["spec"]
    (container,) = template["containers"]
    assert cli._parser().parse_args(container["args"]).command is not None
    account = template["serviceAccountName"]
    namespace = job["metadata"]["namespace"]
    made = {(each["kind"], each["metadata"]["name"]) for each in found}
    assert ("ServiceAccount", account) in made
    bindings = [each for each in found if each["kind"].endswith("Binding")]
    own = {each["metadata"]["name"] for each in found if each["kind"] == "Namespace"}
    assert own == (set() if "-n" in words else {namespace})
    assert ("--namespace" in container["args"]) == ("-n" in words and "run" in words)
    for each in bindings:
        assert (each["roleRef"]["kind"], each["roleRef"]["name"]) in made
        assert {(s["name"], s["namespace"]) for s in each["subjects"]} == {(account, namespace)}
    # Who may write where results go may write no other ConfigMap.
    (rule,) = [
        rule
        for each in found
        for rule in each.get("rules", ())
        if "configmaps" in rule["resources"]
        and {"update", "patch"} & {*rule["verbs"]}
        and rule["resourceNames"] != [changes.NAME]
    ]
    name = container["args"][container["args"].index("--results-configmap") + 1]
    assert name == f"{namespace}/{rule['resourceNames'][0]}"
    assert ("ConfigMap", rule["resourceNames"][0]) in made
    api.close()


def test_a_job_in_a_namespace_takes_no_right_from_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bindings = [
        {
            (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
            for each in printed(capsys, "run", *where)
            if each["kind"].endswith("Binding")
        }
        for where in ([], ["-n", "mine"], ["--namespace", "yours"])
    ]
    assert all(bindings)
    assert len(set.union(*bindings)) == sum(map(len, bindings))


def test_in_a_given_namespace_nothing_grants_a_right_on_namespaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def granted(*words: str) -> set[str]:
        rules = [rule for each in printed(capsys, "run", *words) for rule in each.get("rules", ())]
        return {resource for rule in rules for resource in rule["resources"]}

    assert "namespaces" in granted()
    assert "namespaces" not in granted("--namespace", "mine")


def test_a_field_that_is_none_would_be_refused(world: World) -> None:
    api = Api(str(world.config))
    *_, job = manifests(Deployment("run", ("run",), "image"))
    path = PATHS["Job"].format("default")
    job["metadata"] = {**job["metadata"], "namespace": "default"}
    api.try_out(path, job)
    job["spec"]["template"]["spec"]["serviceAccount_name"] = "x"
    with pytest.raises(ApiError, match="serviceAccount_name"):
        api.try_out(path, job)
    api.close()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_applies_and_shows_them(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    import subprocess

    assert cli.main(["manifests", "run"]) == 0
    text = capsys.readouterr().out
    kubectl = ["kubectl", "--kubeconfig", str(world.config), "--cache-dir", str(tmp_path / "c")]
    done = subprocess.run(
        [*kubectl, "apply", "-f", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        [*kubectl, "get", "job", "cpu-conformance-run", "-n", "cpu-conformance", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(shown)["spec"]["template"]["spec"]["serviceAccountName"] == "cpu-conformance"


def test_the_pod_is_in_the_shared_pool_and_nobody_s_root() -> None:
    *_, job = manifests(Deployment("run", ("run",), "image"))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "limits" not in container["resources"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] != 0


@pytest.mark.parametrize(
    ("name", "rights"),
    [
        ("run", RIGHTS),
        ("audit", AUDIT),
        ("libvirt", (*AUDIT, *LIBVIRT)),
        ("disruptive", DISRUPTIVE),
    ],
)
def test_the_rights_are_those_of_the_base_and_no_more(name: str, rights: Any) -> None:
    granted = {
        (verb, group, resource)
        for each in base(name)
        for rule in each.get("rules", ())
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == {(verb, r.group, r.resource) for r in rights for verb in r.verbs}


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--libvirt"],
        ["audit", "--disruptive"],
        ["run", "--param", "kubeconfig=/etc/x"],
        ["run", "--param", "matrix=/etc/passwd"],
    ],
    ids=" ".join,
)
def test_what_means_nothing_is_a_usage_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["manifests", *words]) == 3
    assert capsys.readouterr().out == ""
