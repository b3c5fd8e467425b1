"""What the kubelet does next follows from the states of the containers alone."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.reference.kubelet.pod_lifecycle import (
    ContainerRecord,
    Finish,
    Start,
    Wait,
    next_step,
    phase_of,
    records_of,
)

SPEC = {
    "initContainers": [
        {"name": "log", "restartPolicy": "Always"},
        {"name": "copy"},
    ],
    "containers": [{"name": "compute"}, {"name": "sidecar"}],
}


def records(**states: dict[str, Any]) -> list[ContainerRecord]:
    found = records_of(SPEC)
    for record in found:
        for name, value in states.get(record.name, {}).items():
            setattr(record, name, value)
    return found


def running() -> dict[str, Any]:
    return {"id": "1", "running": True}


def ended(code: int, **more: Any) -> dict[str, Any]:
    return {"id": "1", "exit_code": code, **more}


def started(states: dict[str, dict[str, Any]], policy: str = "Never", time: float = 0.0) -> object:
    step = next_step(records(**states), policy, time)
    return step.record.name if isinstance(step, Start) else step


def test_containers_start_in_order() -> None:
    assert started({}) == "log"
    assert started({"log": running()}) == "copy"
    assert started({"log": running(), "copy": running()}) == Wait()
    ready = {"log": running(), "copy": ended(0)}
    assert started(ready) == "compute"
    assert started({**ready, "compute": running()}) == "sidecar"
    assert started({**ready, "compute": running(), "sidecar": running()}) == Wait()


def test_a_failed_init_container_ends_the_pod_or_is_tried_again() -> None:
    states = {"log": running(), "copy": ended(1)}
    assert started(states) == Finish("Failed")
    assert started(states, "Always") == "copy"


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
def test_the_pod_is_over_with_its_main_containers(code: int, phase: str) -> None:
    states = {"log": running(), "copy": ended(0), "compute": ended(0), "sidecar": ended(code)}
    assert started(states) == Finish(phase)


def test_a_sidecar_init_container_always_comes_back() -> None:
    states = {"log": ended(1), "copy": ended(0), "compute": running(), "sidecar": running()}
    assert started(states) == "log"


def test_restarts_wait_longer_and_longer() -> None:
    alive = {"log": running(), "copy": ended(0), "sidecar": running()}
    assert started({**alive, "compute": ended(1)}, "Always") == "compute"
    again = {**alive, "compute": ended(1, restarts=2, ended_at=100.0)}
    assert started(again, "Always", 105.0) == Wait(15.0)
    assert started(again, "Always", 120.0) == "compute"
    assert started(again, "OnFailure", 120.0) == "compute"
    assert started({**again, "compute": ended(0)}, "OnFailure") == Wait()


def test_what_cannot_be_pulled_is_waited_for() -> None:
    assert started({"log": {"problem": "ImagePullBackOff"}}) == Wait()
    blocked = {"log": running(), "copy": ended(0), "compute": {"problem": "ErrImagePull"}}
    assert started(blocked) == "sidecar"


def test_a_pod_runs_once_a_main_container_has() -> None:
    assert phase_of(records(log=running())) == "Pending"
    assert phase_of(records(compute=running())) == "Running"
