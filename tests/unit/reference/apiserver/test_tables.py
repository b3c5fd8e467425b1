"""What `kubectl get` prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clusters.reference.apiserver.pod_state import pod_state
from clusters.reference.apiserver.resources import VMI
from clusters.reference.apiserver.tables import age, table
from tests.unit.reference.apiserver.world import World, running_pod, vmi

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def rows(world: World, path: str, *, wide: bool = False) -> list[dict[str, Any]]:
    shown = world.request("GET", path, accept=TABLE).json
    columns = shown["columnDefinitions"]
    return [
        {
            column["name"]: cell
            for column, cell in zip(columns, row["cells"], strict=True)
            if wide or column["priority"] == 0
        }
        for row in shown["rows"]
    ]


def status(name: str, ready: bool = False, **state: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": 0, "state": state}


def pod(
    *,
    inits: list[dict[str, Any]] | None = None,
    mains: list[dict[str, Any]] | None = None,
    init_specs: list[dict[str, Any]] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": "a", **fields.pop("metadata", {})},
        "spec": {"containers": [{"name": "main"}], "initContainers": init_specs or []},
        "status": {
            "phase": "Pending",
            "initContainerStatuses": inits or [],
            "containerStatuses": mains or [],
            **fields,
        },
    }


RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("shown", "described"),
    [
        ("Pending", pod()),
        ("Running", pod(phase="Running", mains=[status("main", ready=True, **RUNNING)])),
        (
            "ContainerCreating",
            pod(mains=[status("main", waiting={"reason": "ContainerCreating"})]),
        ),
        ("ErrImagePull", pod(mains=[status("main", waiting={"reason": "ErrImagePull"})])),
        ("CrashLoopBackOff", pod(mains=[status("main", waiting={"reason": "CrashLoopBackOff"})])),
        (
            "Completed",
            pod(
                phase="Succeeded",
                mains=[status("main", terminated={"exitCode": 0, "reason": "Completed"})],
            ),
        ),
        (
            "Error",
            pod(
                phase="Failed",
                mains=[status("main", terminated={"exitCode": 1, "reason": "Error"})],
            ),
        ),
        ("ExitCode:3", pod(phase="Failed", mains=[status("main", terminated={"exitCode": 3})])),
        (
            "Init:0/2",
            pod(
                init_specs=[{"name": "i"}, {"name": "j"}],
                inits=[
                    status("i", waiting={"reason": "PodInitializing"}),
                    status("j", waiting={"reason": "PodInitializing"}),
                ],
            ),
        ),
        (
            "Init:1/2",
            pod(
                init_specs=[{"name": "i"}, {"name": "j"}],
                inits=[status("i", terminated={"exitCode": 0}), status("j", **RUNNING)],
            ),
        ),
        (
            "Init:1/2",
            pod(
                init_specs=[{"name": "i", "restartPolicy": "Always"}, {"name": "j"}],
                inits=[{**status("i", **RUNNING), "started": True}, status("j", **RUNNING)],
            ),
        ),
        (
            "Init:Error",
            pod(
                init_specs=[{"name": "i"}],
                inits=[status("i", terminated={"exitCode": 1, "reason": "Error"})],
            ),
        ),
        (
            "PodInitializing",
            pod(
                init_specs=[{"name": "i"}],
                inits=[status("i", terminated={"exitCode": 0})],
                mains=[status("main", waiting={"reason": "PodInitializing"})],
            ),
        ),
        (
            "Terminating",
            pod(phase="Running", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        ),
        (
            "Completed",
            pod(
                phase="Succeeded",
                metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"},
                mains=[status("main", terminated={"exitCode": 0, "reason": "Completed"})],
            ),
        ),
        ("UnexpectedAdmissionError", pod(phase="Failed", reason="UnexpectedAdmissionError")),
    ],
)
def test_the_status_of_a_pod(shown: str, described: dict[str, Any]) -> None:
    assert pod_state(described).reason == shown


def test_sidecars_count_as_containers() -> None:
    state = pod_state(
        pod(
            phase="Running",
            init_specs=[{"name": "log", "restartPolicy": "Always"}, {"name": "setup"}],
            inits=[
                {**status("log", ready=True, **RUNNING), "started": True},
                status("setup", terminated={"exitCode": 0}),
            ],
            mains=[status("main", ready=True, **RUNNING)],
        )
    )
    assert (state.ready, state.containers, state.reason) == (2, 2, "Running")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 120, "3h2m"),
        (9 * 3600, "9h"),
        (50 * 3600, "2d2h"),
        (30 * 86400, "30d"),
        (3 * 365 * 86400 + 5 * 86400, "3y5d"),
    ],
)
def test_an_age(seconds: int, shown: str) -> None:
    born = datetime(2026, 1, 1, tzinfo=UTC)
    then = born + timedelta(seconds=seconds)
    assert age("2026-01-01T00:00:00Z", now=then) == shown


def test_no_age_without_a_birthday() -> None:
    assert age(None) == "<unknown>"


def test_nodes(world: World) -> None:
    world.do(world.add_node)
    (row,) = rows(world, "/api/v1/nodes", wide=True)
    del row["Age"]
    assert row == {
        "Name": "node-1",
        "Status": "Ready",
        "Roles": "worker",
        "Version": "v1.32.4",
        "Internal-IP": "10.1.1.1",
        "External-IP": "<none>",
        "OS-Image": "Debian",
        "Kernel-Version": "6.12",
        "Container-Runtime": "crun://1.2",
    }


def test_pods(world: World) -> None:
    world.run_pod(running_pod("a"))
    (row,) = rows(world, "/api/v1/pods", wide=True)
    del row["Age"]
    assert row == {
        "Name": "a",
        "Ready": "1/1",
        "Status": "Running",
        "Restarts": "0",
        "IP": "10.0.0.7",
        "Node": "node-1",
        "Nominated Node": "<none>",
        "Readiness Gates": "<none>",
    }


def test_vmis(world: World) -> None:
    path = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
    world.request("POST", path, vmi("a"))
    world.mutate(
        VMI,
        "a",
        "default",
        phase="Running",
        nodeName="node-1",
        interfaces=[{"ipAddress": "10.0.0.9"}],
        conditions=[{"type": "Ready", "status": "True"}],
    )
    (row,) = rows(world, path)
    del row["Age"]
    assert row == {
        "Name": "a",
        "Phase": "Running",
        "IP": "10.0.0.9",
        "NodeName": "node-1",
        "Ready": "True",
    }
    assert {"Live-Migratable", "Paused"} <= set(rows(world, path, wide=True)[0])


@pytest.mark.parametrize("include", ["None", "Metadata", "Object"])
def test_rows_carry_as_much_of_the_object_as_asked(world: World, include: str) -> None:
    world.run_pod(running_pod("a"))
    path = f"/api/v1/namespaces/default/pods?includeObject={include}"
    (row,) = world.request("GET", path, accept=TABLE).json["rows"]
    kinds = {"None": None, "Metadata": "PartialObjectMetadata", "Object": "Pod"}
    assert row.get("object", {}).get("kind") == kinds[include]


def test_an_unknown_kind_has_a_name_and_a_date() -> None:
    obj = {"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    shown = table("Teapot", [obj], metadata={})
    assert shown["rows"][0]["cells"] == ["a", "2026-01-01T00:00:00Z"]
