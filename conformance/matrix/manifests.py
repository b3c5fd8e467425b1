"""Builds VMI manifests: small guests that boot a kernel from an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.matrix import kinds
from conformance.model.vocabulary import API_VERSIONS, EVEN_PARITY, HOOK_SIDECARS, V1

SMALL_MEMORY = "96Mi"
"""What the guest gets where a case is not about memory; it needs no more."""

PULL_POLICY = "IfNotPresent"
"""Images may have been loaded into the nodes; Kubernetes would pull ``latest`` every time."""


@dataclass(frozen=True)
class Images:
    """Names of the images that manifests refer to; every cluster kind has its own way to
    provide them.

    By default the names are of no registry, so that nobody's image is pulled by mistake.

    Attributes:
        guest: holds ``/boot/vmlinux`` and ``/boot/initrd``.
        disk: a containerDisk.
        sidecar: a hook sidecar that does nothing; with a shell, for plain pods.
    """

    guest: str = "localhost/cpu-conformance/guest:latest"
    disk: str = "localhost/cpu-conformance/disk:latest"
    sidecar: str = "localhost/cpu-conformance/sidecar:latest"

    @classmethod
    def below(cls, prefix: str, guest: str | None = None) -> Images:
        """The images as `./conform guest-image` names them, or another one for the guest."""
        return cls(
            guest or f"{prefix}/guest:latest", f"{prefix}/disk:latest", f"{prefix}/sidecar:latest"
        )


@dataclass(frozen=True)
class Wish:
    """What a VMI asks for. None leaves a field out; any other value is written as it is,
    so that wrong types and malformed quantities can be wished for, too.

    Attributes:
        sockets, cores, threads: ``spec.domain.cpu``.
        requests_cpu, limits_cpu, requests_memory, limits_memory: ``spec.domain.resources``.
        guest_memory, hugepages: ``guest`` and ``hugepages.pageSize`` of ``spec.domain.memory``.
        dedicated, isolate: ``dedicatedCpuPlacement`` and ``isolateEmulatorThread``.
        even_parity: the annotation that completes the CPUs to an even number.
        iothreads_policy, supplemental_iothreads: IOThreads.
        dedicated_iothread: its disk has an IOThread of its own.
        more_disks: number of further disks, which have none of their own.
        hooks: number of hook sidecars.
        container_disk: whether it has one.
        numa_passthrough, realtime, realtime_mask, max_sockets: further fields of
            ``spec.domain.cpu``.
        domain: what else ``spec.domain`` is to have, as a JSON merge patch: None takes away.
    """

    sockets: object = None
    cores: object = None
    threads: object = None
    requests_cpu: object = None
    limits_cpu: object = None
    requests_memory: object = None
    limits_memory: object = SMALL_MEMORY
    guest_memory: object = None
    hugepages: object = None
    dedicated: object = True
    isolate: object = None
    even_parity: bool = False
    iothreads_policy: object = None
    supplemental_iothreads: object = None
    dedicated_iothread: bool = False
    more_disks: int = 0
    hooks: int = 0
    container_disk: bool = False
    numa_passthrough: bool = False
    realtime: bool = False
    realtime_mask: object = None
    max_sockets: object = None
    domain: Mapping[str, Any] = field(default_factory=dict)


def vmi(
    name: str, wish: Wish, *, profile: str = V1, images: Images | None = None
) -> dict[str, Any]:
    """The manifest of a VMI, without a namespace.

    A VMI with IOThreads gets a disk where it has none: IOThreads serve disks.
    """
    images = images or Images()
    disks, volumes = _disks(wish, images)
    metadata: dict[str, Any] = {"name": name}
    if annotations := _annotations(wish, images):
        metadata["annotations"] = annotations
    domain: dict[str, Any] = {
        "cpu": _cpu(wish),
        "resources": _given(
            requests=_given(cpu=wish.requests_cpu, memory=wish.requests_memory),
            limits=_given(cpu=wish.limits_cpu, memory=wish.limits_memory),
        ),
        "memory": _given(guest=wish.guest_memory, hugepages=_given(pageSize=wish.hugepages)),
        "ioThreadsPolicy": wish.iothreads_policy,
        "ioThreads": _given(supplementalPoolThreadCount=wish.supplemental_iothreads),
    }
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": 0,
        "domain": {
            **_given(**domain),
            "devices": {
                # The guest needs none of them, and each costs time on an emulated node.
                "autoattachPodInterface": False,
                "autoattachGraphicsDevice": False,
                "autoattachMemBalloon": False,
                **_given(disks=disks),
            },
            "firmware": {"kernelBoot": _kernel_boot(images)},
        },
        **_given(volumes=volumes),
    }
    _merge(spec["domain"], wish.domain)
    return {
        "apiVersion": f"kubevirt.io/{API_VERSIONS[profile]}",
        "kind": "VirtualMachineInstance",
        "metadata": metadata,
        "spec": spec,
    }


def vm(name: str, wish: Wish, *, profile: str = V1, images: Images | None = None) -> dict[str, Any]:
    """A VirtualMachine that runs, and makes the VMI of the same name and wish."""
    made = vmi(name, wish, profile=profile, images=images)
    kept = {key: value for key, value in made["metadata"].items() if key != "name"}
    return {
        "apiVersion": made["apiVersion"],
        "kind": kinds.VM,
        "metadata": {"name": name},
        "spec": {"runStrategy": "Always", "template": {"metadata": kept, "spec": made["spec"]}},
    }


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def _given(**fields: object) -> dict[str, Any]:
    """The fields that are neither None nor an empty container."""
    return {key: value for key, value in fields.items() if value not in (None, {}, [])}


def _cpu(wish: Wish) -> Mapping[str, Any]:
    cpu = _given(
        sockets=wish.sockets,
        cores=wish.cores,
        threads=wish.threads,
        maxSockets=wish.max_sockets,
        dedicatedCpuPlacement=wish.dedicated,
        isolateEmulatorThread=wish.isolate,
    )
    if wish.numa_passthrough:
        cpu["numa"] = {"guestMappingPassthrough": {}}
    if wish.realtime:
        cpu["realtime"] = _given(mask=wish.realtime_mask)
    return cpu


def _annotations(wish: Wish, images: Images) -> dict[str, str]:
    annotations = {}
    if wish.even_parity:
        annotations[EVEN_PARITY] = ""
    if wish.hooks:
        hook = {"image": images.sidecar, "imagePullPolicy": PULL_POLICY}
        annotations[HOOK_SIDECARS] = json.dumps([hook] * wish.hooks)
    return annotations


def _disks(wish: Wish, images: Images) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    disks: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    if wish.container_disk:
        disks.append({"name": "image", "disk": {"bus": "virtio"}})
        disk = {"image": images.disk, "imagePullPolicy": PULL_POLICY}
        volumes.append({"name": "image", "containerDisk": disk})
    if wish.dedicated_iothread or (wish.iothreads_policy is not None and not disks):
        disks.append({"name": "scratch", "disk": {"bus": "virtio"}})
        volumes.append({"name": "scratch", "emptyDisk": {"capacity": "8Mi"}})
    if wish.dedicated_iothread:
        disks[-1]["dedicatedIOThread"] = True
    for number in range(1, wish.more_disks + 1):
        disks.append({"name": f"more-{number}", "disk": {"bus": "virtio"}})
        volumes.append({"name": f"more-{number}", "emptyDisk": {"capacity": "8Mi"}})
    return disks, volumes


def _kernel_boot(images: Images) -> dict[str, Any]:
    return {
        # Where its messages are not kept away they cut the guest's report into pieces.
        "kernelArgs": "console=ttyS0 quiet loglevel=0",
        "container": {
            "image": images.guest,
            "imagePullPolicy": PULL_POLICY,
            "kernelPath": "/boot/vmlinux",
            "initrdPath": "/boot/initrd",
        },
    }
