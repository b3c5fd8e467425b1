"""Objects as rows of a Table, which is what `kubectl get` prints.

Columns and cells are upstream's: kubernetes pkg/printers/internalversion/printers.go, and
the additionalPrinterColumns of KubeVirt's custom resources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from clusters.reference.apiserver.pod_state import pod_state

Object = dict[str, Any]
Include = Literal["None", "Metadata", "Object"]

NONE = "<none>"


@dataclass(frozen=True)
class Column:
    """One column; those that are not `wide` are always shown."""

    name: str
    cell: Callable[[Object], Any]
    wide: bool = False
    type: str = "string"


def table(
    kind: str,
    objects: Sequence[Object],
    *,
    metadata: Object,
    include: Include = "Metadata",
    header: bool = True,
) -> Object:
    """A meta.k8s.io/v1 Table of objects of one kind.

    Args:
        kind: kind of the objects.
        objects: the rows.
        metadata: metadata of the list.
        include: how much of each object goes along with its row.
        header: whether the columns are described; later events of a watch leave it out.
    """
    columns = _COLUMNS.get(kind, _DEFAULT)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns] if header else [],
        "rows": [
            {
                "cells": [column.cell(obj) for column in columns],
                **_included(obj, include),
            }
            for obj in objects
        ],
    }


def _metadata(obj: Object) -> Object:
    """An object as PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def age(timestamp: str | None, *, now: datetime | None = None) -> str:
    """Time since a timestamp as kubectl writes it: ``45s``, ``3m12s``, ``2d4h``.

    apimachinery/pkg/util/duration.HumanDuration.
    """
    if not timestamp:
        return "<unknown>"
    now = now or datetime.now(UTC)
    seconds = int((now - datetime.fromisoformat(timestamp)).total_seconds())
    if seconds < 0:
        return "0s" if seconds >= -1 else "<invalid>"
    return _duration(seconds)


def _duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for limit, whole, unit, rest, rest_unit in (
        (120, seconds, "s", 0, ""),
        (600, minutes, "m", seconds % 60, "s"),
        (3 * 3600, minutes, "m", 0, ""),
        (8 * 3600, hours, "h", minutes % 60, "m"),
        (48 * 3600, hours, "h", 0, ""),
        (8 * 86400, days, "d", hours % 24, "h"),
        (2 * 365 * 86400, days, "d", 0, ""),
    ):
        if seconds < limit:
            return f"{whole}{unit}{rest}{rest_unit}" if rest else f"{whole}{unit}"
    return f"{days // 365}y{days % 365}d"


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column.name == "Name" else "",
        "description": "",
        "priority": 1 if column.wide else 0,
    }


def _included(obj: Object, include: Include) -> Object:
    if include == "None":
        return {}
    return {"object": obj if include == "Object" else _metadata(obj)}


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Object) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def _at(*path: str, missing: Any = "") -> Callable[[Object], Any]:
    def cell(obj: Object) -> Any:
        value: Any = obj
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return missing if value is None or value == "" else value

    return cell


def _condition(name: str, *, missing: str = "") -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        for condition in obj.get("status", {}).get("conditions") or ():
            if condition["type"] == name:
                return str(condition["status"])
        return missing

    return cell


def _node_status(node: Object) -> str:
    ready = _condition("Ready")(node)
    states = [{"True": "Ready", "": "Unknown"}.get(ready, "NotReady")]
    if node.get("spec", {}).get("unschedulable"):
        states.append("SchedulingDisabled")
    return ",".join(states)


def _node_roles(node: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles - {""})) or NONE


def _node_address(kind: str) -> Callable[[Object], str]:
    def cell(node: Object) -> str:
        for address in node.get("status", {}).get("addresses") or ():
            if address["type"] == kind:
                return str(address["address"])
        return NONE

    return cell


def _node_info(key: str) -> Callable[[Object], Any]:
    return _at("status", "nodeInfo", key, missing="<unknown>")


def _readiness_gates(pod: Object) -> str:
    gates = pod["spec"].get("readinessGates") or ()
    if not gates:
        return NONE
    true = [_condition(gate["conditionType"])(pod) for gate in gates].count("True")
    return f"{true}/{len(gates)}"


def _pod_restarts(pod: Object) -> str:
    state = pod_state(pod)
    if state.last_restart:
        return f"{state.restarts} ({age(state.last_restart)} ago)"
    return str(state.restarts)


def _event_object(event: Object) -> str:
    about = event["involvedObject"]
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    return ", ".join(part for part in (component, source.get("host")) if part)


def _event_age(key: str) -> Callable[[Object], str]:
    def cell(event: Object) -> str:
        when = event.get(key) or event.get("eventTime") or event["metadata"]["creationTimestamp"]
        return age(when)

    return cell


def _pairs(*path: str) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        pairs = _at(*path, missing={})(obj)
        return ",".join(f"{key}={value}" for key, value in sorted(pairs.items())) or NONE

    return cell


def _templates(key: str) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        containers = _at("spec", "template", "spec", "containers", missing=[])(obj)
        return ",".join(str(container.get(key, "")) for container in containers)

    return cell


def _first_ip(vmi: Object) -> str:
    interfaces = vmi.get("status", {}).get("interfaces") or [{}]
    return str(interfaces[0].get("ipAddress") or "")


def _count(key: str) -> Callable[[Object], int]:
    return lambda obj: len(obj.get(key) or ())


_NAME = Column("Name", _name)
_AGE = Column("Age", _age)
_DEFAULT = (_NAME, Column("Created At", lambda obj: obj["metadata"].get("creationTimestamp")))

_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "Node": (
        _NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        _AGE,
        Column("Version", _at("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _node_address("InternalIP"), wide=True),
        Column("External-IP", _node_address("ExternalIP"), wide=True),
        Column("OS-Image", _node_info("osImage"), wide=True),
        Column("Kernel-Version", _node_info("kernelVersion"), wide=True),
        Column("Container-Runtime", _node_info("containerRuntimeVersion"), wide=True),
    ),
    "Pod": (
        _NAME,
        Column("Ready", lambda pod: f"{pod_state(pod).ready}/{pod_state(pod).containers}"),
        Column("Status", lambda pod: pod_state(pod).reason),
        Column("Restarts", _pod_restarts),
        _AGE,
        Column("IP", _at("status", "podIP", missing=NONE), wide=True),
        Column("Node", _at("spec", "nodeName", missing=NONE), wide=True),
        Column("Nominated Node", _at("status", "nominatedNodeName", missing=NONE), wide=True),
        Column("Readiness Gates", _readiness_gates, wide=True),
    ),
    "Namespace": (_NAME, Column("Status", _at("status", "phase")), _AGE),
    "ConfigMap": (
        _NAME,
        Column("Data", lambda obj: _count("data")(obj) + _count("binaryData")(obj), type="integer"),
        _AGE,
    ),
    "Secret": (
        _NAME,
        Column("Type", _at("type")),
        Column("Data", _count("data"), type="integer"),
        _AGE,
    ),
    "ServiceAccount": (_NAME, Column("Secrets", _count("secrets"), type="integer"), _AGE),
    "Lease": (_NAME, Column("Holder", _at("spec", "holderIdentity")), _AGE),
    "Event": (
        Column("Last Seen", _event_age("lastTimestamp")),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _event_object),
        Column("Subobject", _at("involvedObject", "fieldPath"), wide=True),
        Column("Source", _event_source, wide=True),
        Column("Message", lambda event: str(event.get("message", "")).strip()),
        Column("First Seen", _event_age("firstTimestamp"), wide=True),
        Column("Count", _at("count", missing=1), wide=True, type="integer"),
        Column("Name", _name, wide=True),
    ),
    "DaemonSet": (
        _NAME,
        Column("Desired", _at("status", "desiredNumberScheduled", missing=0), type="integer"),
        Column("Current", _at("status", "currentNumberScheduled", missing=0), type="integer"),
        Column("Ready", _at("status", "numberReady", missing=0), type="integer"),
        Column("Up-to-date", _at("status", "updatedNumberScheduled", missing=0), type="integer"),
        Column("Available", _at("status", "numberAvailable", missing=0), type="integer"),
        Column("Node Selector", _pairs("spec", "template", "spec", "nodeSelector")),
        _AGE,
        Column("Containers", _templates("name"), wide=True),
        Column("Images", _templates("image"), wide=True),
        Column("Selector", _pairs("spec", "selector", "matchLabels"), wide=True),
    ),
    "VirtualMachineInstance": (
        _NAME,
        _AGE,
        Column("Phase", _at("status", "phase")),
        Column("IP", _first_ip),
        Column("NodeName", _at("status", "nodeName")),
        Column("Ready", _condition("Ready")),
        Column("Live-Migratable", _condition("LiveMigratable"), wide=True),
        Column("Paused", _condition("Paused"), wide=True),
    ),
    "KubeVirt": (_NAME, _AGE, Column("Phase", _at("status", "phase"))),
}
