"""The resource types that the embedded API server serves."""

from __future__ import annotations

from dataclasses import dataclass


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
    "", ("v1",), "ServiceAccount", "serviceaccounts", "serviceaccount", True, ("sa",)
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
    DAEMON_SET,
    VMI,
    KUBEVIRT,
    CRD,
)
