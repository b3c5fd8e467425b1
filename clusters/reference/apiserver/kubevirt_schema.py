"""Schemas of VirtualMachineInstance and KubeVirt.

The fields are those of kubevirt.io/api/core/v1 (types.go, schema.go). Parts that no
check here looks into are kept as they are instead of being spelt out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clusters.reference.apiserver.builtin_schema import model
from clusters.reference.apiserver.schema import Schema

_TEXT = Schema("string")
_INT = Schema("integer")
_COUNT = Schema("integer", minimum=0)
_BOOL = Schema("boolean")
_TIME = Schema("date-time")
_QUANTITY = Schema("quantity")
_PORT = Schema("int-or-string")
_OPEN = Schema("object", open=True)
_TEXTS: Any = {"*": _TEXT}
_RESOURCES: Any = {"*": _QUANTITY}

_DESCRIPTIONS = {
    "": "One running virtual machine, or one that is to run.",
    "spec.domain": "What the guest's machine is like.",
    "spec.domain.cpu": "The guest's CPUs: topology, model, placement.",
    "spec.domain.cpu.cores": "Cores in each socket of the guest.",
    "spec.domain.cpu.sockets": "Sockets of the guest.",
    "spec.domain.cpu.threads": "Threads in each core of the guest.",
    "spec.domain.cpu.maxSockets": "Sockets that the guest may grow to.",
    "spec.domain.cpu.model": "CPU model that the guest sees; host-model by default.",
    "spec.domain.cpu.features": "CPU features that are required or forbidden.",
    "spec.domain.cpu.dedicatedCpuPlacement": (
        "Give every vCPU a pCPU of its own, which nothing else runs on."
    ),
    "spec.domain.cpu.isolateEmulatorThread": (
        "One more dedicated pCPU, for the emulator thread. Needs dedicatedCpuPlacement."
    ),
    "spec.domain.cpu.numa": "NUMA topology of the guest.",
    "spec.domain.cpu.numa.guestMappingPassthrough": (
        "The guest sees the NUMA topology of the pCPUs that it was given. Needs "
        "dedicatedCpuPlacement and hugepages."
    ),
    "spec.domain.cpu.realtime": "Tune for real-time guests. Needs dedicatedCpuPlacement and numa.",
    "spec.domain.cpu.realtime.mask": "vCPUs to be run with real-time priority; all by default.",
    "spec.domain.ioThreadsPolicy": "How IOThreads are made: shared, auto or supplementalPool.",
    "spec.domain.ioThreads.supplementalPoolThreadCount": "Number of IOThreads of the pool.",
    "spec.domain.memory": "Memory of the guest.",
    "spec.domain.memory.guest": "Memory that the guest sees.",
    "spec.domain.memory.hugepages.pageSize": "Size of the pages that back the guest: 2Mi, 1Gi.",
    "spec.domain.resources": "Resources that the launcher's compute container asks for.",
    "spec.domain.resources.requests": "At least this; memory is the guest's.",
    "spec.domain.resources.limits": "At most this.",
    "spec.domain.devices": "Disks, interfaces and other devices of the guest.",
    "spec.nodeSelector": "Labels that the node must have.",
    "spec.volumes": "What the disks are filled with.",
    "spec.networks": "What the interfaces are connected to.",
    "status.phase": "Pending, Scheduling, Scheduled, Running, Succeeded, Failed or Unknown.",
    "status.nodeName": "The node that it runs on.",
}


@functools.cache
def virtual_machine_instance() -> Schema:
    """The whole VirtualMachineInstance."""
    probe: Any = {
        **dict.fromkeys(("failureThreshold", "initialDelaySeconds", "periodSeconds"), _INT),
        **dict.fromkeys(("successThreshold", "timeoutSeconds"), _INT),
        "exec": {"command": [_TEXT]},
        "guestAgentPing": {},
        "httpGet": model("V1HTTPGetAction"),
        "tcpSocket": {"host": _TEXT, "port!": _PORT},
    }
    spec = {
        "accessCredentials": [_OPEN],
        "affinity": model("V1Affinity"),
        "architecture": _TEXT,
        "dnsConfig": model("V1PodDNSConfig"),
        "dnsPolicy": _TEXT,
        "domain!": _domain(),
        "evictionStrategy": _TEXT,
        "hostname": _TEXT,
        "livenessProbe": probe,
        "networks": [
            {
                "name!": _TEXT,
                "multus": {"default": _BOOL, "networkName!": _TEXT},
                "pod": {"vmIPv6NetworkCIDR": _TEXT, "vmNetworkCIDR": _TEXT},
                "resourceClaim": {"claimName": _TEXT, "requestName": _TEXT},
            }
        ],
        "nodeSelector": _TEXTS,
        "priorityClassName": _TEXT,
        "readinessProbe": probe,
        "resourceClaims": [model("V1PodResourceClaim")],
        "schedulerName": _TEXT,
        "serviceAccountName": _TEXT,
        "startStrategy": _TEXT,
        "subdomain": _TEXT,
        "terminationGracePeriodSeconds": _INT,
        "tolerations": [model("V1Toleration")],
        "topologySpreadConstraints": [model("V1TopologySpreadConstraint")],
        "utilityVolumes": [_OPEN],
        "volumes": [_volume()],
    }
    status = {
        "activePods": _TEXTS,
        "conditions": [_condition()],
        "currentCPUTopology": {"cores": _INT, "sockets": _INT, "threads": _INT},
        "guestOSInfo": _OPEN,
        "interfaces": [_OPEN],
        "launcherContainerImageVersion": _TEXT,
        "memory": dict.fromkeys(
            ("guestAtBoot", "guestCurrent", "guestRequested", "memoryOverhead"), _QUANTITY
        ),
        "migrationMethod": _TEXT,
        "migrationState": _OPEN,
        "nodeName": _TEXT,
        "phase": _TEXT,
        "phaseTransitionTimestamps": [
            {"phase": _TEXT, "phaseTransitionTimestamp": _TIME},
        ],
        "qosClass": _TEXT,
        "reason": _TEXT,
        "runtimeUser": _INT,
        "selinuxContext": _TEXT,
        "volumeStatus": [_OPEN],
    }
    return _resource({"spec!": spec, "status": _open(status)}, _DESCRIPTIONS)


@functools.cache
def kubevirt() -> Schema:
    """The whole KubeVirt, which configures a KubeVirt installation."""
    resources = {"limits": _RESOURCES, "requests": _RESOURCES}
    placement = {
        "nodePlacement": {
            "affinity": model("V1Affinity"),
            "nodeSelector": _TEXTS,
            "tolerations": [model("V1Toleration")],
        },
        "replicas": _INT,
    }
    verbosity = dict.fromkeys(
        ("virtAPI", "virtController", "virtHandler", "virtLauncher", "virtOperator"), _INT
    )
    developer = {
        "clusterProfiler": _BOOL,
        "cpuAllocationRatio": _INT,
        "disabledFeatureGates": [_TEXT],
        "diskVerification": {"memoryLimit!": _QUANTITY},
        "featureGates": [_TEXT],
        "logVerbosity": {**verbosity, "nodeVerbosity": {"*": _INT}},
        "memoryOvercommit": _INT,
        "minimumClusterTSCFrequency": _INT,
        "minimumReservePVCBytes": _INT,
        "nodeSelectors": _TEXTS,
        "pvcTolerateLessSpaceUpToPercent": _INT,
        "useEmulation": _BOOL,
    }
    # Settings of parts that the embedded stack does not have are kept unread.
    configuration = {
        "cpuModel": _TEXT,
        "cpuRequest": _QUANTITY,
        "defaultRuntimeClass": _TEXT,
        "developerConfiguration": developer,
        "emulatedMachines": [_TEXT],
        "evictionStrategy": _TEXT,
        "imagePullPolicy": _TEXT,
        "machineType": _TEXT,
        "minCPUModel": _TEXT,
        "obsoleteCPUModels": {"*": _BOOL},
        "supportContainerResources": [{"resources!": resources, "type!": _TEXT}],
        "vmRolloutStrategy": Schema("string", enum=("Stage", "LiveUpdate")),
        **dict.fromkeys(
            (
                "apiConfiguration",
                "architectureConfiguration",
                "autoCPULimitNamespaceLabelSelector",
                "changedBlockTrackingLabelSelectors",
                "commonInstancetypesDeployment",
                "confidentialCompute",
                "controllerConfiguration",
                "handlerConfiguration",
                "instancetype",
                "ksmConfiguration",
                "liveUpdateConfiguration",
                "mediatedDevicesConfiguration",
                "migrations",
                "network",
                "permittedHostDevices",
                "persistentReservationConfiguration",
                "seccompConfiguration",
                "smbios",
                "tlsConfiguration",
                "virtTemplateDeployment",
                "virtualMachineOptions",
                "webhookConfiguration",
            ),
            _OPEN,
        ),
        **dict.fromkeys(
            (
                "additionalGuestMemoryOverheadRatio",
                "ovmfPath",
                "roleAggregationStrategy",
                "selinuxLauncherType",
                "vmStateStorageClass",
            ),
            _TEXT,
        ),
        "hypervisors": [_OPEN],
        "memBalloonStatsPeriod": _INT,
        "supportedGuestAgentVersions": [_TEXT],
        "virtualMachineInstancesPerNode": _INT,
    }
    spec = {
        "certificateRotateStrategy": _OPEN,
        "configuration": configuration,
        "customizeComponents": {
            "flags": _OPEN,
            "patches": [
                {
                    "patch!": _TEXT,
                    "resourceName!": _TEXT,
                    "resourceType!": _TEXT,
                    "type!": _TEXT,
                }
            ],
        },
        "imagePullSecrets": [{"name": _TEXT}],
        "infra": placement,
        "workloads": placement,
        "workloadUpdateStrategy": {
            "batchEvictionInterval": _TEXT,
            "batchEvictionSize": _INT,
            "workloadUpdateMethods": [_TEXT],
        },
        **dict.fromkeys(
            (
                "imagePullPolicy",
                "imageRegistry",
                "imageTag",
                "monitorAccount",
                "monitorNamespace",
                "productComponent",
                "productName",
                "productVersion",
                "serviceMonitorNamespace",
                "synchronizationPort",
                "uninstallStrategy",
            ),
            _TEXT,
        ),
    }
    status = {
        "conditions": [_condition()],
        "generations": [_OPEN],
        "observedGeneration": _INT,
        "observedKubeVirtVersion": _TEXT,
        "operatorVersion": _TEXT,
        "phase": _TEXT,
        "targetKubeVirtVersion": _TEXT,
    }
    gates = "Names of the feature gates that are on, such as CPUManager."
    return _resource(
        {"spec!": spec, "status": _open(status)},
        {
            "": "The configuration and the state of a KubeVirt installation.",
            "spec.configuration.developerConfiguration.featureGates": gates,
        },
    )


def _domain() -> Any:
    enabled = {"enabled": _BOOL}
    timer = {"present": _BOOL, "tickPolicy": _TEXT}
    return {
        "chassis": dict.fromkeys(("asset", "manufacturer", "serial", "sku", "version"), _TEXT),
        "clock": {
            "timer": {
                "hpet": timer,
                "hyperv": {"present": _BOOL},
                "kvm": {"present": _BOOL},
                "pit": timer,
                "rtc": {**timer, "track": _TEXT},
            },
            "timezone": _TEXT,
            "utc": {"offsetSeconds": _INT},
        },
        "cpu": {
            "cores": _COUNT,
            "dedicatedCpuPlacement": _BOOL,
            "features": [{"name!": _TEXT, "policy": _TEXT}],
            "isolateEmulatorThread": _BOOL,
            "maxSockets": _COUNT,
            "model": _TEXT,
            "numa": {"guestMappingPassthrough": {}},
            "realtime": {"mask": _TEXT},
            "sockets": _COUNT,
            "threads": _COUNT,
        },
        "devices!": _devices(),
        "features": {
            "acpi": enabled,
            "apic": {**enabled, "endOfInterrupt": _BOOL},
            "hyperv": _OPEN,
            "hypervPassthrough": enabled,
            "kvm": {"hidden": _BOOL},
            "pvspinlock": enabled,
            "smm": enabled,
        },
        "firmware": {
            "acpi": {"msdmNameRef": _TEXT, "slicNameRef": _TEXT},
            "bootloader": {
                "bios": {"useSerial": _BOOL},
                "efi": {"persistent": _BOOL, "secureBoot": _BOOL},
            },
            "kernelBoot": {
                "container": {
                    "image!": _TEXT,
                    "imagePullPolicy": _TEXT,
                    "imagePullSecret": _TEXT,
                    "initrdPath": _TEXT,
                    "kernelPath": _TEXT,
                },
                "kernelArgs": _TEXT,
            },
            "serial": _TEXT,
            "uuid": _TEXT,
        },
        "ioThreads": {"supplementalPoolThreadCount": _COUNT},
        "ioThreadsPolicy": _TEXT,
        "launchSecurity": _OPEN,
        "machine": {"type": _TEXT},
        "memory": {
            "guest": _QUANTITY,
            "hugepages": {"pageSize": _TEXT},
            "maxGuest": _QUANTITY,
            "reservedOverhead": {"addedOverhead": _QUANTITY, "memLock": _TEXT},
        },
        "rebootPolicy": Schema("string", enum=("Reboot", "Terminate")),
        "resources": {
            "limits": _RESOURCES,
            "overcommitGuestOverhead": _BOOL,
            "requests": _RESOURCES,
        },
    }


def _devices() -> Any:
    bus = {"bus": _TEXT, "readonly": _BOOL}
    return {
        **dict.fromkeys(
            (
                "autoattachGraphicsDevice",
                "autoattachInputDevice",
                "autoattachMemBalloon",
                "autoattachPodInterface",
                "autoattachSerialConsole",
                "autoattachVSOCK",
                "blockMultiQueue",
                "disableHotplug",
                "logSerialConsole",
                "networkInterfaceMultiqueue",
                "useVirtioTransitional",
            ),
            _BOOL,
        ),
        "clientPassthrough": {},
        "disks": [
            {
                "blockSize": _OPEN,
                "bootOrder": _COUNT,
                "cache": _TEXT,
                "cdrom": {**bus, "tray": _TEXT},
                "changedBlockTracking": _BOOL,
                "dedicatedIOThread": _BOOL,
                "disk": {**bus, "pciAddress": _TEXT},
                "errorPolicy": _TEXT,
                "io": _TEXT,
                "lun": {**bus, "reservation": _BOOL},
                "name!": _TEXT,
                "serial": _TEXT,
                "shareable": _BOOL,
                "tag": _TEXT,
            }
        ],
        "downwardMetrics": {},
        "filesystems": [{"name!": _TEXT, "virtiofs!": _OPEN}],
        "gpus": [_OPEN],
        "hostDevices": [_OPEN],
        "inputs": [{"bus": _TEXT, "name!": _TEXT, "type!": _TEXT}],
        "interfaces": [
            {
                "acpiIndex": _INT,
                "binding": {"name!": _TEXT},
                "bootOrder": _COUNT,
                "bridge": {},
                "dhcpOptions": _OPEN,
                "macAddress": _TEXT,
                "macvtap": {},
                "masquerade": {},
                "model": _TEXT,
                "name!": _TEXT,
                "passt": {},
                "passtBinding": {},
                "pciAddress": _TEXT,
                "ports": [{"name": _TEXT, "port!": _INT, "protocol": _TEXT}],
                "slirp": {},
                "sriov": {},
                "state": _TEXT,
                "tag": _TEXT,
            }
        ],
        "panicDevices": [{"model": _TEXT}],
        "rng": {},
        "sound": {"model": _TEXT, "name!": _TEXT},
        "tpm": {"enabled": _BOOL, "persistent": _BOOL},
        "video": {"type": _TEXT},
        "watchdog": {
            "diag288": {"action": _TEXT},
            "i6300esb": {"action": _TEXT},
            "name!": _TEXT,
        },
    }


def _volume() -> Any:
    reference = {"name": _TEXT}
    cloud_init = {
        "networkData": _TEXT,
        "networkDataBase64": _TEXT,
        "networkDataSecretRef": reference,
        "secretRef": reference,
        "userData": _TEXT,
        "userDataBase64": _TEXT,
    }
    claim = {"claimName!": _TEXT, "hotpluggable": _BOOL, "readOnly": _BOOL}
    return {
        "name!": _TEXT,
        "cloudInitConfigDrive": cloud_init,
        "cloudInitNoCloud": cloud_init,
        "configMap": {"name": _TEXT, "optional": _BOOL, "volumeLabel": _TEXT},
        "containerDisk": {
            "image!": _TEXT,
            "imagePullPolicy": _TEXT,
            "imagePullSecret": _TEXT,
            "path": _TEXT,
        },
        "containerPath": {"path!": _TEXT, "readOnly": _BOOL},
        "dataVolume": {"hotpluggable": _BOOL, "name!": _TEXT},
        "downwardAPI": _OPEN,
        "downwardMetrics": {},
        "emptyDisk": {"capacity!": _QUANTITY},
        "ephemeral": {"persistentVolumeClaim": {"claimName!": _TEXT, "readOnly": _BOOL}},
        "hostDisk": {"capacity": _QUANTITY, "path!": _TEXT, "shared": _BOOL, "type!": _TEXT},
        "memoryDump": claim,
        "persistentVolumeClaim": claim,
        "secret": {"optional": _BOOL, "secretName": _TEXT, "volumeLabel": _TEXT},
        "serviceAccount": {"serviceAccountName": _TEXT},
        "sysprep": {"configMap": reference, "secret": reference},
    }


def _condition() -> Any:
    return {
        "lastProbeTime": Schema("any"),
        "lastTransitionTime": Schema("any"),
        "message": _TEXT,
        "reason": _TEXT,
        "status!": _TEXT,
        "type!": _TEXT,
    }


def _open(fields: Mapping[str, Any]) -> Schema:
    return replace(_build(fields, "status", {}), open=True)


def _resource(fields: Mapping[str, Any], descriptions: Mapping[str, str]) -> Schema:
    return _build(
        {"apiVersion": _TEXT, "kind": _TEXT, "metadata": model("V1ObjectMeta"), **fields},
        "",
        descriptions,
    )


def _build(shape: Any, path: str, descriptions: Mapping[str, str]) -> Schema:
    """A schema from nested dicts (objects; ``!`` marks required), ``{"*": ...}`` and lists."""
    if isinstance(shape, Schema):
        schema = shape
    elif isinstance(shape, list):
        schema = Schema("array", items=_build(shape[0], path, descriptions))
    elif "*" in shape:
        schema = Schema("map", items=_build(shape["*"], path, descriptions))
    else:
        schema = Schema(
            "object",
            properties={
                key.rstrip("!"): _build(
                    below, f"{path}.{key}".strip(".").replace("!", ""), descriptions
                )
                for key, below in shape.items()
            },
            required=frozenset(key[:-1] for key in shape if key.endswith("!")),
        )
    text = descriptions.get(path, "")
    return replace(schema, description=text) if text else schema
