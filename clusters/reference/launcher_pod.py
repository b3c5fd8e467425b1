"""The launcher pod of a VMI: containers, resources, selectors.

kubevirt pkg/virt-controller/services (template.go, renderresources.go,
serialconsolelog.go), pkg/container-disk and pkg/hypervisor/kvm (memory overhead).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from clusters.reference import images, quantity, vmi
from clusters.reference.apiserver.resources import VMI
from clusters.reference.apiserver.store import Object
from clusters.reference.cluster_config import V1ALPHA2, ClusterConfig
from clusters.reference.faults import Faults

COMPUTE = "compute"
CONSOLE_LOG = "guest-console-log"
CREATED_BY = "kubevirt.io/created-by"
MIGRATION_JOB = "kubevirt.io/migrationJobUID"
"""Label of the target pod of a migration: the UID of that."""
APP_LABEL = "kubevirt.io"
APP = "virt-launcher"
DOMAIN_ANNOTATION = "kubevirt.io/domain"
SCHEDULABLE = "kubevirt.io/schedulable"
CPU_MANAGER = "kubevirt.io/cpumanager"
DEPRECATED_CPU_MANAGER = "cpumanager"
KVM_DEVICE = "devices.kubevirt.io/kvm"
HUGEPAGES = "hugepages-"
REALTIME = "kubevirt.io/realtime"
"""What resources of huge pages begin with; the size of a page follows."""

_MI = 1024 * 1024
_FIXED_OVERHEAD = (25 + 100 + 25 + 40 + 50) * _MI
"""virt-launcher-monitor, virt-launcher, virtlogd, virtqemud, QEMU."""
_PER_VCPU = 8 * _MI
_IOTHREAD = 8 * _MI
_VIDEO = 32 * _MI
_GUARANTEED_MARGIN = 100 * _MI
_GRACE_PADDING = 30

Resources = dict[str, dict[str, str]]


class TemplateError(Exception):
    """The pod cannot be rendered; the message becomes an event."""


def render(instance: Object, config: ClusterConfig, faults: Faults) -> Object:
    """The pod to be created for a VMI that was admitted. Raises TemplateError."""
    metadata = instance["metadata"]
    name = metadata["name"]
    host = _host_name(name)
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith("kubectl.kubernetes.io")
    }
    grace = int(instance["spec"].get("terminationGracePeriodSeconds") or 0) + _GRACE_PADDING
    return {
        "metadata": {
            "generateName": f"virt-launcher-{name}-",
            "namespace": metadata["namespace"],
            "labels": {
                **(metadata.get("labels") or {}),
                APP_LABEL: APP,
                CREATED_BY: metadata["uid"],
                "vm.kubevirt.io/name": host,
                "vmi.kubevirt.io/id": host,
            },
            "annotations": {
                **annotations,
                DOMAIN_ANNOTATION: name,
                "kubectl.kubernetes.io/default-container": COMPUTE,
            },
            "ownerReferences": [
                {
                    "apiVersion": VMI.api_version,
                    "kind": VMI.kind,
                    "name": name,
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "hostname": host,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace,
            "nodeSelector": _node_selector(instance, config, faults),
            "initContainers": list(_init_containers(instance, config)),
            "containers": list(_containers(instance, config, faults)),
            **{
                key: instance["spec"][key]
                for key in ("affinity", "tolerations", "schedulerName")
                if instance["spec"].get(key)
            },
        },
    }


def _host_name(name: str) -> str:
    """A DNS label of a VMI's name (pkg/network/dns, SanitizeHostname)."""
    return name.partition(".")[0][:63].rstrip("-")


def compute_cpus(instance: Object) -> int:
    """CPUs of the compute container of a VMI with dedicated CPUs."""
    cpus = vmi.vcpus(instance) + vmi.supplemental_iothreads(instance)
    if vmi.isolates_emulator(instance):
        cpus += 2 if vmi.completes_to_even(instance) and cpus % 2 == 0 else 1
    return cpus


def memory_overhead(instance: Object) -> int:
    """Bytes that the launcher and QEMU need beside the guest's memory."""
    requested = quantity.value(vmi.resource_of(instance, "requests", "memory"))
    page_tables = -(-requested // 1000) * 1000 // 512
    overhead = page_tables + _FIXED_OVERHEAD + _PER_VCPU * vmi.vcpus(instance) + _IOTHREAD
    if vmi.domain_of(instance).get("devices", {}).get("autoattachGraphicsDevice", True):
        overhead += _VIDEO
    if _must_be_guaranteed(instance):
        overhead += _GUARANTEED_MARGIN
    return overhead


def _must_be_guaranteed(instance: Object) -> bool:
    """Dedicated, or all of its CPU and memory requests equal its limits."""
    if vmi.is_dedicated(instance):
        return True
    pairs = [
        [quantity.milli(vmi.resource_of(instance, kind, name)) for kind in ("requests", "limits")]
        for name in ("cpu", "memory")
    ]
    return all(request and request == limit for request, limit in pairs)


def _node_selector(instance: Object, config: ClusterConfig, faults: Faults) -> dict[str, str]:
    selector = {SCHEDULABLE: "true", "kubernetes.io/arch": instance["spec"]["architecture"]}
    selector.update(instance["spec"].get("nodeSelector") or {})
    if vmi.is_dedicated(instance) and not faults.selector_missing:
        label = DEPRECATED_CPU_MANAGER if config.profile == V1ALPHA2 else CPU_MANAGER
        selector[label] = "true"
    if vmi.realtime(instance):
        selector[REALTIME] = "true"
    return selector


def _containers(instance: Object, config: ClusterConfig, faults: Faults) -> Iterator[Object]:
    metadata = instance["metadata"]
    yield {
        "name": COMPUTE,
        "image": images.LAUNCHER,
        "command": [images.LAUNCHER_COMMAND],
        "args": [
            *("--name", metadata["name"], "--uid", metadata["uid"]),
            *("--namespace", metadata["namespace"]),
        ],
        "resources": _compute_resources(instance, config, faults),
    }
    for volume in _container_disks(instance):
        yield {
            "name": f"volume{volume['name']}",
            "image": volume["containerDisk"].get("image", ""),
            "command": [images.CONTAINER_DISK_COMMAND],
            "resources": _disk_resources(instance, config),
        }
    if kernel := _kernel_boot(instance):
        yield {
            "name": "volumekernel-boot-volume",
            "image": kernel.get("image", ""),
            "command": [images.CONTAINER_DISK_COMMAND],
            "resources": _disk_resources(instance, config),
        }
    for index, sidecar in enumerate(_hook_sidecars(instance)):
        yield {
            "name": f"hook-sidecar-{index}",
            "image": sidecar.get("image") or "sidecar-shim:embedded",
            **{key: sidecar[key] for key in ("command", "args") if sidecar.get(key)},
            "resources": _sidecar_resources(instance, faults),
        }


def _init_containers(instance: Object, config: ClusterConfig) -> Iterator[Object]:
    if _logs_console(instance, config):
        uid = instance["metadata"]["uid"]
        yield {
            "name": CONSOLE_LOG,
            "image": images.LAUNCHER,
            "command": [images.CONSOLE_LOG_COMMAND],
            "args": ["--logfile", f"/var/run/kubevirt-private/{uid}/virt-serial0-log"],
            "restartPolicy": "Always",
            "resources": _support(instance, ("15m", "60M"), ("5m", "35M")),
        }
    volumes, kernel = _container_disks(instance), _kernel_boot(instance)
    if volumes or kernel:
        yield {
            "name": "container-disk-binary",
            "image": images.LAUNCHER,
            "command": ["/usr/bin/cp"],
            "args": ["--preserve=all", images.CONTAINER_DISK_COMMAND, "/init/usr/bin"],
            "resources": _init_resources(instance),
        }
    for volume in volumes:
        yield {
            "name": f"volume{volume['name']}-init",
            "image": volume["containerDisk"].get("image", ""),
            "command": [images.CONTAINER_DISK_COMMAND],
            "args": [images.NO_OP],
            "resources": _disk_resources(instance, config),
        }
    if kernel:
        yield {
            "name": "volumekernel-boot-volume-init",
            "image": kernel.get("image", ""),
            "command": [images.CONTAINER_DISK_COMMAND],
            "args": [images.NO_OP],
            "resources": _disk_resources(instance, config),
        }


def _compute_resources(instance: Object, config: ClusterConfig, faults: Faults) -> Resources:
    stated = vmi.domain_of(instance).get("resources") or {}
    limits = {name: str(text) for name, text in (stated.get("limits") or {}).items()}
    requests = {name: str(text) for name, text in (stated.get("requests") or {}).items()}
    overhead = memory_overhead(instance)
    guest = (vmi.domain_of(instance).get("memory") or {}).get("guest")
    asked = quantity.value(requests.get("memory") or limits.get("memory") or guest)
    if size := vmi.page_size(instance):
        # The guest's memory is huge pages; what is beyond it costs memory (WithHugePages).
        huge = min(asked, quantity.value(guest))
        requests[HUGEPAGES + size] = limits[HUGEPAGES + size] = quantity.render_bytes(huge)
        asked -= huge
        if "memory" in limits:
            beyond = max(0, quantity.value(limits["memory"]) - quantity.value(guest))
            limits["memory"] = str(beyond)
    requests["memory"] = quantity.render_bytes(asked + overhead)
    if "memory" in limits:
        limits["memory"] = quantity.render_bytes(quantity.value(limits["memory"]) + overhead)
    if vmi.is_dedicated(instance):
        cpus = compute_cpus(instance)
        if faults.emulator_cpu_missing and vmi.isolates_emulator(instance):
            cpus -= 1
        if faults.parity_cpu_missing and vmi.completes_to_even(instance):
            cpus -= 1
        requests["cpu"] = limits["cpu"] = str(cpus)
        limits["memory"] = requests["memory"]
        if faults.qos_broken:
            limits["memory"] = quantity.render_bytes(asked + overhead + _MI)
    else:
        shared = -(-1000 * vmi.vcpus(instance) // config.cpu_allocation_ratio)
        requests.setdefault("cpu", quantity.render_milli(shared))
    limits[KVM_DEVICE] = requests[KVM_DEVICE] = "1"
    return {"limits": limits, "requests": requests}


def _sidecar_resources(instance: Object, faults: Faults) -> Resources:
    if faults.sidecar_without_resources or not _must_be_guaranteed(instance):
        return {}
    cpu = "1" if faults.sidecar_pinned else "200m"
    return _amounts((cpu, "64M"), (cpu, "64M"))


def _disk_resources(instance: Object, config: ClusterConfig) -> Resources:
    """The container of a disk; in the time of v1alpha2 it cost as much as a hook sidecar."""
    if config.profile == V1ALPHA2:
        return _support(instance, ("200m", "64M"), ("1m", "1M"))
    return _support(instance, ("10m", "40M"), ("1m", "1M"))


def _init_resources(instance: Object) -> Resources:
    if _must_be_guaranteed(instance):
        return _amounts(("10m", "40M"), ("10m", "40M"))
    return _amounts(("100m", "40M"), ("10m", "1M"))


def _support(instance: Object, limits: tuple[str, str], requests: tuple[str, str]) -> Resources:
    """Requests equal limits where the pod must be Guaranteed."""
    return _amounts(limits, limits if _must_be_guaranteed(instance) else requests)


def _amounts(limits: tuple[str, str], requests: tuple[str, str]) -> Resources:
    return {
        "limits": {"cpu": limits[0], "memory": limits[1]},
        "requests": {"cpu": requests[0], "memory": requests[1]},
    }


def _logs_console(instance: Object, config: ClusterConfig) -> bool:
    devices = vmi.domain_of(instance).get("devices") or {}
    if devices.get("autoattachSerialConsole") is False:
        return False
    return bool(devices.get("logSerialConsole", config.logs_serial_console))


def _container_disks(instance: Object) -> list[Object]:
    return [v for v in instance["spec"].get("volumes") or () if v.get("containerDisk")]


def _kernel_boot(instance: Object) -> Object | None:
    firmware = vmi.domain_of(instance).get("firmware") or {}
    found: Object | None = (firmware.get("kernelBoot") or {}).get("container")
    return found


def _hook_sidecars(instance: Object) -> list[Object]:
    text = (instance["metadata"].get("annotations") or {}).get(vmi.HOOK_SIDECARS)
    if not text:
        return []
    try:
        sidecars = json.loads(text)
    except ValueError as error:
        raise TemplateError(f"annotation {vmi.HOOK_SIDECARS} is no JSON: {error}") from error
    if not isinstance(sidecars, list) or not all(isinstance(s, dict) for s in sidecars):
        raise TemplateError(f"annotation {vmi.HOOK_SIDECARS} is no list of objects: {text}")
    return sidecars
