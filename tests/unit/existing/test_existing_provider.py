"""The provider: nothing is created, everything goes through one kubeconfig."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from clusters import providers
from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError, Handle
from clusters.contract.shape import ClusterSpec
from clusters.existing.kubeconfig import single_context
from clusters.existing.provider import OWNER, PROVIDER
from clusters.existing.rights import DISRUPTIVE, FILES, RIGHTS, single
from clusters.host import processes, rundir
from conformance.matrix import kinds
from tests.unit.existing.conftest import FakeApi, node
from tests.unit.existing.test_existing_libvirt import EMULATORPIN, IOTHREADINFO, VCPUPIN, XML

RBAC = Path(__file__).parents[3] / "clusters/existing/rbac/run/run.yaml"


def up(api: FakeApi, directory: Path, *, detached: bool = True) -> Handle:
    directory.mkdir()
    spec = ClusterSpec(options={"kubeconfig": api.kubeconfig})
    return PROVIDER.up("prod", spec, directory, progress=lambda _: None, detached=detached)


def test_up_down_and_in_between(api: FakeApi, tmp_path: Path) -> None:
    handle = up(api, tmp_path / "run")
    assert stat.S_IMODE(Path(handle.kubeconfig).stat().st_mode) == 0o600
    found_again = Handle.load((tmp_path / "run" / rundir.HANDLE).read_text())
    assert found_again == handle
    assert PROVIDER.alive(found_again) is None
    access = PROVIDER.connect(found_again)
    assert access.nodes == ("n1",)
    assert access.description.startswith("KubeVirt v1.9.0 on Kubernetes v1.36.0 at http://")
    assert not access.simulation
    read = access.node_shell("n1").read(["/sys/devices/system/cpu/online"])
    assert read.files == {"/sys/devices/system/cpu/online": "0-11\n"}
    with pytest.raises(AccessError, match="no virt-handler pod on node n2"):
        access.node_shell("n2")
    available = {name: c.available for name, c in access.capabilities().items()}
    assert available == {
        "libvirt": True, "node-files": True, "guest-console": True, "smt": True, "numa": False,
        "hugepages": False,
        "realtime": False,
        "disruption": False,
        "kubelet-control": False,
        "unlabelled-node": False,
        "live-migration": False,
    }  # fmt: skip
    access.close()
    PROVIDER.down(handle)
    PROVIDER.down(handle)
    assert not (tmp_path / "run").exists()
    assert not {verb for verb, _, _ in api.asked} - {"get", "list", "create"}
    assert [ask for ask in api.asked if ask[0] == "create"] == [
        ("create", "authorization.k8s.io", "selfsubjectaccessreviews")
    ]


def test_it_can_be_chosen() -> None:
    assert providers.provider("existing") is PROVIDER


def test_the_view_of_a_domain(api: FakeApi, tmp_path: Path) -> None:
    def virsh(command: Sequence[str], _: bytes) -> tuple[int, bytes, bytes]:
        answers = {"dumpxml": XML, "vcpupin": VCPUPIN, "emulatorpin": EMULATORPIN}
        return 0, answers.get(command[-2], IOTHREADINFO).encode(), b""

    api.commands["compute"] = virsh
    access = PROVIDER.connect(up(api, tmp_path / "run"))
    launcher = {"metadata": {"name": "virt-launcher-vm"}}
    assert access.libvirt.view("ns", "vm", launcher).emulator_pin == {4}


def test_all_gaps_are_in_the_refusal(api: FakeApi, tmp_path: Path) -> None:
    api.objects["/api/v1/nodes"] = {"items": [node(labels=False)]}
    api.refused = {("create", "namespaces")}
    with pytest.raises(ClusterError) as caught:
        up(api, tmp_path / "run")
    assert "may not create namespaces" in str(caught.value)
    assert "cpuManagerPolicy: static" in str(caught.value)


def test_a_handle_ends_with_the_run_that_made_it(api: FakeApi, tmp_path: Path) -> None:
    handle = up(api, tmp_path / "run", detached=False)
    assert processes.alive(handle.details[OWNER])
    assert PROVIDER.alive(handle) is None
    gone = Handle(**{**vars(handle), "details": {OWNER: processes.identity(0)}})
    assert "has ended" in str(PROVIDER.alive(gone))


def test_an_api_that_goes_away(api: FakeApi, tmp_path: Path) -> None:
    handle = up(api, tmp_path / "run")
    Path(handle.kubeconfig).write_text(
        Path(handle.kubeconfig).read_text().replace(str(api.port), "1")
    )
    assert "nothing answers" in str(PROVIDER.alive(handle))
    with pytest.raises(ClusterError, match="nothing answers"):
        PROVIDER.connect(handle)


def test_logs_are_kept_as_far_as_they_can_be_had(api: FakeApi, tmp_path: Path) -> None:
    api.objects["/api/v1/namespaces/kubevirt/pods"] = {"items": []}
    api.objects["/api/v1/namespaces/kubevirt/events"] = 403
    api.objects["/api/v1/namespaces/kubevirt/pods/virt-handler-x/log"] = "heartbeat\n"
    PROVIDER.connect(up(api, tmp_path / "run")).collect_logs(str(tmp_path / "logs"))
    kept = {path.name for path in (tmp_path / "logs").iterdir()}
    assert kept == {
        "nodes.json", "kubevirt.json", "kubevirt-pods.json", "virt-handler-n1.log", "errors.txt",
    }  # fmt: skip
    assert (tmp_path / "logs/virt-handler-n1.log").read_text() == "heartbeat\n"
    assert "kubevirt-events.json: GET" in (tmp_path / "logs/errors.txt").read_text()


# rights


def granted(manifest: Path = RBAC) -> set[tuple[str, str, str]]:
    documents = list(yaml.safe_load_all(manifest.read_text()))
    (role,) = (document for document in documents if document["kind"] == "ClusterRole")
    return {
        (verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_manifest_grants_what_is_reviewed_and_nothing_else() -> None:
    assert granted() == {(verb, right.group, right.resource) for right, verb in single(RIGHTS)}


def test_the_manifest_for_disruptive_runs_grants_what_they_need_beside() -> None:
    more = granted(RBAC.parents[1] / "disruptive/disruptive.yaml")
    assert more == {(verb, right.group, right.resource) for right, verb in single(DISRUPTIVE)}
    assert not more & granted()


def test_the_manifest_for_files_of_users_grants_what_they_may_hold() -> None:
    more = granted(RBAC.parents[1] / "files/files.yaml")
    assert more == {(verb, right.group, right.resource) for right, verb in single(FILES)}
    assert not more & granted()
    for kind in (*kinds.JUDGED.values(), *kinds.HELPERS.values(), *kinds.TYPES.values()):
        verb = "create" if kind.namespaced else "get"
        assert (verb, kind.group, kind.plural) in more | granted()


def test_nothing_is_asked_that_the_manifest_does_not_grant(api: FakeApi, tmp_path: Path) -> None:
    access = PROVIDER.connect(up(api, tmp_path / "run"))
    access.capabilities()
    access.collect_logs(str(tmp_path / "logs"))
    with pytest.raises(AccessError):
        access.libvirt.view("ns", "vm", {"metadata": {"name": "virt-launcher-vm"}})
    open_to_all = ("create", "authorization.k8s.io", "selfsubjectaccessreviews")
    assert api.asked - granted() == {open_to_all}


# kubeconfigs


def kubeconfig(path: Path, *contexts: str, current: str = "") -> Path:
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": current,
                "contexts": [{"name": n, "context": {"cluster": n, "user": n}} for n in contexts],
                "clusters": [
                    {
                        "name": n,
                        "cluster": {"server": f"https://{n}", "certificate-authority": "ca"},
                    }
                    for n in contexts
                ],
                "users": [{"name": n, "user": {"client-key": "/k/key"}} for n in contexts],
            }
        )
    )
    return path


def test_one_context_with_absolute_paths(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "a", "b", current="a")
    found = yaml.safe_load(single_context(str(path), "b"))
    assert found["current-context"] == "b"
    assert found["clusters"] == [
        {
            "name": "b",
            "cluster": {"server": "https://b", "certificate-authority": str(tmp_path / "ca")},
        }
    ]
    assert found["users"] == [{"name": "b", "user": {"client-key": "/k/key"}}]


def test_several_files_as_kubectl_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kubeconfig(tmp_path / "one", "a")
    second = kubeconfig(tmp_path / "two", "b", current="b")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path}/absent:{second}")
    assert yaml.safe_load(single_context(None, None))["current-context"] == "b"
    assert yaml.safe_load(single_context(None, "a"))["current-context"] == "a"


@pytest.mark.parametrize(
    ("text", "context", "said"),
    [
        (None, None, "there is no kubeconfig at .*: give --kubeconfig FILE or set KUBECONFIG"),
        ("- list", None, "is no kubeconfig"),
        ("a: [", None, "cannot be read"),
        ("{}", None, "no current context: give --context, one of none"),
        ("contexts: [{name: a, context: {}}]", "z", "no context 'z': give --context, one of a"),
        ("contexts: [{name: a, context: {cluster: c}}]", "a", "names the cluster 'c', which is"),
    ],
)
def test_bad_kubeconfigs(tmp_path: Path, text: str | None, context: str | None, said: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ClusterError, match=said):
        single_context(str(path), context)


@pytest.mark.parametrize(
    ("allocatable", "available"),
    [
        ([{"cpu": "4"}], False),
        ([{"hugepages-2Mi": "0"}], False),
        ([{"hugepages-1Gi": "4Gi"}], False),
        ([{"hugepages-2Mi": "0"}, {"hugepages-2Mi": "64Mi"}], True),
    ],
)
def test_huge_pages_of_one_node_are_enough(
    api: FakeApi, tmp_path: Path, allocatable: list[dict[str, str]], *, available: bool
) -> None:
    access = PROVIDER.connect(up(api, tmp_path / "run"))
    api.objects["/api/v1/nodes"] = {
        "items": [
            {"metadata": {"name": f"n{number}"}, "status": {"allocatable": amounts}}
            for number, amounts in enumerate(allocatable)
        ]
    }
    found = access.capabilities()["hugepages"]
    assert found.available is available
    assert ("n1 (64Mi)" in found.reason) is available


@pytest.mark.parametrize("code", [403, 500])
def test_c11_what_cannot_be_asked_for_is_not_known(
    api: FakeApi, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clusters.kit.api.PAUSES", (0.0,))
    access = PROVIDER.connect(up(api, tmp_path / "run"))
    api.objects["/api/v1/nodes"] = code
    for name in ("hugepages", "unlabelled-node"):
        found = access.capabilities()[name]
        assert found.available is None
        assert str(code) in found.reason


def test_c11_hardware_of_a_node_that_was_not_read_is_not_known(
    api: FakeApi, tmp_path: Path
) -> None:
    access = PROVIDER.connect(up(api, tmp_path / "run"))
    assert access.capabilities()["numa"].available is False
    api.objects["/api/v1/pods"] = {"items": []}
    api.commands["virt-handler"] = lambda *_: (1, b"", b"gone")
    assert access.capabilities()["numa"].available is None
    assert access.capabilities()["smt"].available is None
