"""Which container of a pod a request for logs or exec means."""

from __future__ import annotations

from typing import Any

from clusters.reference.apiserver.errors import StatusError, bad_request

Object = dict[str, Any]

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def container_of(pod: Object, asked: str) -> str:
    """The asked container, else the pod's default, else its only one. Raises StatusError 400."""
    name = pod["metadata"]["name"]
    mains = _names(pod, "containers")
    inits = _names(pod, "initContainers")
    known = [*mains, *inits, *_names(pod, "ephemeralContainers")]
    if asked:
        if asked not in known:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    default = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if default in known:
        return str(default)
    if len(mains) == 1:
        return mains[0]
    message = (
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(mains)}]"
    )
    if inits:
        message += f" or one of the init containers: [{' '.join(inits)}]"
    raise bad_request(message)


def not_started(pod: Object, container: str) -> StatusError:
    """400: the container has not printed anything because it has not begun."""
    name = pod["metadata"]["name"]
    reason = (status_of(pod, container).get("state") or {}).get("waiting", {}).get("reason")
    if not pod["spec"].get("nodeName"):
        return bad_request(f"pod {name} does not have a host assigned")
    return bad_request(
        f'container "{container}" in pod "{name}" is waiting to start: '
        f"{reason or 'ContainerCreating'}"
    )


def has_ended(pod: Object, container: str) -> bool:
    """Whether nothing more will come out of the container."""
    if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return True
    return "terminated" in (status_of(pod, container).get("state") or {})


def status_of(pod: Object, container: str) -> Object:
    """The status of a container; empty when the kubelet has not told any."""
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(key) or ():
            if entry["name"] == container:
                found: Object = entry
                return found
    return {}


def _names(pod: Object, key: str) -> list[str]:
    return [container["name"] for container in pod["spec"].get(key) or ()]
