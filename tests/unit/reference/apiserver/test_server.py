"""Who gets in, where it listens, what it says about itself."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes import client, dynamic

from clusters.reference.apiserver.server import ApiServer, ApiServerError
from clusters.reference.apiserver.store import Store
from tests.unit.reference.apiserver.world import FakeAdmission, FakePods, World


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_the_token_there_is_nothing_to_see(world: World, token: str) -> None:
    for path in ("/api/v1/nodes", "/api", "/apis", "/openapi/v3", "/nowhere"):
        reply = world.request("GET", path, token=token)
        assert (reply.status, reply.json["reason"]) == (401, "Unauthorized")
    for path in ("/healthz", "/readyz", "/livez"):
        assert world.request("GET", path, token=token).text == "ok"


def test_the_certificate_is_the_authority_s(world: World) -> None:
    stranger = http.client.HTTPSConnection(
        "127.0.0.1", world.server.port, context=ssl.create_default_context(), timeout=10
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("GET", "/healthz")


def test_the_kubeconfig_is_private(world: World) -> None:
    assert stat.S_IMODE(world.config.stat().st_mode) == 0o600


def test_a_port_in_use_is_said_in_words(world: World) -> None:
    async def start() -> None:
        taken = ApiServer(
            Store(), admission=FakeAdmission(), pods=FakePods(), port=world.server.port
        )
        await taken.start()

    with pytest.raises(ApiServerError, match=f"port {world.server.port} of 127.0.0.1 is in use"):
        asyncio.run(start())


def test_the_owner_may_serve_more(tmp_path: Path) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def ask() -> None:
        server = ApiServer(
            Store(),
            admission=FakeAdmission(),
            pods=FakePods(),
            extra_routes=[web.get("/files/hello", hello)],
        )
        await server.start()
        world.server = server
        server.kubeconfig(world.config)
        reply = await asyncio.to_thread(world.request, "GET", "/files/hello")
        assert (reply.status, reply.text) == (200, "hello")
        reply = await asyncio.to_thread(world.request, "GET", "/files/hello", token="no")
        assert reply.status == 401
        await server.stop()
        await server.stop()

    world = World(tmp_path)
    asyncio.run(ask())


def test_the_client_finds_its_way(api: client.ApiClient) -> None:
    found: Any = dynamic.DynamicClient(api)
    instances = found.resources.get(api_version="kubevirt.io/v1", kind="VirtualMachineInstance")
    assert instances.namespaced
    assert instances.name == "virtualmachineinstances"
    assert found.resources.get(kind="Node", api_version="v1").name == "nodes"


def test_versions_and_groups(world: World) -> None:
    assert world.request("GET", "/version").json["major"] == "1"
    groups = {entry["name"] for entry in world.request("GET", "/apis").json["groups"]}
    assert {"apps", "kubevirt.io", "authorization.k8s.io", "subresources.kubevirt.io"} <= groups
    assert world.request("GET", "/apis/absent.example").status == 404
    assert world.request("GET", "/apis/apps/v9").status == 404


def test_discovery_in_one_document(world: World) -> None:
    accept = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
    reply = world.request("GET", "/apis", accept=f"{accept},application/json")
    assert "as=APIGroupDiscoveryList" in (reply.headers["Content-Type"] or "")
    by_group = {entry["metadata"]["name"]: entry for entry in reply.json["items"]}
    resources = by_group["kubevirt.io"]["versions"][0]["resources"]
    assert {entry["resource"] for entry in resources} == {
        "kubevirts",
        "virtualmachineinstancemigrations",
        "virtualmachineinstancereplicasets",
        "virtualmachineinstances",
        "virtualmachines",
    }


def test_the_definitions_of_custom_resources_are_there(api: client.ApiClient) -> None:
    listed: Any = client.ApiextensionsV1Api(api).list_custom_resource_definition()
    assert {entry.metadata.name for entry in listed.items} == {
        "kubevirts.kubevirt.io",
        "virtualmachineclusterinstancetypes.instancetype.kubevirt.io",
        "virtualmachineclusterpreferences.instancetype.kubevirt.io",
        "virtualmachineinstancemigrations.kubevirt.io",
        "virtualmachineinstancereplicasets.kubevirt.io",
        "virtualmachineinstances.kubevirt.io",
        "virtualmachineinstancetypes.instancetype.kubevirt.io",
        "virtualmachinepools.pool.kubevirt.io",
        "virtualmachinepreferences.instancetype.kubevirt.io",
        "virtualmachines.kubevirt.io",
    }


def test_a_form_that_nobody_knows_is_not_acceptable(world: World) -> None:
    assert world.request("GET", "/api/v1/nodes", accept="text/html").status == 406


def test_a_body_has_its_limit(world: World) -> None:
    body = {"metadata": {"name": "a"}, "data": {"a": "x" * 4_000_000}}
    reply = world.request("POST", "/api/v1/namespaces/default/configmaps", body)
    assert (reply.status, reply.json["reason"]) == (413, "RequestEntityTooLarge")
