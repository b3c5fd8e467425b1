"""The resource types that the embedded API server serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ResourceType:
    """One served resource.

    Attributes:
        group: API group, empty for core.
        versions: served versions, the preferred (and stored) one first.
        subresources: such as ``status``, ``exec``.
    """

    group: str
    versions: tuple[str, ...]
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """The stored ``apiVersion``."""
        return self.versions[0] if not self.group else f"{self.group}/{self.versions[0]}"


NAMESPACE = ResourceType("", ("v1",), "Namespace", "namespaces", "namespace", False, ("ns",))
NODE = ResourceType(
    "", ("v1",), "Node", "nodes", "node", False, ("no",), subresources=("status", "proxy")
)
POD = ResourceType(
    "",
    ("v1",),
    "Pod",
    "pods",
    "pod",
    True,
    ("po",),
    ("all",),
    ("status", "log", "exec", "binding", "eviction"),
)
EVENT = ResourceType("", ("v1",), "Event", "events", "event", True, ("ev",))
CONFIG_MAP = ResourceType("", ("v1",), "ConfigMap", "configmaps", "configmap", True, ("cm",))
SECRET = ResourceType("", ("v1",), "Secret", "secrets", "secret", True)
SERVICE_ACCOUNT = ResourceType(
    "",
    ("v1",),
    "ServiceAccount",
    "serviceaccounts",
    "serviceaccount",
    True,
    ("sa",),
    subresources=("token",),
)
LEASE = ResourceType("coordination.k8s.io", ("v1",), "Lease", "leases", "lease", True)
_RBAC = "rbac.authorization.k8s.io"
ROLE = ResourceType(_RBAC, ("v1",), "Role", "roles", "role", True)
ROLE_BINDING = ResourceType(_RBAC, ("v1",), "RoleBinding", "rolebindings", "rolebinding", True)
CLUSTER_ROLE = ResourceType(_RBAC, ("v1",), "ClusterRole", "clusterroles", "clusterrole", False)
CLUSTER_ROLE_BINDING = ResourceType(
    _RBAC, ("v1",), "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", False
)
DAEMON_SET = ResourceType(
    "apps",
    ("v1",),
    "DaemonSet",
    "daemonsets",
    "daemonset",
    True,
    ("ds",),
    ("all",),
    ("status",),
)
JOB = ResourceType(
    "batch", ("v1",), "Job", "jobs", "job", True, (), ("all",), subresources=("status",)
)
CRON_JOB = ResourceType(
    "batch", ("v1",), "CronJob", "cronjobs", "cronjob", True, ("cj",), ("all",), ("status",)
)
"""Stored and described; nothing makes its Jobs."""
VMI = ResourceType(
    "kubevirt.io",
    ("v1", "v1alpha3"),
    "VirtualMachineInstance",
    "virtualmachineinstances",
    "virtualmachineinstance",
    True,
    ("vmi", "vmis"),
    ("all",),
    ("status",),
)
VIRTUAL_MACHINE = ResourceType(
    "kubevirt.io",
    ("v1", "v1alpha3"),
    "VirtualMachine",
    "virtualmachines",
    "virtualmachine",
    True,
    ("vm", "vms"),
    ("all",),
    ("status",),
)
REPLICA_SET = ResourceType(
    "kubevirt.io",
    ("v1", "v1alpha3"),
    "VirtualMachineInstanceReplicaSet",
    "virtualmachineinstancereplicasets",
    "virtualmachineinstancereplicaset",
    True,
    ("vmirs", "vmirss"),
    ("all",),
    ("status",),
)
POOL = ResourceType(
    "pool.kubevirt.io",
    ("v1beta1", "v1alpha1"),
    "VirtualMachinePool",
    "virtualmachinepools",
    "virtualmachinepool",
    True,
    ("vmpool", "vmpools"),
    ("all",),
    ("status",),
)
INSTANCETYPE = ResourceType(
    "instancetype.kubevirt.io",
    ("v1beta1",),
    "VirtualMachineInstancetype",
    "virtualmachineinstancetypes",
    "virtualmachineinstancetype",
    True,
    ("vminstancetype", "vmf"),
)
CLUSTER_INSTANCETYPE = ResourceType(
    "instancetype.kubevirt.io",
    ("v1beta1",),
    "VirtualMachineClusterInstancetype",
    "virtualmachineclusterinstancetypes",
    "virtualmachineclusterinstancetype",
    False,
    ("vmclusterinstancetype", "vmcf"),
)
PREFERENCE = ResourceType(
    "instancetype.kubevirt.io",
    ("v1beta1",),
    "VirtualMachinePreference",
    "virtualmachinepreferences",
    "virtualmachinepreference",
    True,
    ("vmpref", "vmp"),
)
CLUSTER_PREFERENCE = ResourceType(
    "instancetype.kubevirt.io",
    ("v1beta1",),
    "VirtualMachineClusterPreference",
    "virtualmachineclusterpreferences",
    "virtualmachineclusterpreference",
    False,
    ("vmcp",),
)
MIGRATION = ResourceType(
    "kubevirt.io",
    ("v1", "v1alpha3"),
    "VirtualMachineInstanceMigration",
    "virtualmachineinstancemigrations",
    "virtualmachineinstancemigration",
    True,
    ("vmim", "vmims"),
    ("all",),
    ("status",),
)
KUBEVIRT = ResourceType(
    "kubevirt.io",
    ("v1", "v1alpha3"),
    "KubeVirt",
    "kubevirts",
    "kubevirt",
    True,
    ("kv", "kvs"),
    ("all",),
    ("status",),
)
CRD = ResourceType(
    "apiextensions.k8s.io",
    ("v1",),
    "CustomResourceDefinition",
    "customresourcedefinitions",
    "customresourcedefinition",
    False,
    ("crd", "crds"),
    subresources=("status",),
)

ALL = (
    NAMESPACE,
    NODE,
    POD,
    EVENT,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    LEASE,
    ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    DAEMON_SET,
    JOB,
    CRON_JOB,
    VMI,
    VIRTUAL_MACHINE,
    REPLICA_SET,
    POOL,
    MIGRATION,
    INSTANCETYPE,
    CLUSTER_INSTANCETYPE,
    PREFERENCE,
    CLUSTER_PREFERENCE,
    KUBEVIRT,
    CRD,
)

BY_KIND = {type_.kind: type_ for type_ in ALL}


def served(profile: str) -> tuple[ResourceType, ...]:
    """The types that a server of a KubeVirt generation serves.

    With profile ``v1alpha2`` kubevirt.io/v1alpha2 is the preferred version, beside the
    others; with ``v1`` it does not exist, as in current releases.
    """
    if profile != "v1alpha2":
        return ALL
    return tuple(
        replace(type_, versions=("v1alpha2", *type_.versions))
        if type_.group == VMI.group
        else type_
        for type_ in ALL
    )


def versions_of(group: str, types: Sequence[ResourceType]) -> tuple[str, ...]:
    """Every version in which a group is served, the preferred one first."""
    versions = (version for type_ in types if type_.group == group for version in type_.versions)
    return tuple(dict.fromkeys(versions))
