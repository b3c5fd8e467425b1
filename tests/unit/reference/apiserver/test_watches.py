"""Watches, as clients and informers use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes.client import ApiException

from clusters.reference.apiserver import store
from clusters.reference.apiserver.resources import CONFIG_MAP
from tests.unit.reference.apiserver.world import World, running_pod

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def add(world: World, name: str, **labels: str) -> dict[str, Any]:
    body = {"metadata": {"name": name, "labels": labels}}
    added: dict[str, Any] = world.request("POST", CONFIG_MAPS, body).json
    return added


def label(world: World, name: str, **labels: str | None) -> None:
    world.request(
        "PATCH",
        f"{CONFIG_MAPS}/{name}",
        {"metadata": {"labels": labels}},
        content_type="application/merge-patch+json",
    )


def seen(
    world: World, query: str, accept: str = "application/json", path: str = CONFIG_MAPS
) -> list[tuple[str, Any]]:
    """Events of a watch that ends after a second."""
    reply = world.request("GET", f"{path}?watch=true&timeoutSeconds=1&{query}", accept=accept)
    assert reply.status == 200
    lines = [json.loads(line) for line in reply.text.splitlines()]
    return [(line["type"], line["object"]) for line in lines]


def names(events: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(type_, obj["metadata"]["name"]) for type_, obj in events]


def test_a_watch_begins_with_what_exists(world: World) -> None:
    add(world, "a")
    assert names(seen(world, "")) == [("ADDED", "a")]
    assert names(seen(world, "resourceVersion=0")) == [("ADDED", "a")]


def test_a_watch_goes_on_from_a_list(world: World) -> None:
    add(world, "a")
    version = world.request("GET", CONFIG_MAPS).json["metadata"]["resourceVersion"]
    add(world, "b")
    label(world, "b", x="1")
    world.request("DELETE", f"{CONFIG_MAPS}/a")
    assert names(seen(world, f"resourceVersion={version}")) == [
        ("ADDED", "b"),
        ("MODIFIED", "b"),
        ("DELETED", "a"),
    ]


def test_objects_enter_and_leave_a_selection(world: World) -> None:
    version = add(world, "a", mood="sad")["metadata"]["resourceVersion"]
    label(world, "a", mood="happy")
    label(world, "a", other="x")
    label(world, "a", mood=None)
    events = seen(world, f"resourceVersion={version}&labelSelector=mood%3Dhappy")
    assert [type_ for type_, _ in events] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_sees_its_namespace_alone(world: World) -> None:
    add(world, "a")
    assert seen(world, "", path="/api/v1/namespaces/kubevirt/configmaps") == []
    assert names(seen(world, "", path="/api/v1/configmaps")) == [("ADDED", "a")]


def test_bookmarks_tell_the_version(world: World) -> None:
    add(world, "a")
    world.request("POST", "/api/v1/namespaces/kubevirt/configmaps", {"metadata": {"name": "b"}})
    ((_, _), (type_, mark)) = seen(world, "allowWatchBookmarks=true")
    assert type_ == "BOOKMARK"
    assert int(mark["metadata"]["resourceVersion"]) == world.do(lambda: world.store.version)


def test_initial_events_end_with_a_mark(world: World) -> None:
    add(world, "a")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = seen(world, query)
    assert [type_ for type_, _ in events[:2]] == ["ADDED", "BOOKMARK"]
    assert events[1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_version_that_is_forgotten_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "HISTORY", 3)
    with World(tmp_path).running() as world:
        for number in range(5):
            add(world, f"a{number}")
        ((type_, status),) = seen(world, "resourceVersion=1")
        assert (type_, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        with config.new_client_from_config(str(world.config)) as api:
            core: Any = client.CoreV1Api(api)
            events = watch.Watch().stream(
                core.list_namespaced_config_map, "default", resource_version="1", timeout_seconds=1
            )
            with pytest.raises(ApiException) as gone:
                list(events)
        assert gone.value.status == 410


def test_the_client_s_watch_stops_when_it_has_seen_enough(world: World, core: Any) -> None:
    watcher = watch.Watch()
    phases = []
    world.run_pod(running_pod("a"))
    for event in watcher.stream(core.list_namespaced_pod, "default", timeout_seconds=20):
        phases.append(event["object"].status.phase)
        if phases[-1] == "Succeeded":
            watcher.stop()
        else:
            status = {"status": {"phase": "Succeeded"}}
            core.patch_namespaced_pod_status("a", "default", status)
    assert phases == ["Running", "Succeeded"]


def test_rows_are_watched_as_tables(world: World) -> None:
    add(world, "a")
    add(world, "b")
    (_, first), (_, second) = seen(world, "", accept=f"{TABLE},application/json")
    assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["columnDefinitions"] == []
    assert second["rows"][0]["cells"][:2] == ["b", 0]


def test_a_watch_ends_with_the_server(world: World, core: Any) -> None:
    add(world, "a")
    events = watch.Watch().stream(core.list_namespaced_config_map, "default", timeout_seconds=20)
    assert next(events)["object"].metadata.name == "a"
    world.wait(world.server.stop())
    assert world.do(lambda: len(world.store._subscriptions)) == 1  # The namespace controller's.


def test_nobody_is_left_behind_when_a_client_goes(world: World, core: Any) -> None:
    before = world.do(lambda: len(world.store._subscriptions))
    watcher = watch.Watch()
    add(world, "a")
    for _ in watcher.stream(core.list_namespaced_config_map, "default"):
        watcher.stop()
    core.api_client.close()
    world.do(lambda: world.store.create(CONFIG_MAP, {"metadata": {"name": "b"}}))
    world.settle(lambda: world.do(lambda: len(world.store._subscriptions)) == before)
