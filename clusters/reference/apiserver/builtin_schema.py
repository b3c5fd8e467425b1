"""Schemas of the types that are built into Kubernetes.

Fields, types and texts come from the models of the `kubernetes` client, which are
generated from Kubernetes' own OpenAPI document. What those do not carry is listed here:
quantities, and the merge keys (the ``patchMergeKey`` and ``listMapKey`` markers in
k8s.io/api/core/v1/types.go).
"""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from typing import Any

from clusters.reference.apiserver.schema import Schema, Type

_MODELS = {
    "Namespace": "V1Namespace",
    "Node": "V1Node",
    "Pod": "V1Pod",
    "Event": "CoreV1Event",
    "ConfigMap": "V1ConfigMap",
    "Secret": "V1Secret",
    "ServiceAccount": "V1ServiceAccount",
    "Lease": "V1Lease",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "ClusterRole": "V1ClusterRole",
    "ClusterRoleBinding": "V1ClusterRoleBinding",
    "DaemonSet": "V1DaemonSet",
    "Job": "V1Job",
    "CronJob": "V1CronJob",
    "CustomResourceDefinition": "V1CustomResourceDefinition",
}

_PLAIN: dict[str, Type] = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "datetime": "date-time",
    "bytes": "bytes",
}

_QUANTITIES = {
    "V1ResourceRequirements.limits",
    "V1ResourceRequirements.requests",
    "V1VolumeResourceRequirements.limits",
    "V1VolumeResourceRequirements.requests",
    "V1NodeStatus.allocatable",
    "V1NodeStatus.capacity",
    "V1ContainerStatus.allocatedResources",
    "V1PodStatus.allocatedResources",
    "V1PodSpec.overhead",
    "V1EmptyDirVolumeSource.sizeLimit",
    "V1ResourceFieldSelector.divisor",
}

_ANY = {"V1JSONSchemaProps", "V1ManagedFieldsEntry.fieldsV1"}
"""Recursive or free-form."""

_PATCH_KEYS = {
    "V1PodSpec.containers": "name",
    "V1PodSpec.initContainers": "name",
    "V1PodSpec.ephemeralContainers": "name",
    "V1PodSpec.volumes": "name",
    "V1PodSpec.imagePullSecrets": "name",
    "V1PodSpec.schedulingGates": "name",
    "V1PodSpec.resourceClaims": "name",
    "V1PodSpec.hostAliases": "ip",
    "V1PodSpec.topologySpreadConstraints": "topologyKey",
    "V1Container.env": "name",
    "V1Container.ports": "containerPort",
    "V1Container.volumeMounts": "mountPath",
    "V1Container.volumeDevices": "devicePath",
    "V1EphemeralContainer.env": "name",
    "V1EphemeralContainer.ports": "containerPort",
    "V1EphemeralContainer.volumeMounts": "mountPath",
    "V1EphemeralContainer.volumeDevices": "devicePath",
    "V1PodStatus.conditions": "type",
    "V1PodStatus.podIPs": "ip",
    "V1PodStatus.hostIPs": "ip",
    "V1PodStatus.resourceClaimStatuses": "name",
    "V1NodeSpec.podCIDRs": "",
    "V1NodeStatus.conditions": "type",
    "V1NodeStatus.addresses": "type",
    "V1NamespaceStatus.conditions": "type",
    "V1DaemonSetStatus.conditions": "type",
    "V1JobStatus.conditions": "type",
    "V1ServiceAccount.secrets": "name",
    "V1ObjectMeta.finalizers": "",
    "V1ObjectMeta.ownerReferences": "uid",
}
"""Lists that a strategic merge patch merges, and by what; a Node's taints are replaced."""

_LIST_KEYS = {
    "V1Container.ports": ("containerPort", "protocol"),
    "V1EphemeralContainer.ports": ("containerPort", "protocol"),
    "V1PodSpec.topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "V1ResourceRequirements.claims": ("name",),
    "V1CustomResourceDefinitionStatus.conditions": ("type",),
}
"""Where server-side apply uses other keys than a strategic merge patch does."""

_RETAIN_KEYS = {"V1PodSpec.volumes", "V1PodSpec.resourceClaims", "V1DaemonSetSpec.updateStrategy"}


def has_schema(kind: str) -> bool:
    """Whether the kind is built in."""
    return kind in _MODELS


@functools.cache
def builtin(kind: str) -> Schema:
    """The schema of a whole object of a built-in kind."""
    return _with_name(model(_MODELS[kind]), kind)


def _with_name(schema: Schema, name: str) -> Schema:
    return schema if schema.name == name else replace(schema, name=name)


@functools.cache
def model(name: str) -> Schema:
    """The schema of one class of the client, such as ``V1PodSpec``."""
    import kubernetes.client

    cls: Any = getattr(kubernetes.client, name)
    properties: dict[str, Schema] = {}
    required = set()
    fields = {info.serialization_alias or name: info for name, info in cls.model_fields.items()}
    for attribute, type_ in cls.openapi_types.items():
        key = cls.attribute_map[attribute]
        info = fields[key]
        text = re.sub(r"\s+", " ", info.description or "")
        properties[key] = _attribute(f"{name}.{key}", type_, text)
        if info.is_required():
            required.add(key)
    return Schema(
        "object",
        name=re.sub(r"^(Core)?V1", "", name),
        description=_description(cls),
        properties=properties,
        required=frozenset(required),
    )


def _description(cls: Any) -> str:
    text = (cls.__doc__ or "").split("Attributes:")[0]
    return re.sub(r"\s+", " ", text).strip()


def _attribute(where: str, type_: str, text: str) -> Schema:
    if where in _ANY:
        return Schema("any", text)
    schema = _type(type_, quantity=where in _QUANTITIES)
    merges = where in _PATCH_KEYS
    key = _PATCH_KEYS.get(where, "")
    return replace(
        schema,
        description=text or schema.description,
        patch_key=key,
        patch_merge=merges,
        retain_keys=where in _RETAIN_KEYS,
        list_keys=_LIST_KEYS.get(where, (key,) if merges else ()),
    )


def _type(text: str, *, quantity: bool) -> Schema:
    if found := re.fullmatch(r"List\[(.*)\]", text):
        return Schema("array", items=_type(found[1], quantity=False))
    if found := re.fullmatch(r"Dict\[str, (.*)\]", text):
        return Schema("map", items=_type(found[1], quantity=quantity))
    if quantity:
        return Schema("quantity")
    if text in _PLAIN:
        return Schema(_PLAIN[text])
    if text == "object":
        return Schema("int-or-string")
    return Schema("any") if text in _ANY else model(text)
