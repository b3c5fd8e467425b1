"""READY, STATUS and RESTARTS of a pod, as `kubectl get pods` shows them.

The rules are those of printPod in kubernetes pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class PodState:
    """A pod in one line.

    Attributes:
        reason: what STATUS says, such as ``Init:0/1`` or ``Running``.
        ready: containers that are ready, restartable init containers among them.
        containers: containers that should be.
        last_restart: when a container last ended to be restarted; empty if never.
    """

    reason: str
    ready: int
    containers: int
    restarts: int
    last_restart: str


def pod_state(pod: Object) -> PodState:
    """Sums up spec and status of a pod."""
    spec, status = pod["spec"], pod.get("status") or {}
    init_specs = {entry["name"]: entry for entry in spec.get("initContainers") or ()}
    inits = status.get("initContainerStatuses") or []
    sidecars = [entry for entry in inits if _is_sidecar(init_specs.get(entry["name"], {}))]
    mains = status.get("containerStatuses") or []

    reason = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or ():
        gated = condition.get("reason") == "SchedulingGated"
        if condition["type"] == "PodScheduled" and gated:
            reason = "SchedulingGated"

    init_reason = _init_reason(inits, init_specs)
    if init_reason and not _is_true(status, "Initialized"):
        reason = init_reason
        counted = inits
    else:
        reason = _main_reason(reason, mains, status)
        counted = [*sidecars, *mains]

    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in {"Succeeded", "Failed"}:
            reason = "Terminating"
    ended = [
        entry["lastState"]["terminated"]["finishedAt"]
        for entry in counted
        if (entry.get("lastState") or {}).get("terminated", {}).get("finishedAt")
    ]
    return PodState(
        reason=reason,
        ready=sum(_is_ready(entry) for entry in [*sidecars, *mains]),
        containers=len(spec.get("containers") or ()) + sum(map(_is_sidecar, init_specs.values())),
        restarts=sum(entry.get("restartCount") or 0 for entry in counted),
        last_restart=max(ended, default=""),
    )


def _init_reason(inits: list[Object], specs: dict[str, Object]) -> str:
    """What the first init container that has not done its part says; empty if all have."""
    for index, entry in enumerate(inits):
        state = entry.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if _is_sidecar(specs.get(entry["name"], {})) and entry.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_terminated_reason(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(specs)}"
    return ""


def _main_reason(reason: str, mains: list[Object], status: Object) -> str:
    has_running = False
    for entry in reversed(mains):
        state = entry.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if waiting.get("reason"):
            reason = str(waiting["reason"])
        elif terminated is not None:
            reason = _terminated_reason(terminated)
        elif _is_ready(entry):
            has_running = True
    if reason == "Completed" and has_running:
        return "Running" if _is_true(status, "Ready") else "NotReady"
    return reason


def _terminated_reason(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def _is_ready(entry: Object) -> bool:
    return bool(entry.get("ready")) and "running" in (entry.get("state") or {})


def _is_true(status: Object, condition: str) -> bool:
    return any(
        entry["type"] == condition and entry["status"] == "True"
        for entry in status.get("conditions") or ()
    )
