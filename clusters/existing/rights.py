"""What a run asks of the API server, and therefore what its user must be allowed.

Each group of rights has a kustomize base below ``rbac/`` that grants exactly this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from clusters.existing.claims import NAME as LEASE
from clusters.kit.changes import NAME as CHANGES


@dataclass(frozen=True)
class Right:
    """Verbs on one resource.

    Attributes:
        group: API group, empty for core.
        resource: plural, with ``/subresource`` where it is one.
        why: what it is for, as the part of a sentence after "to".
        needed: without it there is no run; otherwise something stays unobserved.
        namespace: the only one in which it is needed; empty for every one.
        name: of the only object that it is about; empty for every one.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    needed: bool = True
    namespace: str = ""
    name: str = ""


_KUBEVIRT_IO = "kubevirt.io"
_CONSOLES = "subresources.kubevirt.io"
_VMIS = ("create", "delete", "get", "list", "watch")
_OWN = ("virtualmachineinstances", "virtualmachineinstancemigrations", "virtualmachines", "events")
"""What a run has in its own namespace."""
_CLAIMS = (
    Right("coordination.k8s.io", "leases", ("create",), "claim its namespace"),
    Right(
        "coordination.k8s.io",
        "leases",
        ("delete", "get", "list", "patch"),
        "claim its namespace, and to find what dead runs have left",
        name=LEASE,
    ),
    Right(
        "",
        "configmaps",
        ("get",),
        "know what dead runs have changed and not put back",
        name=CHANGES,
    ),
)
RIGHTS = (
    Right("", "nodes", ("get", "list"), "know labels and allocatable CPUs"),
    Right("", "nodes/proxy", ("get",), "read the kubelet's running configuration", needed=False),
    Right("", "namespaces", ("create", "delete", "get", "list"), "work in a namespace of its own"),
    Right("", "pods", ("get", "list"), "know every pod that shares a node with a judged VMI"),
    Right(
        "",
        "pods",
        ("create", "delete", "watch"),
        "run the plain pods of --matrix pods and of some scenarios",
        needed=False,
    ),
    # A WebSocket is a GET; since Kubernetes 1.35 it needs "create" as well
    # (feature gate AuthorizePodWebsocketUpgradeCreatePermission).
    Right("", "pods/exec", ("create", "get"), "read node files in virt-handler, run virsh"),
    Right("", "pods/log", ("get",), "keep the logs of KubeVirt's pods", needed=False),
    Right("", "events", ("list",), "explain what did not start", needed=False),
    Right(_KUBEVIRT_IO, "kubevirts", ("list",), "know version, state and feature gates"),
    Right(_KUBEVIRT_IO, "virtualmachineinstances", _VMIS, "run the VMIs that are judged"),
    Right(
        _KUBEVIRT_IO,
        "virtualmachineinstancemigrations",
        ("create", "delete", "get"),
        "migrate VMIs of its own, in the scenarios of live migration",
        needed=False,
    ),
    Right(
        _KUBEVIRT_IO,
        "virtualmachines",
        ("create", "delete", "get", "list", "patch"),
        "judge VirtualMachines, and change the sockets of one in the scenario hotplug",
        needed=False,
    ),
    Right(
        _CONSOLES,
        "virtualmachineinstances/console",
        ("get",),
        "read what a guest says of its CPUs",
        needed=False,
    ),
    *_CLAIMS,
)

KUBEVIRT = "kubevirt"
"""The namespace that virt-operator usually deploys to."""


def rights_in(namespace: str, kubevirt: str = KUBEVIRT) -> tuple[Right, ...]:
    """What a run needs that makes everything in a namespace that is there already.

    ``rbac/namespaced`` grants it. Beside its own namespace and KubeVirt's it only reads.
    """
    everywhere = ("nodes", "nodes/proxy", "kubevirts")
    exec_ = ("create", "get")
    own = (
        Right("", "pods", ("get",), "know its launchers"),
        Right("", "pods/exec", exec_, "run virsh"),
        *(r for r in RIGHTS if r.resource in _OWN or r in _CLAIMS),
        *(r for r in RIGHTS if r.group == _CONSOLES),
        *(r for r in RIGHTS if r.resource == "pods" and not r.needed),
    )
    return (
        *(right for right in RIGHTS if right.resource in everywhere),
        Right("", "pods", ("list",), "know every pod that shares a node with a judged VMI"),
        Right("", "pods/exec", exec_, "read node files in virt-handler", namespace=kubevirt),
        *(
            replace(right, namespace=kubevirt)
            for right in RIGHTS
            if right.resource in ("pods/log", "events")
        ),
        *(replace(right, namespace=namespace) for right in own),
    )


DISRUPTIVE = (
    Right("", "nodes", ("patch",), "take labels from nodes and put them back"),
    Right(_KUBEVIRT_IO, "kubevirts", ("get", "patch"), "turn feature gates off and on"),
    Right("", "configmaps", ("create",), "note what it changes"),
    Right("", "configmaps", ("delete", "patch"), "note what it changes", name=CHANGES),
)
"""What scenarios need beside it that --disruptive allows; ``rbac/disruptive`` grants it."""

_MADE = ("create", "delete", "get")
_CORE = ("configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts")
_TYPES = ("virtualmachineinstancetypes", "virtualmachinepreferences")
_OF_CLUSTER = ("virtualmachineclusterinstancetypes", "virtualmachineclusterpreferences")
_INSTANCETYPE = "instancetype.kubevirt.io"
FILES = (
    Right("kubevirt.io", "virtualmachineinstancereplicasets", _MADE, "judge replica sets"),
    Right("pool.kubevirt.io", "virtualmachinepools", _MADE, "judge pools"),
    *(
        Right(_INSTANCETYPE, name, ("create", "get"), "make or copy what they name")
        for name in _TYPES
    ),
    *(Right(_INSTANCETYPE, name, ("get",), "know what they name") for name in _OF_CLUSTER),
    *(Right("", name, ("create",), "make what VMIs need") for name in _CORE),
    Right("cdi.kubevirt.io", "datavolumes", ("create",), "make what VMIs need"),
    Right("k8s.cni.cncf.io", "network-attachment-definitions", ("create",), "make what VMIs need"),
)
"""What a file of a user's own may need beside it; ``rbac/files`` grants it."""


def files_in(namespace: str) -> tuple[Right, ...]:
    """The same for a namespace that stays: what is made is found and deleted one by one.

    ``rbac/namespaced-files`` grants it.
    """
    return tuple(
        right
        if right.resource in _OF_CLUSTER
        else replace(
            right, namespace=namespace, verbs=tuple(sorted({*right.verbs, "delete", "list"}))
        )
        for right in FILES
    )


AUDIT = (
    Right("", "nodes", ("list",), "know labels and CPUs of every node"),
    Right("", "nodes/proxy", ("get",), "read the kubelet's running configuration", needed=False),
    Right("", "pods", ("list",), "know every pod that shares a node with a VMI"),
    Right(
        "", "pods/exec", ("create", "get"), "read node files in virt-handler", namespace=KUBEVIRT
    ),
    Right(_KUBEVIRT_IO, "kubevirts", ("list",), "know version, state and feature gates"),
    Right(_KUBEVIRT_IO, "virtualmachineinstances", ("get", "list"), "know the VMIs that run"),
    Right(_KUBEVIRT_IO, "virtualmachines", ("get",), "say that a VM is stopped", needed=False),
)
"""What ``audit`` and ``check`` ask: they change nothing; ``rbac/audit`` grants it."""
LIBVIRT = (Right("", "pods/exec", ("create", "get"), "run virsh -r in launchers"),)
"""What ``audit --libvirt`` asks beside; ``rbac/libvirt`` grants both."""

PROBES = (Right("", "pods", ("create",), "start the probes that --probe-image asks for"),)
"""What a run cannot do without where nodes are read through probes."""


def single(rights: tuple[Right, ...] = RIGHTS) -> Iterator[tuple[Right, str]]:
    """Each right with each of its verbs."""
    for right in rights:
        for verb in right.verbs:
            yield right, verb
