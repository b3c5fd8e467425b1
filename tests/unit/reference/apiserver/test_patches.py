"""The four kinds of patch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.reference.apiserver.builtin_schema import builtin
from clusters.reference.apiserver.errors import StatusError
from clusters.reference.apiserver.patching import MERGE_PATCH, patched
from clusters.reference.apiserver.strategic_merge import strategic_merge
from tests.unit.reference.apiserver.world import Reply, World, running_pod, vmi

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

VMI = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/a"
VMIS = VMI.rpartition("/")[0]
POD = "/api/v1/namespaces/default/pods/a"


def pod_with(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": spec}


def merged(original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    return strategic_merge(original, patch, builtin("Pod"))


def patch(world: World, path: str, body: Any, content_type: str, query: str = "") -> Reply:
    return world.request("PATCH", path + query, body, content_type=content_type)


def test_containers_and_their_environment_merge_by_name() -> None:
    original = pod_with(
        containers=[
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]},
            {"name": "b", "image": "1"},
        ]
    )
    change = pod_with(
        containers=[
            {"name": "a", "env": [{"name": "X", "value": "2"}, {"name": "Y", "value": "3"}]}
        ]
    )
    assert merged(original, change)["spec"]["containers"] == [
        {
            "name": "a",
            "image": "1",
            "env": [{"name": "X", "value": "2"}, {"name": "Y", "value": "3"}],
        },
        {"name": "b", "image": "1"},
    ]


def test_an_item_is_deleted_by_its_key() -> None:
    original = pod_with(containers=[{"name": "a"}, {"name": "b"}])
    change = pod_with(containers=[{"name": "a", "$patch": "delete"}])
    assert merged(original, change)["spec"]["containers"] == [{"name": "b"}]


def test_a_list_or_map_is_replaced_on_request() -> None:
    original = pod_with(containers=[{"name": "a"}], nodeSelector={"x": "1"})
    change = pod_with(
        containers=[{"$patch": "replace"}, {"name": "c"}],
        nodeSelector={"$patch": "replace", "y": "2"},
    )
    spec = merged(original, change)["spec"]
    assert spec == {"containers": [{"name": "c"}], "nodeSelector": {"y": "2"}}


def test_lists_without_a_merge_key_are_replaced() -> None:
    original = pod_with(tolerations=[{"key": "a"}], containers=[{"name": "a", "args": ["1", "2"]}])
    change = pod_with(tolerations=[{"key": "b"}], containers=[{"name": "a", "args": ["3"]}])
    spec = merged(original, change)["spec"]
    assert spec["tolerations"] == [{"key": "b"}]
    assert spec["containers"][0]["args"] == ["3"]


def test_plain_values_are_added_and_taken_out() -> None:
    original = {"metadata": {"finalizers": ["a", "b"]}}
    assert merged(original, {"metadata": {"finalizers": ["c"]}}) == {
        "metadata": {"finalizers": ["a", "b", "c"]}
    }
    assert merged(original, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}) == {
        "metadata": {"finalizers": ["b"]}
    }


def test_a_union_keeps_only_the_named_members() -> None:
    original = pod_with(volumes=[{"name": "v", "emptyDir": {}}])
    change = pod_with(
        volumes=[{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]
    )
    assert merged(original, change)["spec"]["volumes"] == [
        {"name": "v", "hostPath": {"path": "/x"}}
    ]


def test_the_order_of_items_is_the_patch_s() -> None:
    original = pod_with(containers=[{"name": "a"}, {"name": "other"}, {"name": "b"}])
    change = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c", "image": "1"}],
        }
    }
    names = [entry["name"] for entry in merged(original, change)["spec"]["containers"]]
    assert [name for name in names if name != "other"] == ["b", "c", "a"]
    assert "other" in names


def test_conditions_merge_by_type() -> None:
    original = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}]}}
    change = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert merged(original, change)["status"]["conditions"] == [
        {"type": "Ready", "status": "True", "reason": "x"}
    ]


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(StatusError) as refused:
        merged(pod_with(containers=[]), pod_with(containers=[{"image": "x"}]))
    assert refused.value.code == 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("abc"), VALUES), st.dictionaries(st.sampled_from("abc"), VALUES)
)
def test_without_lists_strategic_and_plain_merge_agree(
    original: dict[str, Any], change: dict[str, Any]
) -> None:
    plain = patched(MERGE_PATCH, original, change, schema=builtin("Pod"), builtin=True)
    assert strategic_merge(original, change, None) == plain


def test_a_merge_patch_sets_and_removes(world: World) -> None:
    world.request("POST", VMIS, vmi("a", cores=1, sockets=2))
    change = {"spec": {"domain": {"cpu": {"cores": 3, "sockets": None}}}}
    assert patch(world, VMI, change, MERGE).json["spec"]["domain"]["cpu"] == {"cores": 3}


def test_a_json_patch_is_all_or_nothing(world: World) -> None:
    world.request("POST", VMIS, vmi("a", cores=1))
    add = {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}
    assert patch(world, VMI, [add], JSON).json["metadata"]["labels"] == {"x": "y"}
    wrong = [
        {"op": "remove", "path": "/metadata/labels/x"},
        {"op": "test", "path": "/metadata/name", "value": "b"},
    ]
    assert patch(world, VMI, wrong, JSON).status == 422
    assert world.request("GET", VMI).json["metadata"]["labels"] == {"x": "y"}
    assert patch(world, VMI, {"not": "a list"}, JSON).status == 400


def test_custom_resources_have_no_strategic_merge(world: World) -> None:
    world.request("POST", VMIS, vmi("a"))
    reply = patch(world, VMI, {}, STRATEGIC)
    assert reply.status == 415
    assert MERGE in reply.json["message"]


def test_a_strategic_patch_goes_through_http(world: World) -> None:
    world.run_pod(running_pod("a", "x", "y"))
    change = {"spec": {"containers": [{"name": "y", "image": "new"}]}}
    containers = patch(world, POD, change, STRATEGIC).json["spec"]["containers"]
    assert [entry["image"] for entry in containers] == ["none", "new"]


def test_a_patch_cannot_rename(world: World) -> None:
    world.request("POST", VMIS, vmi("a"))
    assert patch(world, VMI, {"metadata": {"name": "b"}}, MERGE).status == 400
    assert patch(world, VMI, {"metadata": None}, MERGE).status == 400


def test_a_patch_may_insist_on_the_version_it_saw(world: World) -> None:
    seen = world.request("POST", VMIS, vmi("a")).json["metadata"]["resourceVersion"]
    change = {"metadata": {"resourceVersion": seen, "labels": {"x": "1"}}}
    assert patch(world, VMI, change, MERGE).status == 200
    change["metadata"]["labels"] = {"x": "2"}
    assert patch(world, VMI, change, MERGE).status == 409


def apply(world: World, manager: str, **cpu: Any) -> Reply:
    body = vmi("a", **cpu)
    return patch(world, VMI, body, APPLY, f"?fieldManager={manager}&force=true")


def test_apply_creates_then_updates_then_removes_what_it_no_longer_wants(world: World) -> None:
    created = apply(world, "one", cores=1, sockets=2)
    assert created.status == 201
    again = apply(world, "one", cores=1, sockets=2)
    assert again.status == 200
    version = created.json["metadata"]["resourceVersion"]
    assert again.json["metadata"]["resourceVersion"] == version
    changed = apply(world, "one", cores=4)
    assert changed.json["spec"]["domain"]["cpu"] == {"cores": 4}


def test_apply_leaves_alone_what_others_wrote(world: World) -> None:
    apply(world, "one", cores=1, sockets=2)
    patch(world, VMI, {"metadata": {"labels": {"by": "hand"}}}, MERGE)
    apply(world, "two", sockets=2, threads=2)
    left = apply(world, "one", cores=1).json
    assert left["spec"]["domain"]["cpu"] == {"cores": 1, "sockets": 2, "threads": 2}
    assert left["metadata"]["labels"] == {"by": "hand"}
    managers = {entry["manager"] for entry in left["metadata"]["managedFields"]}
    assert managers == {"one", "two"}


def test_apply_needs_a_manager_and_a_whole_object(world: World) -> None:
    assert patch(world, VMI, vmi("a"), APPLY).status == 422
    assert patch(world, VMI, {"spec": {}}, APPLY, "?fieldManager=x").status == 400
    assert patch(world, VMI, {**vmi("a"), "spec": None}, APPLY, "?fieldManager=x").status == 422


def test_apply_merges_keyed_lists(world: World) -> None:
    world.request(
        "POST",
        "/api/v1/namespaces/default/pods",
        {
            "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "x", "image": "1"}]},
        },
    )
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "x", "image": "2"}]},
    }
    reply = patch(world, POD, body, APPLY, "?fieldManager=me")
    assert reply.json["spec"]["containers"] == [{"name": "x", "image": "2"}]
    owned = reply.json["metadata"]["managedFields"][0]["fieldsV1"]
    assert 'k:{"name":"x"}' in owned["f:spec"]["f:containers"]
