"""Kinds that a user's file may hold: what is judged, what is made beside it, where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VMI = "VirtualMachineInstance"
VM = "VirtualMachine"
REPLICA_SET = "VirtualMachineInstanceReplicaSet"
POOL = "VirtualMachinePool"
INSTANCETYPE, CLUSTER_INSTANCETYPE = (
    "VirtualMachineInstancetype",
    "VirtualMachineClusterInstancetype",
)
PREFERENCE, CLUSTER_PREFERENCE = "VirtualMachinePreference", "VirtualMachineClusterPreference"

POOL_GROUP = "pool.kubevirt.io"
INSTANCETYPE_GROUP = "instancetype.kubevirt.io"


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    Attributes:
        group: its API group, empty for core.
        plural: as in the paths of the API.
        namespaced: whether it lives in a namespace.
    """

    group: str
    plural: str
    namespaced: bool = True


JUDGED: Mapping[str, Kind] = {
    VMI: Kind("kubevirt.io", "virtualmachineinstances"),
    VM: Kind("kubevirt.io", "virtualmachines"),
    REPLICA_SET: Kind("kubevirt.io", "virtualmachineinstancereplicasets"),
    POOL: Kind(POOL_GROUP, "virtualmachinepools"),
}
"""A VMI, and what makes VMIs."""

TYPES: Mapping[str, Kind] = {
    INSTANCETYPE: Kind(INSTANCETYPE_GROUP, "virtualmachineinstancetypes"),
    CLUSTER_INSTANCETYPE: Kind(
        INSTANCETYPE_GROUP, "virtualmachineclusterinstancetypes", namespaced=False
    ),
    PREFERENCE: Kind(INSTANCETYPE_GROUP, "virtualmachinepreferences"),
    CLUSTER_PREFERENCE: Kind(
        INSTANCETYPE_GROUP, "virtualmachineclusterpreferences", namespaced=False
    ),
}
"""What a VirtualMachine may refer to for its CPUs and memory."""

HELPERS: Mapping[str, Kind] = {
    "Secret": Kind("", "secrets"),
    "ConfigMap": Kind("", "configmaps"),
    "ServiceAccount": Kind("", "serviceaccounts"),
    "PersistentVolumeClaim": Kind("", "persistentvolumeclaims"),
    "DataVolume": Kind("cdi.kubevirt.io", "datavolumes"),
    "NetworkAttachmentDefinition": Kind("k8s.cni.cncf.io", "network-attachment-definitions"),
}
"""What a VMI may need beside it, of which nothing reaches beyond the namespace."""

_ALL: Mapping[str, Kind] = {**JUDGED, **TYPES, **HELPERS, "Pod": Kind("", "pods")}


def known(kind: object, api_version: object) -> bool:
    """Whether it is a kind of this page, by name and group."""
    if not isinstance(kind, str) or not isinstance(api_version, str) or kind not in _ALL:
        return False
    group, slash, _version = api_version.rpartition("/")
    return (group if slash else "") == _ALL[kind].group


def collection(kind: str, api_version: str, namespace: str) -> str:
    """Path of the API at which objects of a kind of this page are created. Raises KeyError."""
    found = _ALL[kind]
    root = f"/apis/{api_version}" if found.group else "/api/v1"
    return (
        f"{root}/namespaces/{namespace}/{found.plural}"
        if found.namespaced
        else (f"{root}/{found.plural}")
    )


def resource(obj: Mapping[str, Any]) -> str:
    """What objects of a kind of this page are called, such as ``virtualmachines.kubevirt.io``.

    Raises KeyError.
    """
    found = _ALL[obj["kind"]]
    return f"{found.plural}.{found.group}" if found.group else found.plural


def words(obj: Mapping[str, Any]) -> str:
    """An object as a reader knows it, such as ``Secret cloud-init``."""
    metadata = obj.get("metadata")
    name = (metadata.get("name") if isinstance(metadata, Mapping) else "") or "without a name"
    return f"{obj.get('kind')} {name}"
