"""``status`` of a pod, from what the kubelet knows of its containers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from clusters.reference.apiserver.store import Object, now
from clusters.reference.conditions import set_condition
from clusters.reference.kubelet.pod_lifecycle import ContainerRecord, Role, is_ready


@dataclass(frozen=True)
class Addresses:
    """Addresses of the node and of the pod."""

    host: str
    pod: str


def pod_status(
    old: Object,
    records: Sequence[ContainerRecord],
    phase: str,
    addresses: Addresses,
    runtime: str,
) -> Object:
    """The new status; start time and transition times are kept from the old one."""
    status = copy.deepcopy(old)
    status["phase"] = phase
    status.setdefault("startTime", now())
    status["hostIP"] = addresses.host
    status["hostIPs"] = [{"ip": addresses.host}]
    if any(record.begun for record in records):
        status["podIP"] = addresses.pod
        status["podIPs"] = [{"ip": addresses.pod}]
    mains = [record for record in records if record.role is Role.MAIN]
    inits = [record for record in records if record.role is not Role.MAIN]
    if inits:
        status["initContainerStatuses"] = [_container(r, runtime, waits=False) for r in inits]
    waits = not all(is_ready(record) for record in inits)
    status["containerStatuses"] = [_container(r, runtime, waits=waits) for r in mains]
    over = phase in ("Succeeded", "Failed")
    ready = all(record.running for record in mains)
    initialized = all(is_ready(record) for record in inits) or any(r.begun for r in mains)
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    why = "" if ready else reason
    set_condition(status, "PodReadyToStartContainers", _flag(not over))
    set_condition(
        status,
        "Initialized",
        _flag(initialized),
        reason="" if initialized else "ContainersNotInitialized",
    )
    set_condition(status, "Ready", _flag(ready), reason=why)
    set_condition(status, "ContainersReady", _flag(ready), reason=why)
    set_condition(status, "PodScheduled", "True")
    return status


def _container(record: ContainerRecord, runtime: str, *, waits: bool) -> Object:
    entry: Object = {
        "name": record.name,
        "image": record.spec.get("image", ""),
        "imageID": f"embedded/{record.spec.get('image', '')}" if record.begun else "",
        "restartCount": record.restarts,
        "ready": is_ready(record),
        "started": record.running,
        "lastState": {},
    }
    if record.id:
        entry["containerID"] = runtime + record.id
    if record.running:
        entry["state"] = {"running": {"startedAt": record.started}}
    elif record.exit_code is not None:
        entry["state"] = {
            "terminated": {
                "exitCode": record.exit_code,
                "reason": "Completed" if record.exit_code == 0 else "Error",
                "startedAt": record.started,
                "finishedAt": record.finished,
                "containerID": runtime + record.id,
            }
        }
    else:
        reason = record.problem or ("PodInitializing" if waits else "ContainerCreating")
        entry["state"] = {"waiting": {"reason": reason}}
    return entry


def _flag(value: bool) -> str:
    return "True" if value else "False"
