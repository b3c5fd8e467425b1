"""Why a deployment does not become available: what its pods, replicas and events say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.kit.api import Api, ApiError

EVENTS_SHOWN = 5
LONGEST_SHOWN = 300


def holds(conditions: Mapping[str, Mapping[str, Any]], type_: str) -> bool:
    """Whether a condition is true."""
    return conditions.get(type_, {}).get("status") == "True"


@dataclass(frozen=True)
class PodTrouble:
    """Why a pod is not ready."""

    pod: str
    container: str
    reason: str
    message: str

    def __str__(self) -> str:
        container = f" ({self.container})" if self.container else ""
        said = f": {self.message}" if self.message else ""
        return f"{self.pod}{container}: {self.reason}{said}"[:LONGEST_SHOWN]


def pod_troubles(pods: Sequence[Mapping[str, Any]]) -> Iterator[PodTrouble]:
    """The first reason of each pod that is not ready; from its containers, else its conditions."""
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        conditions = {found["type"]: found for found in status.get("conditions") or ()}
        if holds(conditions, "Ready") or status.get("phase") == "Succeeded":
            continue
        found = next(_waiting(name, status), None)
        if found is None:
            unmet: Mapping[str, Any] = next(
                (c for c in conditions.values() if c.get("status") != "True"), {}
            )
            reason = unmet.get("reason") or status.get("phase") or "no kubelet has seen it"
            found = PodTrouble(name, "", reason, unmet.get("message") or "")
        yield found


def _waiting(pod: str, status: Mapping[str, Any]) -> Iterator[PodTrouble]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            state = container.get("state") or {}
            said = state.get("waiting") or {}
            # What it said last time explains why it waits to be started again.
            last = (container.get("lastState") or {}).get("terminated") or {}
            ended = state.get("terminated") or {}
            if said:
                message = said.get("message") or last.get("message") or ""
                yield PodTrouble(pod, container["name"], said.get("reason") or "waiting", message)
            elif ended and ended.get("exitCode"):
                message = ended.get("message") or f"exit code {ended['exitCode']}"
                yield PodTrouble(pod, container["name"], ended.get("reason") or "ended", message)


def why(api: Api, namespace: str) -> Iterator[str]:
    """What operator, pods and events say, each as far as it can be had."""
    for path, tell in (
        (f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment_troubles),
        (f"/api/v1/namespaces/{namespace}/pods", _pods),
        (f"/api/v1/namespaces/{namespace}/events", warnings),
    ):
        try:
            yield from tell(api.items(path))
        except ApiError as error:
            yield str(error)


def deployment_troubles(deployments: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Which deployments lack replicas, and what they say."""
    for deployment in deployments:
        status = deployment.get("status") or {}
        wanted = (deployment.get("spec") or {}).get("replicas", 1)
        ready = status.get("availableReplicas", 0)
        if ready < wanted:
            unmet = [c for c in status.get("conditions") or () if c.get("status") != "True"]
            said = f": {unmet[0].get('message', '')}" if unmet else ""
            name = deployment["metadata"]["name"]
            yield f"deployment {name} has {ready} of {wanted} replicas{said}"


def _pods(pods: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    return (f"pod {trouble}" for trouble in pod_troubles(pods))


def warnings(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The last warnings among events."""
    found = [event for event in events if event.get("type") == "Warning"]
    found.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    for event in found[-EVENTS_SHOWN:]:
        about = event.get("involvedObject") or {}
        said = f"{event.get('reason')}: {event.get('message')}"[:LONGEST_SHOWN]
        yield f"event of {about.get('kind')} {about.get('name')}: {said}"
