"""API objects: pods, nodes, VMIs, events, refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conformance.model.evidence import (
    Container,
    Json,
    Migration,
    Pod,
    Rejection,
    Resources,
    Vmi,
)
from conformance.model.vocabulary import CONFIG_HASH, EVEN_PARITY, LAST_HEARTBEAT, SKIPS_LABELLER
from conformance.parsing.errors import ParseError
from conformance.parsing.moments import moment
from conformance.parsing.quantity import milli, whole

_RESIZES = ("PodResizePending", "PodResizeInProgress")
_KINDS = (("initContainers", "init"), ("containers", "container"))
_EPHEMERAL = (("ephemeralContainers", "ephemeral"),)


@dataclass(frozen=True)
class NodeObject:
    """What the API says of a node."""

    name: str
    labels: Mapping[str, str]
    allocatable_cpu_milli: int | None
    capacity_cpu_milli: int | None
    kubelet_version: str
    heartbeat: datetime | None
    ready: str | None
    ready_since: datetime | None
    skips_labeller: bool = False


def pod(obj: Json) -> Pod:
    """Reads a pod.

    Raises:
        ParseError: a member is missing or is not what the API promises.
    """
    source = f"pod {_name(obj)}"
    meta, spec, status = _part(obj, "metadata"), _part(obj, "spec"), obj.get("status") or {}
    states = {
        state["name"]: state
        for kind in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for state in status.get(kind) or ()
    }
    containers = [
        _container(item, role, states.get(item.get("name"), {}), source)
        for kind, role in (*_KINDS, *_EPHEMERAL)
        for item in spec.get(kind) or ()
    ]
    if not containers:
        raise ParseError("at least one container", str(spec), source)
    return Pod(
        namespace=_text(meta, "namespace", source),
        name=_text(meta, "name", source),
        uid=_text(meta, "uid", source),
        phase=status.get("phase", ""),
        qos_class=status.get("qosClass"),
        reason=_pod_reason(status),
        node=spec.get("nodeName"),
        labels=meta.get("labels") or {},
        node_selector=spec.get("nodeSelector") or {},
        containers=tuple(containers),
        affinity_labels=_affinity_labels(spec),
        static_uid=static_uid(meta),
        claims=tuple(claim.get("name", "") for claim in spec.get("resourceClaims") or ()),
        resizing=bool(status.get("resize"))
        or any(
            condition.get("type") in _RESIZES and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        leaving=bool(meta.get("deletionTimestamp")),
        admitted=status.get("startTime"),
    )


def static_uid(metadata: Json) -> str | None:
    """The UID that a static pod has on its node; the API shows a mirror with one of its own.

    Source: kubernetes pkg/kubelet/types, ConfigHashAnnotationKey.
    """
    value = (metadata.get("annotations") or {}).get(CONFIG_HASH)
    return str(value) if value else None


def _affinity_labels(spec: Json) -> Mapping[str, str]:
    """Labels that a required node affinity asks for in each of its terms, which are alternatives.

    Source: kubernetes core/v1, NodeSelectorTerm: expressions of a term are ANDed, terms ORed, and
    an empty term matches no node.
    """
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [
        {
            each["key"]: each["values"][0]
            for each in term.get("matchExpressions") or ()
            if each.get("operator") == "In" and len(each.get("values") or ()) == 1
        }
        for term in required.get("nodeSelectorTerms") or ()
        if term.get("matchExpressions") or term.get("matchFields")
    ]
    if not terms:
        return {}
    shared = set.intersection(*(set(term.items()) for term in terms))
    return dict(shared)


def _pod_reason(status: Mapping[str, Any]) -> str | None:
    """Why the pod is not well: its reason, its scheduling, what its containers wait for."""
    parts = [status[key] for key in ("reason", "message") if status.get(key)]
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            parts += [condition.get("reason", ""), condition.get("message", "")]
        # Who ended it: the scheduler, an eviction, a taint, the kubelet.
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            parts += [condition.get("reason", ""), condition.get("message", "")]
    for kind in ("initContainerStatuses", "containerStatuses"):
        parts += [_trouble(state) for state in status.get(kind) or ()]
    return ": ".join(part for part in parts if part) or None


def _trouble(state: Json) -> str:
    """What a container waits for, or how it failed; empty for one that is well."""
    waiting = (state.get("state") or {}).get("waiting")
    ended = (state.get("state") or {}).get("terminated")
    if waiting and waiting.get("reason") not in {None, "PodInitializing"}:
        former = (state.get("lastState") or {}).get("terminated")
        after = f" after it {_ended(former)}" if former else ""
        return f"container {state['name']} waits: {waiting['reason']}{after}"
    if ended and ended.get("exitCode"):
        return f"container {state['name']} {_ended(ended)}"
    return ""


def _ended(state: Json) -> str:
    """How a container ended: its exit code, the reason that the runtime gives, any message."""
    reason, message = state.get("reason"), state.get("message")
    words = f"ended with {state.get('exitCode')}" + (f" ({reason})" if reason else "")
    return f"{words}: {message.strip()}" if message else words


def _container(item: Json, role: str, state: Json, source: str) -> Container:
    name = _text(item, "name", source)
    if role == "init" and item.get("restartPolicy") == "Always":
        role = "restartable-init"
    resources = item.get("resources") or {}
    full_id = state.get("containerID") or ""
    current = state.get("state") or {}
    return Container(
        name=name,
        role=role,
        image=item.get("image", ""),
        requests=_resources(resources.get("requests"), f"{source} {name} requests"),
        limits=_resources(resources.get("limits"), f"{source} {name} limits"),
        id=container_id(full_id) or None,
        running="running" in current,
        restarts=state.get("restartCount", 0),
        started=(current.get("running") or {}).get("startedAt"),
        ended=(current.get("terminated") or {}).get("finishedAt"),
        trouble=_trouble(state),
    )


def container_id(text: str) -> str:
    """The id without its scheme, which is the runtime's name: ``containerd://``, ``cri-o://``."""
    return text.rpartition("://")[2]


def _resources(values: Json | None, source: str) -> Resources:
    values = values or {}
    return Resources(
        cpu_milli=milli(values["cpu"], f"{source}.cpu") if "cpu" in values else None,
        memory_bytes=whole(values["memory"], f"{source}.memory") if "memory" in values else None,
    )


def node(obj: Json) -> NodeObject:
    """Reads a node. Raises ParseError."""
    source = f"node {_name(obj)}"
    meta = _part(obj, "metadata")
    status = obj.get("status") or {}
    cpu, all_cpu = ((status.get(kind) or {}).get("cpu") for kind in ("allocatable", "capacity"))
    conditions = [c for c in status.get("conditions") or () if c.get("type") == "Ready"]
    ready: Json = conditions[0] if conditions else {}
    return NodeObject(
        name=_text(meta, "name", source),
        labels=meta.get("labels") or {},
        allocatable_cpu_milli=None if cpu is None else milli(cpu, f"{source} allocatable.cpu"),
        capacity_cpu_milli=None if all_cpu is None else milli(all_cpu, f"{source} capacity.cpu"),
        kubelet_version=(status.get("nodeInfo") or {}).get("kubeletVersion", ""),
        heartbeat=moment((meta.get("annotations") or {}).get(LAST_HEARTBEAT)),
        ready=ready.get("status"),
        ready_since=moment(ready.get("lastTransitionTime")),
        skips_labeller=SKIPS_LABELLER in (meta.get("annotations") or {}),
    )


def vmi(obj: Json) -> Vmi:
    """Reads a VirtualMachineInstance. Raises ParseError."""
    source = f"VMI {_name(obj)}"
    meta, status = _part(obj, "metadata"), obj.get("status") or {}
    domain = (obj.get("spec") or {}).get("domain") or {}
    return Vmi(
        namespace=_text(meta, "namespace", source),
        name=_text(meta, "name", source),
        uid=_text(meta, "uid", source),
        phase=status.get("phase", ""),
        node=status.get("nodeName"),
        conditions=conditions(obj),
        deleting="deletionTimestamp" in meta,
        reason=": ".join(str(status[key]) for key in ("reason", "message") if status.get(key)),
        reached=_reached(status),
        qos_class=status.get("qosClass"),
        even_parity=EVEN_PARITY in (meta.get("annotations") or {}),
        migration=_migration(status.get("migrationState") or {}),
        sockets=_number(domain.get("cpu") or {}, "sockets"),
        current_sockets=_number(status.get("currentCPUTopology") or {}, "sockets"),
    )


def _migration(state: Json) -> Migration | None:
    """Source: kubevirt api/core/v1/types.go, VirtualMachineInstanceMigrationState. It is written
    when the target pod is ready, and replaced by that of the next one."""
    if not state:
        return None
    uid, source, target, pod, reason = (
        str(state.get(key) or "")
        for key in ("migrationUid", "sourceNode", "targetNode", "targetPod", "failureReason")
    )
    completed, failed = state.get("completed") is True, state.get("failed") is True
    ended = moment(state.get("endTimestamp"))
    return Migration(uid, source, target, pod, completed, failed, reason, ended)


def conditions(obj: Json) -> dict[str, str]:
    """``STATUS REASON: MESSAGE`` by type, of the conditions in the status of an object."""
    return {
        condition.get("type", ""): _condition(condition)
        for condition in (obj.get("status") or {}).get("conditions") or ()
    }


def _reached(status: Json) -> dict[str, datetime | None]:
    """When it came to each phase. Where a migration brought it, it runs since that ended: then
    the other node's virt-handler takes it over."""
    found = {
        str(each.get("phase")): moment(each.get("phaseTransitionTimestamp"))
        for each in status.get("phaseTransitionTimestamps") or ()
    }
    moved = moment((status.get("migrationState") or {}).get("endTimestamp"))
    if moved is not None and status.get("phase") == "Running":
        found["Running"] = max(found.get("Running") or moved, moved)
    return found


def _condition(condition: Json) -> str:
    words = [condition.get("status", ""), condition.get("reason", "")]
    head = " ".join(word for word in words if word)
    return f"{head}: {condition['message']}" if condition.get("message") else head


def rejection(obj: Json) -> Rejection:
    """Reads how a creation was refused: a ``Status``, or what came instead of one.

    A proxy, or an API server that serves no such path, answers with a text or a page: that is
    recorded as ``{"code": 404, "message": "404 page not found"}``. Of causes what is none is
    left out.

    Raises:
        ParseError: it is no refusal.
    """
    kind, code = obj.get("kind", "Status"), obj.get("code")
    if kind != "Status" or isinstance(code, bool) or not isinstance(code, int) or code < 400:
        raise ParseError("a Status with a code of failure", str(dict(obj)), "the API's refusal")
    details = obj.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    return Rejection(
        code=code,
        reason=_words(obj, "reason"),
        message=_words(obj, "message"),
        causes=tuple(
            (_words(cause, "field"), _words(cause, "message"))
            for cause in (causes if isinstance(causes, list) else ())
            if isinstance(cause, Mapping)
        ),
    )


def _words(obj: Json, key: str) -> str:
    value = obj.get(key)
    return value.strip() if isinstance(value, str) else ""


def events(objects: Iterable[Json]) -> tuple[str, ...]:
    """One line an event, oldest first: ``KIND NAME REASON: MESSAGE``."""
    lines = sorted(
        (
            event.get("lastTimestamp") or event.get("eventTime") or "",
            f"{_involved(event)} {event.get('reason', '')}: {event.get('message', '')}",
        )
        for event in objects
    )
    return tuple(line for _time, line in lines)


def _involved(event: Json) -> str:
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '')} {about.get('name', '')}"


def _name(obj: Json) -> str:
    meta = obj.get("metadata") or {}
    return "/".join(str(meta[key]) for key in ("namespace", "name") if meta.get(key)) or "?"


def _part(obj: Json, key: str) -> Json:
    value = obj.get(key)
    if not isinstance(value, dict):
        raise ParseError(f"an object with {key}", str(dict(obj)), _name(obj))
    return value


def _number(obj: Json, key: str) -> int | None:
    value = obj.get(key)
    return value if type(value) is int else None


def _text(obj: Json, key: str, source: str) -> str:
    value = obj.get(key)
    if not isinstance(value, str) or not value:
        raise ParseError(f"{key} as text", str(dict(obj)), source)
    return value
