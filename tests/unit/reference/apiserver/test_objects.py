"""Create, read, update, delete, through the real client or plain HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client import ApiException

from clusters.reference.apiserver.resources import POD
from tests.unit.reference.apiserver.world import World, running_pod, vmi

VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def test_an_object_reads_back_as_it_was_written(core: Any) -> None:
    written = core.create_namespaced_config_map("default", config_map("a", key="value"))
    read = core.read_namespaced_config_map("a", "default")
    assert read.data == {"key": "value"}
    assert read.metadata.uid == written.metadata.uid
    assert read.metadata.resource_version == written.metadata.resource_version


def test_an_update_with_an_old_version_is_a_conflict(core: Any) -> None:
    first = core.create_namespaced_config_map("default", config_map("a", key="1"))
    core.replace_namespaced_config_map("a", "default", config_map("a", key="2"))
    first.data = {"key": "3"}
    with pytest.raises(ApiException) as refused:
        core.replace_namespaced_config_map("a", "default", first)
    assert refused.value.status == 409
    assert "the object has been modified" in str(refused.value.body)


def test_a_list_is_selected_by_labels_and_fields(world: World, core: Any) -> None:
    for name, labels in (("a", {"tier": "x"}), ("b", {"tier": "y"}), ("c", {})):
        pod = running_pod(name)
        pod["metadata"]["labels"] = labels
        world.run_pod(pod)
    for selector, names in (
        ("tier=x", {"a"}),
        ("tier in (x,y)", {"a", "b"}),
        ("tier notin (x)", {"b", "c"}),
        ("tier!=x", {"b", "c"}),
        ("!tier", {"c"}),
        ("tier,tier!=y", {"a"}),
    ):
        found = core.list_namespaced_pod("default", label_selector=selector).items
        assert {pod.metadata.name for pod in found} == names, selector
    on_node = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=node-1").items
    assert len(on_node) == 3
    one = core.list_pod_for_all_namespaces(field_selector="metadata.name=b,status.phase!=Failed")
    assert [pod.metadata.name for pod in one.items] == ["b"]


def test_a_field_that_cannot_be_selected_by_is_refused(world: World) -> None:
    reply = world.request("GET", "/api/v1/pods?fieldSelector=spec.colour%3Dred")
    assert reply.status == 400
    assert "spec.colour" in reply.json["message"]


def test_events_are_selected_by_what_they_are_about(core: Any) -> None:
    for name in ("a", "b"):
        about = client.V1ObjectReference(kind="Pod", name=name, namespace="default")
        event = client.CoreV1Event(
            metadata=client.V1ObjectMeta(name=f"{name}.1"), involved_object=about, reason="Seen"
        )
        core.create_namespaced_event("default", event)
    found = core.list_namespaced_event("default", field_selector="involvedObject.name=b").items
    assert [event.involved_object.name for event in found] == ["b"]


def test_what_does_not_exist_is_told_like_upstream(world: World) -> None:
    reply = world.request("GET", f"{VMIS}/absent")
    assert reply.status == 404
    assert reply.json["message"] == ('virtualmachineinstances.kubevirt.io "absent" not found')
    assert reply.json["details"] == {
        "name": "absent",
        "group": "kubevirt.io",
        "kind": "virtualmachineinstances",
    }
    assert world.request("GET", "/api/v1/teapots").status == 404
    assert world.request("GET", "/apis/kubevirt.io/v1alpha2/virtualmachineinstances").status == 404


def test_a_name_is_taken_once(world: World) -> None:
    assert world.request("POST", VMIS, vmi("a")).status == 201
    reply = world.request("POST", VMIS, vmi("a"))
    assert (reply.status, reply.json["reason"]) == (409, "AlreadyExists")


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254])
def test_names_are_dns_names(world: World, name: str) -> None:
    reply = world.request("POST", VMIS, vmi(name))
    assert (reply.status, reply.json["reason"]) == (422, "Invalid")
    assert [cause[1] for cause in reply.causes] == ["metadata.name"]


def test_a_generated_name_begins_as_asked(world: World) -> None:
    body = vmi("x")
    body["metadata"] = {"generateName": "guest-"}
    assert world.request("POST", VMIS, body).json["metadata"]["name"].startswith("guest-")


def test_objects_need_their_namespace(world: World) -> None:
    reply = world.request("POST", VMIS.replace("default", "absent"), vmi("a"))
    assert reply.status == 404
    assert reply.json["message"] == 'namespaces "absent" not found'


def test_the_namespace_of_body_and_path_must_agree(world: World) -> None:
    body = vmi("a")
    body["metadata"]["namespace"] = "kubevirt"
    assert world.request("POST", VMIS, body).status == 400


def test_deleting_a_namespace_deletes_what_is_in_it(world: World, core: Any) -> None:
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="short")))
    held = config_map("held")
    held.metadata.finalizers = ["example.com/hold"]
    core.create_namespaced_config_map("short", held)
    core.create_namespaced_config_map("short", config_map("free"))
    world.run_pod(running_pod("pod", namespace="short"))

    core.delete_namespace("short")
    assert core.read_namespace("short").status.phase == "Terminating"
    with pytest.raises(ApiException) as refused:
        core.create_namespaced_config_map("short", config_map("late"))
    assert refused.value.status == 403
    assert "NamespaceTerminating" in str(refused.value.body)

    core.patch_namespaced_config_map("held", "short", {"metadata": {"finalizers": None}})
    world.do(lambda: world.store.delete(POD, "pod", "short"))
    world.settle(lambda: all(ns.metadata.name != "short" for ns in core.list_namespace().items))
    assert core.list_config_map_for_all_namespaces().items == []


def test_a_bound_pod_is_given_its_grace(world: World, core: Any) -> None:
    world.run_pod(running_pod("pod"))
    deleted = core.delete_namespaced_pod("pod", "default", grace_period_seconds=7)
    assert deleted.metadata.deletion_grace_period_seconds == 7
    assert core.read_namespaced_pod("pod", "default").metadata.deletion_timestamp
    core.delete_namespaced_pod("pod", "default", grace_period_seconds=0)
    assert core.list_namespaced_pod("default").items == []


def test_a_deletion_may_insist_on_the_object_it_means(core: Any) -> None:
    core.create_namespaced_config_map("default", config_map("a"))
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    with pytest.raises(ApiException) as refused:
        core.delete_namespaced_config_map("a", "default", body=options)
    assert refused.value.status == 409
    assert core.read_namespaced_config_map("a", "default")


def test_a_collection_is_deleted_by_selector(core: Any) -> None:
    for name in ("a", "b"):
        body = config_map(name)
        body.metadata.labels = {"name": name}
        core.create_namespaced_config_map("default", body)
    core.delete_collection_namespaced_config_map("default", label_selector="name=a")
    left = core.list_namespaced_config_map("default").items
    assert [entry.metadata.name for entry in left] == ["b"]


def test_a_dry_run_changes_nothing(world: World) -> None:
    reply = world.request("POST", f"{VMIS}?dryRun=All", vmi("a"))
    assert reply.status == 201
    assert reply.json["metadata"]["uid"]
    assert world.request("GET", f"{VMIS}/a").status == 404
    world.request("POST", VMIS, vmi("a"))
    version = world.request("GET", f"{VMIS}/a").json["metadata"]["resourceVersion"]
    assert world.request("DELETE", f"{VMIS}/a?dryRun=All").status == 200
    patch = {"spec": {"domain": {"cpu": {"cores": 9}}}}
    reply = world.request(
        "PATCH", f"{VMIS}/a?dryRun=All", patch, content_type="application/merge-patch+json"
    )
    assert reply.json["spec"]["domain"]["cpu"]["cores"] == 9
    assert world.request("GET", f"{VMIS}/a").json["metadata"]["resourceVersion"] == version


def test_a_vmi_is_read_in_the_version_that_is_asked_for(world: World) -> None:
    world.request("POST", VMIS, vmi("a"))
    older = VMIS.replace("/v1/", "/v1alpha3/")
    assert world.request("GET", f"{older}/a").json["apiVersion"] == "kubevirt.io/v1alpha3"
    listed = world.request("GET", older).json
    assert listed["apiVersion"] == listed["items"][0]["apiVersion"] == "kubevirt.io/v1alpha3"
    assert world.request("POST", older, vmi("b")).status == 400
    assert world.request("POST", older, {**vmi("b"), "apiVersion": older[6:26]}).status == 201


def test_profile_v1alpha2_prefers_the_old_version(tmp_path: Path) -> None:
    with World(tmp_path, "v1alpha2").running() as world:
        group = world.request("GET", "/apis/kubevirt.io").json
        assert group["preferredVersion"]["version"] == "v1alpha2"
        older = VMIS.replace("/v1/", "/v1alpha2/")
        body = {**vmi("a"), "apiVersion": "kubevirt.io/v1alpha2"}
        assert world.request("POST", older, body).json["apiVersion"] == "kubevirt.io/v1alpha2"
        assert world.request("GET", f"{VMIS}/a").json["apiVersion"] == "kubevirt.io/v1"


def test_status_and_spec_are_written_apart(world: World, custom: Any) -> None:
    where = ("kubevirt.io", "v1", "default", "virtualmachineinstances")
    body = {**vmi("a", cores=1), "status": {"phase": "Running"}}
    created = custom.create_namespaced_custom_object(*where, body)
    assert "status" not in created
    custom.patch_namespaced_custom_object_status(
        *where, "a", {"status": {"phase": "Running"}, "spec": {"hostname": "ignored"}}
    )
    read = custom.get_namespaced_custom_object(*where, "a")
    assert read["status"] == {"phase": "Running"}
    assert "hostname" not in read["spec"]
    assert read["metadata"]["generation"] == 1
    custom.patch_namespaced_custom_object(
        *where, "a", {"spec": {"hostname": "new"}, "status": {"phase": "Failed"}}
    )
    read = custom.get_namespaced_custom_object(*where, "a")
    assert read["spec"]["hostname"] == "new"
    assert read["status"] == {"phase": "Running"}
    assert read["metadata"]["generation"] == 2


def test_a_pod_is_bound_once(world: World, core: Any) -> None:
    pod = running_pod("pod")
    del pod["spec"]["nodeName"]
    world.run_pod(pod)
    path = "/api/v1/namespaces/default/pods/pod/binding"
    binding = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "node-1"}}
    assert world.request("POST", path, binding).status == 201
    assert core.read_namespaced_pod("pod", "default").spec.node_name == "node-1"
    assert world.request("POST", path, binding).status == 409


def test_an_eviction_deletes_the_pod(world: World, core: Any) -> None:
    world.run_pod(running_pod("pod"))
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="pod"))
    core.create_namespaced_pod_eviction("pod", "default", eviction)
    assert core.read_namespaced_pod("pod", "default").metadata.deletion_timestamp


def test_a_pod_spec_is_fixed(world: World) -> None:
    world.run_pod(running_pod("pod"))
    reply = world.request(
        "PATCH",
        "/api/v1/namespaces/default/pods/pod",
        {"spec": {"nodeName": "node-2"}},
        content_type="application/merge-patch+json",
    )
    assert (reply.status, [cause[1] for cause in reply.causes]) == (422, ["spec"])


def test_admission_refuses_with_its_causes(world: World) -> None:
    reply = world.request("POST", VMIS, vmi("a", isolateEmulatorThread=True))
    assert (reply.status, reply.json["reason"]) == (422, "Invalid")
    assert reply.causes == [
        (
            "FieldValueInvalid",
            "spec.domain.cpu.isolateEmulatorThread",
            "should be only set in combination with DedicatedCPUPlacement",
        )
    ]


@pytest.mark.parametrize("body", ["", "{", "[1", "nonsense", "[]", '"text"', "{}"])
def test_a_body_that_is_no_object_is_a_bad_request(world: World, body: str) -> None:
    assert world.request("POST", VMIS, body).status == 400


def test_a_body_may_be_yaml(world: World) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {when: '2026-01-01'}\n"
    reply = world.request("POST", CONFIG_MAPS, text, content_type="application/yaml")
    assert reply.status == 201
    broken = world.request("POST", CONFIG_MAPS, "a: [", content_type="application/yaml")
    assert broken.status == 400
    assert "yaml" in broken.json["message"]
    shown = world.request("GET", f"{CONFIG_MAPS}/a", accept="application/yaml")
    assert "kind: ConfigMap" in shown.text


def test_a_body_in_another_format_is_not_read(world: World) -> None:
    reply = world.request("POST", CONFIG_MAPS, "<xml/>", content_type="application/xml")
    assert (reply.status, reply.json["reason"]) == (415, "UnsupportedMediaType")


def test_a_method_that_makes_no_sense_is_refused(world: World) -> None:
    assert world.request("PUT", CONFIG_MAPS, {}).status == 405
    assert world.request("POST", "/api/v1/pods", {}).status == 405
    assert world.request("DELETE", "/version").status == 405


def test_everything_is_allowed_to_the_administrator(api: client.ApiClient) -> None:
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="delete", resource="nodes")
        )
    )
    answer: Any = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
    assert answer.status.allowed


def test_the_kubelet_configuration_is_behind_the_node_proxy(world: World) -> None:
    assert world.request("GET", "/api/v1/nodes/node-1/proxy/configz").status == 404
    world.do(world.add_node)
    reply = world.request("GET", "/api/v1/nodes/node-1/proxy/configz")
    assert reply.json["kubeletconfig"]["cpuManagerPolicy"] == "static"


def test_a_list_in_the_future_is_refused(world: World) -> None:
    reply = world.request("GET", f"{CONFIG_MAPS}?resourceVersion=99999")
    assert (reply.status, reply.json["reason"]) == (504, "Timeout")
    assert world.request("GET", f"{CONFIG_MAPS}?resourceVersion=abc").status == 400
    unmatched = world.request("GET", f"{CONFIG_MAPS}?resourceVersionMatch=Exact")
    assert unmatched.status == 422
    exact = f"{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion=1"
    assert world.request("GET", exact).status == 410
