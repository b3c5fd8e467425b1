"""Schemas of what makes VirtualMachineInstances, and of what sizes them.

The fields are those of kubevirt.io/api: core/v1/types.go, pool/v1beta1/types.go and
instancetype/v1beta1/types.go. Of preferences that change nothing here anything is kept.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from clusters.reference.apiserver.builtin_schema import model
from clusters.reference.apiserver.kubevirt_schema import virtual_machine_instance
from clusters.reference.apiserver.schema import Schema

_TEXT = Schema("string")
_BOOL = Schema("boolean")
_COUNT = Schema("integer", minimum=0)
_QUANTITY = Schema("quantity")
_OPEN = Schema("object", open=True)


@functools.cache
def virtual_machine() -> Schema:
    """The whole VirtualMachine."""
    return _resource({"spec": _machine_spec(), "status": _OPEN})


@functools.cache
def replica_set() -> Schema:
    """The whole VirtualMachineInstanceReplicaSet."""
    spec = _object(
        {
            "paused": _BOOL,
            "replicas": _COUNT,
            "selector": model("V1LabelSelector"),
            "template": _template(),
        },
        required=("selector", "template"),
    )
    return _resource({"spec": spec, "status": _OPEN})


@functools.cache
def pool() -> Schema:
    """The whole VirtualMachinePool."""
    machine = _object({"metadata": _OPEN, "spec": _machine_spec()})
    spec = _object(
        {
            **dict.fromkeys(("autohealing", "scaleInStrategy", "updateStrategy"), _OPEN),
            "maxUnavailable": Schema("int-or-string"),
            "nameGeneration": _object(
                dict.fromkeys(("appendIndexToConfigMapRefs", "appendIndexToSecretRefs"), _BOOL)
            ),
            "paused": _BOOL,
            "replicas": _COUNT,
            "selector": model("V1LabelSelector"),
            "virtualMachineTemplate": machine,
        },
        required=("selector", "virtualMachineTemplate"),
    )
    return _resource({"spec": spec, "status": _OPEN})


@functools.cache
def instancetype() -> Schema:
    """The whole VirtualMachineInstancetype; that of a cluster is the same."""
    cpu = _object(
        {
            "dedicatedCPUPlacement": _BOOL,
            "guest": _COUNT,
            "isolateEmulatorThread": _BOOL,
            "maxSockets": _COUNT,
            "model": _TEXT,
            "numa": _object({"guestMappingPassthrough": _object({})}),
            "realtime": _object({"mask": _TEXT}),
        },
        required=("guest",),
    )
    memory = _object(
        {
            "guest": _QUANTITY,
            "hugepages": _object({"pageSize": _TEXT}),
            "maxGuest": _QUANTITY,
            "overcommitPercent": _COUNT,
        },
        required=("guest",),
    )
    spec = _object(
        {
            "annotations": Schema("map", items=_TEXT),
            "cpu": cpu,
            "gpus": Schema("array", items=_OPEN),
            "hostDevices": Schema("array", items=_OPEN),
            "ioThreads": _object({"supplementalPoolThreadCount": _COUNT}),
            "ioThreadsPolicy": _TEXT,
            "launchSecurity": _OPEN,
            "memory": memory,
            "nodeSelector": Schema("map", items=_TEXT),
            "schedulerName": _TEXT,
        },
        required=("cpu", "memory"),
    )
    return _resource({"spec": spec})


@functools.cache
def preference() -> Schema:
    """The whole VirtualMachinePreference; that of a cluster is the same."""
    cpu = _object(
        {
            "preferredCPUFeatures": Schema(
                "array", items=_object({"name": _TEXT, "policy": _TEXT})
            ),
            "preferredCPUTopology": _TEXT,
            "spreadOptions": _object({"across": _TEXT, "ratio": _COUNT}),
        }
    )
    spec = _object(
        {
            **dict.fromkeys(
                (
                    "clock",
                    "devices",
                    "features",
                    "firmware",
                    "machine",
                    "preferredLaunchSecurity",
                    "requirements",
                    "volumes",
                ),
                _OPEN,
            ),
            "annotations": Schema("map", items=_TEXT),
            "cpu": cpu,
            "preferSpreadSocketToCoreRatio": _COUNT,
            "preferredArchitecture": _TEXT,
            "preferredSubdomain": _TEXT,
            "preferredTerminationGracePeriodSeconds": _COUNT,
        }
    )
    return _resource({"spec": spec})


def _machine_spec() -> Schema:
    matcher = _object(
        dict.fromkeys(
            ("inferFromVolume", "inferFromVolumeFailurePolicy", "kind", "name", "revisionName"),
            _TEXT,
        )
    )
    return _object(
        {
            "dataVolumeTemplates": Schema("array", items=_OPEN),
            "instancetype": matcher,
            "preference": matcher,
            "runStrategy": _TEXT,
            "running": _BOOL,
            "template": _template(),
            "updateVolumesStrategy": _TEXT,
        },
        required=("template",),
    )


def _template() -> Schema:
    """Labels, annotations and the spec of a VMI."""
    spec = virtual_machine_instance().properties["spec"]
    return _object({"metadata": _OPEN, "spec": spec})


def _resource(properties: dict[str, Schema]) -> Schema:
    shared: dict[str, Any] = {
        "apiVersion": _TEXT,
        "kind": _TEXT,
        "metadata": model("V1ObjectMeta"),
    }
    return replace(_object({**shared, **properties}), required=frozenset({"spec"}))


def _object(properties: dict[str, Schema], *, required: tuple[str, ...] = ()) -> Schema:
    return Schema("object", properties=properties, required=frozenset(required))
