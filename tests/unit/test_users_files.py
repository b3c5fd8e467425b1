"""What a user's file needs of a cluster, asked of a real API server without KubeVirt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.kit.api import Api
from clusters.kit.marks import Mark
from conformance.collecting.api import connect
from conformance.matrix.documents import MatrixFileError
from conformance.matrix.files import user_file
from fixtures import users_files
from tests.truth.user_manifests import VM, VMI
from tests.unit.reference.apiserver.world import World

IN_DEFAULT = VM.replace("{name: fast}", "{name: fast, namespace: default}").replace(
    "  template:", "  preference: {name: shape}\n  template:"
)
SPEC = {"cpu": {"guest": 4}, "memory": {"guest": "1Gi"}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with World(tmp_path).running() as world:
        yield connect(str(world.config))


def check(api: Api, text: str) -> list[str]:
    said: list[str] = []
    for case in user_file([("mine.yaml", text)]).cases:
        users_files.check(api, "default", case, said.append)
    return said


def test_what_the_api_takes_is_not_talked_about(api: Api) -> None:
    assert check(api, VMI) == []
    assert api.get("/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances")["items"] == []


def test_a_field_that_the_cluster_drops_is_told(api: Api) -> None:
    (said,) = check(api, VMI.replace("devices: {}", "devices: {autoattachMembaloon: true}"))
    assert "did you mean spec.domain.devices.autoattachMemBalloon?" in said
    assert "the cluster drops it" in said


def test_a_field_about_cpus_that_the_cluster_does_not_know_ends_the_run(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if this cluster were older than the field.
    monkeypatch.setattr("conformance.matrix.files._require_known", lambda item: None)
    with pytest.raises(MatrixFileError, match=r"spec\.domain\.cpu\.socketz.*says the cluster"):
        check(api, VMI.replace("cores: 2", "socketz: 2"))


def test_a_refusal_that_nobody_expects_is_told_before_the_case(api: Api) -> None:
    (said,) = check(api, VMI.replace("{name: fast}", "{name: fast, labels: {app: not.good.}}"))
    assert said.startswith("fast: the cluster refuses this manifest: 422: ")


def test_helpers_are_made_and_what_is_not_taken_is_told(api: Api) -> None:
    helpers = (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "seed"}},
        {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {"name": "r"}},
    )
    said: list[str] = []
    users_files.make(api, "default", Mark("r1", "me@here"), helpers, said.append)
    made = api.find("/api/v1/namespaces/default/secrets/seed")
    assert made is not None
    assert made["metadata"]["labels"]["cpu-conformance/run"] == "r1"
    assert made["metadata"]["annotations"]["cpu-conformance/owner"] == "me@here"
    assert said[0] == "Secret seed is made in namespace default"
    assert said[1].startswith("DataVolume r could not be made: 404: ")


def test_instance_types_of_the_cluster_are_found(api: Api) -> None:
    (case,) = user_file([("mine.yaml", IN_DEFAULT)]).cases
    assert list(users_files.found_beside(api, case)) == []
    group = "/apis/instancetype.kubevirt.io/v1beta1"
    version = "instancetype.kubevirt.io/v1beta1"
    api.create(
        f"{group}/namespaces/default/virtualmachineinstancetypes",
        {
            "apiVersion": version,
            "kind": "VirtualMachineInstancetype",
            "metadata": {"name": "four"},
            "spec": SPEC,
        },
    )
    api.create(
        f"{group}/virtualmachineclusterpreferences",
        {
            "apiVersion": version,
            "kind": "VirtualMachineClusterPreference",
            "metadata": {"name": "shape"},
            "spec": {"cpu": {"preferredCPUTopology": "cores"}},
        },
    )
    found = list(users_files.found_beside(api, case))
    assert [obj["spec"] for obj in found] == [
        SPEC,
        {"cpu": {"preferredCPUTopology": "cores"}},
    ]
    assert all("uid" not in obj["metadata"] for obj in found)
    # What is of a namespace has to be in that of the run.
    assert [obj["kind"] for obj in users_files.copies(found)] == ["VirtualMachineInstancetype"]
