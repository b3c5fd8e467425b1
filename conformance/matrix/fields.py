"""Fields that manifests may have, in any release, and what is said of others.

An API server drops a field that it does not know. A VMI with ``dedicatedCPUPlacement`` is then one
with shared CPUs, of which every promise is kept. Names are those of kubevirt.io/api
(core/v1/schema.go and types.go, instancetype/v1beta1/types.go), v1.0.0 to v1.9.0 together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.matrix import kinds

Tree = Mapping[str, Any]
"""Fields by name: a tree below each, a list of one for a list, `_ANY` for what is not read."""
_ANY = None


def _names(text: str) -> dict[str, Any]:
    return dict.fromkeys(text.split(), _ANY)


_CPU: Tree = {
    **_names("cores sockets maxSockets threads model dedicatedCpuPlacement isolateEmulatorThread"),
    "features": [_names("name policy")],
    "numa": _names("guestMappingPassthrough"),
    "realtime": _names("mask"),
}
_MEMORY: Tree = {**_names("guest maxGuest reservedOverhead"), "hugepages": _names("pageSize")}
_DISK: Tree = _names(
    "name bootOrder serial dedicatedIOThread cache io tag blockSize shareable errorPolicy "
    "changedBlockTracking disk lun cdrom"
)
_DEVICES: Tree = {
    **_names(
        "useVirtioTransitional disableHotplug watchdog interfaces inputs autoattachPodInterface "
        "autoattachGraphicsDevice autoattachSerialConsole autoattachMemBalloon "
        "autoattachInputDevice autoattachVSOCK rng blockMultiQueue networkInterfaceMultiqueue "
        "gpus filesystems hostDevices clientPassthrough sound tpm logSerialConsole "
        "downwardMetrics panicDevices video"
    ),
    "disks": [_DISK],
}
_DOMAIN: Tree = {
    **_names("machine firmware clock features ioThreadsPolicy chassis launchSecurity rebootPolicy"),
    "resources": _names("requests limits overcommitGuestOverhead"),
    "cpu": _CPU,
    "memory": _MEMORY,
    "devices": _DEVICES,
    "ioThreads": _names("supplementalPoolThreadCount"),
}
_VOLUME: Tree = _names(
    "name hostDisk persistentVolumeClaim cloudInitNoCloud cloudInitConfigDrive sysprep "
    "containerDisk ephemeral emptyDisk dataVolume configMap secret downwardAPI serviceAccount "
    "downwardMetrics memoryDump containerPath"
)
_VMI_SPEC: Tree = {
    **_names(
        "priorityClassName nodeSelector affinity schedulerName tolerations "
        "topologySpreadConstraints evictionStrategy startStrategy terminationGracePeriodSeconds "
        "livenessProbe readinessProbe hostname subdomain networks dnsPolicy dnsConfig "
        "accessCredentials architecture resourceClaims utilityVolumes serviceAccountName"
    ),
    "domain": _DOMAIN,
    "volumes": [_VOLUME],
}
_METADATA: Tree = _names(
    "name generateName namespace labels annotations finalizers ownerReferences managedFields uid "
    "resourceVersion generation selfLink clusterName creationTimestamp deletionTimestamp "
    "deletionGracePeriodSeconds"
)
_TEMPLATE: Tree = {"metadata": _METADATA, "spec": _VMI_SPEC}
_MATCHER: Tree = _names("name kind revisionName inferFromVolume inferFromVolumeFailurePolicy")
_VM_SPEC: Tree = {
    **_names("running runStrategy dataVolumeTemplates updateVolumesStrategy liveUpdateFeatures"),
    "instancetype": _MATCHER,
    "preference": _MATCHER,
    "template": _TEMPLATE,
}
_INSTANCETYPE_SPEC: Tree = {
    **_names(
        "nodeSelector schedulerName gpus hostDevices ioThreadsPolicy launchSecurity annotations"
    ),
    "cpu": _names(
        "guest model dedicatedCPUPlacement numa isolateEmulatorThread realtime maxSockets"
    ),
    "memory": _names("guest hugepages overcommitPercent maxGuest"),
    "ioThreads": _names("supplementalPoolThreadCount"),
}
_PREFERENCE_SPEC: Tree = {
    **_names(
        "clock devices features firmware machine volumes preferredSubdomain "
        "preferredTerminationGracePeriodSeconds requirements annotations "
        "preferSpreadSocketToCoreRatio preferredArchitecture preferredLaunchSecurity"
    ),
    "cpu": {
        **_names("preferredCPUTopology preferredCPUFeatures"),
        "spreadOptions": _names("across ratio"),
    },
}
_SPECS: Mapping[str, Tree] = {
    kinds.VMI: _VMI_SPEC,
    kinds.VM: _VM_SPEC,
    kinds.REPLICA_SET: {**_names("replicas selector paused"), "template": _TEMPLATE},
    kinds.POOL: {
        **_names(
            "replicas selector paused nameGeneration maxUnavailable scaleInStrategy "
            "updateStrategy autohealing"
        ),
        "virtualMachineTemplate": {"metadata": _METADATA, "spec": _VM_SPEC},
    },
    kinds.INSTANCETYPE: _INSTANCETYPE_SPEC,
    kinds.CLUSTER_INSTANCETYPE: _INSTANCETYPE_SPEC,
    kinds.PREFERENCE: _PREFERENCE_SPEC,
    kinds.CLUSTER_PREFERENCE: _PREFERENCE_SPEC,
}
_HARMLESS = frozenset({"devices", "disks", "metadata", "volumes"})
"""Where an unknown field does not change which CPUs a VMI gets."""
_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_CLOSE = 0.75
"""Likeness of a name from which on it is suggested; `difflib` has 0.6 for words of a language."""


@dataclass(frozen=True)
class UnknownField:
    """A field that no release knows.

    Attributes:
        path: such as ``spec.domain.cpu.dedicatedCPUPlacement``.
        meant: path of the field that was probably meant; empty when none is alike.
        harmless: whether the CPUs of the VMI are the same without it.
    """

    path: str
    meant: str
    harmless: bool

    def __str__(self) -> str:
        meant = f"; did you mean {self.meant}?" if self.meant else ""
        return f"unknown field {self.path}{meant}"


def unknown_fields(manifest: Mapping[str, Any]) -> tuple[UnknownField, ...]:
    """The fields of a manifest that the API of no release has.

    Args:
        manifest: of a kind in `kinds.JUDGED` or `kinds.TYPES`; of any other nothing is known.
    """
    spec = _SPECS.get(str(manifest.get("kind")))
    if spec is None:
        return ()
    tree: Tree = {**_names("apiVersion kind status"), "metadata": _METADATA, "spec": spec}
    return tuple(_below(manifest, tree, "", harmless=False, whole=tree))


def judged_by(path: str, manifest: Mapping[str, Any]) -> UnknownField:
    """What is to be said of a field that an API server does not know.

    Args:
        path: as the server names it, such as ``spec.domain.cpu.x``.
        manifest: in which it is.
    """
    for found in unknown_fields(manifest):
        if found.path == path:
            return found
    parts = path.split("[", 1)[0].split(".")
    return UnknownField(path, "", bool(_HARMLESS & set(parts)) or "domain" not in parts)


def _below(
    value: Any, tree: Any, path: str, *, harmless: bool, whole: Tree
) -> Iterator[UnknownField]:
    if isinstance(tree, list):
        for index, item in enumerate(value if isinstance(value, list) else ()):
            where = f"{path}[{index}]"
            yield from _below(item, tree[0], where, harmless=harmless, whole=whole)
        return
    if not isinstance(tree, Mapping) or not isinstance(value, Mapping):
        return
    for name, inner in value.items():
        below = f"{path}.{name}".lstrip(".")
        if name in tree:
            mild = harmless or name in _HARMLESS
            yield from _below(inner, tree[name], below, harmless=mild, whole=whole)
            if path.endswith("domain.resources") and name in ("requests", "limits"):
                yield from _resources(inner, below)
        else:
            own = _alike(str(name), tree)
            meant = f"{path}.{own}".lstrip(".") if own else _elsewhere(str(name), whole)
            # A field about CPUs does harm wherever it was put by mistake; annotations ask for
            # sidecars, and for even parity.
            asks = ".cpu." in meant or "IOThread" in meant or meant.endswith("annotations")
            mild = harmless and not asks
            yield UnknownField(below, meant, mild)


def _resources(amounts: Any, path: str) -> Iterator[UnknownField]:
    """Names without a domain are Kubernetes' own, and few."""
    for name in amounts if isinstance(amounts, Mapping) else ():
        text = str(name)
        if "/" not in text and text not in _RESOURCES and not text.startswith("hugepages-"):
            own = _alike(text, _RESOURCES)
            yield UnknownField(f"{path}.{text}", f"{path}.{own}" if own else "", harmless=False)


def _alike(name: str, known: Iterable[str]) -> str | None:
    """The name that was meant: the same in other letters, or one that is very like it."""
    by_letters = {each.lower(): each for each in known}
    if name.lower() in by_letters:
        return by_letters[name.lower()]
    found = difflib.get_close_matches(name.lower(), by_letters, n=1, cutoff=_CLOSE)
    return by_letters[found[0]] if found else None


def _elsewhere(name: str, tree: Any, path: str = "") -> str:
    """Where else there is a field of that name, in any letters; empty for nowhere."""
    if isinstance(tree, list):
        return _elsewhere(name, tree[0], f"{path}[]")
    for known, below in tree.items() if isinstance(tree, Mapping) else ():
        where = f"{path}.{known}".lstrip(".")
        if known.lower() == name.lower() and len(name) > len("name"):
            return where
        if found := _elsewhere(name, below, where):
            return found
    return ""
