"""Unknown fields, wrong types and malformed quantities."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from clusters.reference.apiserver import kubevirt_schema, schemas
from tests.unit.reference.apiserver.world import Reply, World, vmi

VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
PODS = "/api/v1/namespaces/default/pods"


def create(world: World, body: Any, validation: str = "") -> Reply:
    return world.request("POST", f"{VMIS}?fieldValidation={validation}", body)


def pod(**container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "a", "image": "b", **container}]}
    return {"metadata": {"name": "a"}, "spec": spec}


def test_an_unknown_field_is_dropped_with_a_warning(world: World) -> None:
    reply = create(world, vmi("a", coores=1))
    assert reply.status == 201
    assert "coores" not in reply.json["spec"]["domain"]["cpu"]
    assert reply.headers.get_all("Warning") == [
        '299 - "unknown field \\"spec.domain.cpu.coores\\""'
    ]
    assert create(world, vmi("b", coores=1), "Ignore").headers.get("Warning") is None


def test_an_unknown_field_is_refused_when_strict(world: World) -> None:
    reply = create(world, vmi("a", coores=1), "Strict")
    assert reply.status == 400
    assert 'unknown field "spec.domain.cpu.coores"' in reply.json["message"]
    world.request("POST", PODS, pod())
    patched = world.request(
        "PATCH",
        f"{PODS}/a?fieldValidation=Strict",
        {"spec": {"nope": 1}},
        content_type="application/merge-patch+json",
    )
    assert patched.status == 422
    assert create(world, vmi("a"), "Sometimes").status == 422


@pytest.mark.parametrize(
    ("cpu", "text"),
    [
        ({"cores": "two"}, 'cores in body must be of type integer: "string"'),
        ({"cores": 1.5}, 'cores in body must be of type int64: "float64"'),
        ({"cores": True}, 'cores in body must be of type int64: ""'),
        (
            {"dedicatedCpuPlacement": "yes"},
            'dedicatedCpuPlacement in body must be of type boolean: "string"',
        ),
        ({"features": [{}]}, "features.0.name in body is required"),
    ],
)
def test_a_wrong_type_is_refused_in_the_words_of_kubevirts_webhook(
    world: World, cpu: dict[str, Any], text: str
) -> None:
    reply = create(world, vmi("a", **cpu))
    assert reply.status == 422
    assert reply.causes == [("", "", f"spec.domain.cpu.{text}")]


def test_a_number_out_of_range_is_not_decoded(world: World) -> None:
    reply = create(world, vmi("a", cores=-1))
    assert reply.status == 400
    assert "domain.cpu.cores of type uint32" in reply.json["message"]
    assert "details" not in reply.json


def test_a_whole_number_with_a_point_is_an_integer(world: World) -> None:
    reply = create(world, vmi("a", cores=2.0))
    assert reply.text.count('"cores":2,') + reply.text.count('"cores":2}') == 1


def test_a_wrong_type_is_refused_in_an_update_as_well(world: World) -> None:
    create(world, vmi("a", cores=1))
    reply = world.request(
        "PATCH",
        f"{VMIS}/a",
        {"spec": {"domain": {"cpu": "many"}}},
        content_type="application/merge-patch+json",
    )
    ((_, _, told),) = reply.causes
    assert told == 'spec.domain.cpu in body must be of type object: "string"'


@pytest.mark.parametrize("quantity", ["64MiB", "lots", "1,5Gi", "--1", ""])
def test_a_malformed_quantity_is_refused(world: World, quantity: str) -> None:
    body = vmi("a")
    body["spec"]["domain"]["resources"]["limits"]["memory"] = quantity
    reply = create(world, body)
    assert reply.status == 400
    assert "quantit" in reply.json["message"]
    refused = world.request("POST", PODS, pod(resources={"limits": {"memory": quantity}}))
    assert refused.status == 400
    assert "quantities must match" in refused.json["message"]


@pytest.mark.parametrize("quantity", ["2", "1.5", "200m", "64Mi", "1e3", "2Gi", ".5"])
def test_a_quantity_is_taken(world: World, quantity: str) -> None:
    body = vmi("a")
    body["spec"]["domain"]["resources"]["limits"]["memory"] = quantity
    assert create(world, body).status == 201


def test_a_number_is_a_quantity_and_becomes_text(world: World) -> None:
    body = vmi("a")
    body["spec"]["domain"]["resources"]["limits"] = {"cpu": 2, "memory": "1Gi"}
    limits = create(world, body).json["spec"]["domain"]["resources"]["limits"]
    assert limits == {"cpu": "2", "memory": "1Gi"}


def test_a_vmi_has_a_spec(world: World) -> None:
    body = vmi("a")
    del body["spec"]
    assert create(world, body).causes == [("", "", "spec in body is required")]


def test_null_is_as_good_as_left_out(world: World) -> None:
    body = vmi("a", cores=None)
    assert create(world, body).json["spec"]["domain"]["cpu"] == {}


def test_built_in_types_are_decoded_like_go(world: World) -> None:
    reply = world.request("POST", PODS, pod(ports=[{"containerPort": "http"}]))
    assert reply.status == 400
    assert reply.json["message"] == (
        'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go '
        "struct field ContainerPort.spec.containers.ports.containerPort of type int32"
    )
    nameless = world.request("POST", PODS, {"metadata": {"name": "a"}, "spec": {}})
    assert [cause[1] for cause in nameless.causes] == ["spec.containers"]


def test_every_kind_has_a_document(world: World) -> None:
    paths = world.request("GET", "/openapi/v3").json["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/kubevirt.io/v1", "apis/kubevirt.io/v1alpha3"} <= set(
        paths
    )
    for path, entry in paths.items():
        document = world.request("GET", entry["serverRelativeURL"]).json
        schemas = document["components"]["schemas"]
        for name in _references(document):
            assert name in schemas, f"{path} refers to {name}"


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"].rpartition("/")[2]} if "$ref" in value else set()
        return found.union(*(_references(entry) for entry in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(entry) for entry in value))
    return set()


def test_schemas_are_kept_as_text_and_are_the_same_when_they_come_back() -> None:
    derived = schemas._derived()
    text = json.dumps(schemas.dump(derived))
    assert schemas.load(json.loads(text)) == derived


def test_no_field_is_described_twice() -> None:
    def fields(data: Any, path: str) -> Iterator[str]:
        if isinstance(data, list):
            yield from fields(data[0], path)
        elif isinstance(data, dict):
            for names, below in data.items():
                for name in names.split(", "):
                    yield f"{path}.{name.rstrip('!')}"
                    yield from fields(below, f"{path}.{name.rstrip('!')}")

    data = yaml.safe_load(kubevirt_schema.DATA.read_text())
    found = Counter(path for kind, below in data.items() for path in fields(below, kind))
    assert found["VirtualMachineInstance.spec.domain.cpu.cores"] == 1
    assert [path for path, number in found.items() if number > 1] == []


def test_what_kinds_share_is_read_once() -> None:
    read = kubevirt_schema.kubevirt_schemas()
    spec = read["VirtualMachineInstance"].properties["spec"]
    template = read["VirtualMachine"].properties["spec"].properties["template"]
    assert template.properties["spec"] is spec
    cpu = spec.properties["domain"].properties["cpu"]
    assert cpu.properties["cores"].minimum == 0
    assert "dedicatedCpuPlacement" in cpu.properties
    assert spec.required == {"domain"}
    assert spec.properties["domain"].required == {"devices"}
