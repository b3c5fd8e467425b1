"""What evidence holds of objects that are not the run's own: what checks need, and no more.

Other people's pods and VMIs carry secrets where nobody looks for them: in environments and command
lines, in annotations (``kubectl apply`` leaves the whole object in one), in cloud-init data, in
probes, in what a container said at its end. None of that tells anything of CPUs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from conformance.model.vocabulary import (
    CONFIG_HASH,
    EVEN_PARITY,
    HOOK_SIDECARS,
    LAST_HEARTBEAT,
    SKIPS_LABELLER,
    VM_NAME,
)

Json = dict[str, Any]

_LABELS = ("kubevirt.io", VM_NAME)
_LABEL_PREFIXES = ("kubevirt.io/", "cpu-conformance/")
_META = ("namespace", "name", "uid", "creationTimestamp", "deletionTimestamp")
_CONDITION = ("type", "status", "reason", "lastTransitionTime")
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_MIGRATION = (
    *("startTimestamp", "endTimestamp", "completed", "failed", "targetPod", "sourcePod"),
    *("targetNode", "sourceNode", "mode"),
)
_OF_DOMAIN = (
    *("name", "vcpu", "vcpus", "cputune", "cpu", "iothreads", "iothreadids", "numatune", "os"),
)
_NO_DOMAIN = 200
"""Characters of what is no XML, to be told."""
_DISK_KINDS = ("disk", "lun", "cdrom")


def pod(obj: Mapping[str, Any]) -> Json:
    """A pod without environment, command lines, annotations, volumes, and what it said."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    kept: Json = _pick(spec, ("nodeName", "nodeSelector", "overhead"))
    if _REQUIRED in affinity:
        kept["affinity"] = {"nodeAffinity": {_REQUIRED: affinity[_REQUIRED]}}
    if claims := spec.get("resourceClaims"):
        kept["resourceClaims"] = [_pick(claim, ("name",)) for claim in claims]
    for kind in _CONTAINERS:
        if kind in spec:
            kept[kind] = [_container(each) for each in spec[kind] or ()]
    told = _pick(status, ("phase", "qosClass", "reason", "startTime", "resize"))
    _conditions(status, told)
    for kind in _STATUSES:
        if kind in status:
            told[kind] = [_container_status(each) for each in status[kind] or ()]
    return {**_head(obj), "metadata": _metadata(obj, (CONFIG_HASH,)), "spec": kept, "status": told}


def vmi(obj: Mapping[str, Any]) -> Json:
    """A VMI without what its guest is given: user data, keys, probes, names of volumes' sources.

    Of the annotations two are kept that say how many containers and CPUs it has.
    """
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    kept = _pick(spec, ("architecture",))
    kept["domain"] = _domain(spec.get("domain") or {})
    if "volumes" in spec:
        kept["volumes"] = [_volume(each) for each in spec["volumes"] or ()]
    told = _pick(
        status, ("phase", "reason", "nodeName", "currentCPUTopology", "phaseTransitionTimestamps")
    )
    told |= _pick(status, ("launcherContainerImageVersion", "qosClass"))
    if migration := status.get("migrationState"):
        told["migrationState"] = _pick(migration, _MIGRATION)
    _conditions(status, told)
    metadata = _metadata(obj, (EVEN_PARITY, HOOK_SIDECARS))
    if hooks := (metadata.get("annotations") or {}).get(HOOK_SIDECARS):
        metadata["annotations"][HOOK_SIDECARS] = _counted(hooks)
    return {**_head(obj), "metadata": metadata, "spec": kept, "status": told}


def node(obj: Mapping[str, Any]) -> Json:
    """A node without addresses, images and other people's annotations."""
    status = obj.get("status") or {}
    told = _pick(status, ("allocatable", "capacity", "nodeInfo"))
    _conditions(status, told)
    metadata = _metadata(obj, (LAST_HEARTBEAT, SKIPS_LABELLER))
    metadata["labels"] = (obj.get("metadata") or {}).get("labels") or {}
    spec = _pick(obj.get("spec") or {}, ("unschedulable",))
    of_spec = {"spec": spec} if spec else {}
    return {**_head(obj), "metadata": metadata, **of_spec, "status": told}


def domain(xml: str) -> str:
    """A domain XML without metadata, command lines, and what else is not judged.

    Of devices and features no more is left than which IOThreads each disk has, and hints of KVM.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return xml[:_NO_DOMAIN]
    for element in list(root):
        if element.tag == "devices":
            _only_disks(element)
        elif element.tag == "features":
            _only(element, ("kvm",))
        elif element.tag not in _OF_DOMAIN:
            root.remove(element)
    return ElementTree.tostring(root, encoding="unicode")


def _only_disks(devices: ElementTree.Element) -> None:
    _only(devices, ("disk",))
    for disk in devices:
        disk.attrib.clear()
        _only(disk, ("alias", "driver"))
        for driver in disk.iter("driver"):
            kept = {key: value for key, value in driver.attrib.items() if key == "iothread"}
            driver.attrib.clear()
            driver.attrib.update(kept)
            _only(driver, ("iothreads",))


def _only(parent: ElementTree.Element, tags: Iterable[str]) -> None:
    for child in list(parent):
        if child.tag not in tags:
            parent.remove(child)


def _pick(obj: Mapping[str, Any], keys: Iterable[str]) -> Json:
    return {key: obj[key] for key in keys if key in obj}


def _head(obj: Mapping[str, Any]) -> Json:
    return _pick(obj, ("apiVersion", "kind"))


def _metadata(obj: Mapping[str, Any], annotations: Iterable[str]) -> Json:
    meta = obj.get("metadata") or {}
    kept = _pick(meta, _META)
    labels = meta.get("labels") or {}
    own = {k: v for k, v in labels.items() if k in _LABELS or k.startswith(_LABEL_PREFIXES)}
    if own:
        kept["labels"] = own
    if noted := _pick(meta.get("annotations") or {}, annotations):
        kept["annotations"] = noted
    return kept


def _conditions(status: Mapping[str, Any], told: Json) -> None:
    if "conditions" in status:
        told["conditions"] = [_pick(each, _CONDITION) for each in status["conditions"] or ()]


def _container(obj: Mapping[str, Any]) -> Json:
    kept = _pick(obj, ("name", "image", "restartPolicy"))
    if "resources" in obj:
        kept["resources"] = _pick(obj["resources"] or {}, ("requests", "limits"))
    return kept


def _container_status(obj: Mapping[str, Any]) -> Json:
    kept = _pick(obj, ("name", "containerID", "restartCount", "ready"))
    for when in ("state", "lastState"):
        if when in obj:
            kept[when] = {
                kind: {key: value for key, value in (said or {}).items() if key != "message"}
                for kind, said in (obj[when] or {}).items()
            }
    return kept


def _domain(obj: Mapping[str, Any]) -> Json:
    kept = _pick(obj, ("cpu", "memory", "resources", "ioThreads", "ioThreadsPolicy", "machine"))
    devices = obj.get("devices") or {}
    kept["devices"] = {
        kind: [_pick(each, ("name",)) for each in devices[kind] or ()]
        for kind in ("hostDevices", "gpus")
        if kind in devices
    }
    if "disks" in devices:
        kept["devices"]["disks"] = [_disk(each) for each in devices["disks"] or ()]
    if secured := obj.get("launchSecurity"):
        kept["launchSecurity"] = {kind: {} for kind in secured}
    return kept


def _disk(obj: Mapping[str, Any]) -> Json:
    kept = _pick(obj, ("name", "dedicatedIOThread"))
    return kept | {k: _pick(obj[k] or {}, ("bus",)) for k in _DISK_KINDS if k in obj}


def _volume(obj: Mapping[str, Any]) -> Json:
    """Its name and its kind: a containerDisk has a container of its own."""
    return {key: value if key == "name" else {} for key, value in obj.items()}


def _counted(hooks: str) -> str:
    """A list of hook sidecars as one of as many empty objects."""
    try:
        listed = json.loads(hooks)
    except ValueError:
        return ""
    return json.dumps([{} for _ in listed]) if isinstance(listed, list) else "{}"
