"""Reads the fields of a VMI manifest that decide how it is placed, types included.

Values that the API's schema cannot hold are collected as `Misfit`s, by JSON path; they
are refused before any rule of KubeVirt is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from conformance.matrix.quantity import MalformedQuantity, parse_quantity

UINT32_MAX = 2**32 - 1
"""The largest number that the topology fields of the VMI API can hold."""

EVEN_PARITY = "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity"
"""Annotation that asks for an even number of CPUs when the emulator thread is isolated."""

HOOK_SIDECARS = "hooks.kubevirt.io/hookSidecars"
"""Annotation that lists the hook sidecars as JSON."""


@dataclass(frozen=True)
class Misfit:
    """A value of the wrong type, out of range, or a malformed quantity.

    Attributes:
        path: JSON path of the field, such as ``spec.domain.cpu.cores``.
        why: one clause that quotes the value.
    """

    path: str
    why: str


@dataclass(frozen=True)
class Placement:
    """What a manifest asks for; None where it says nothing.

    Attributes:
        requests_cpu, limits_cpu: CPUs; requests_memory, limits_memory, guest_memory: bytes.
        iothreads_policy: as written.
        supplemental_iothreads: ``ioThreads.supplementalPoolThreadCount``.
        disks_with_iothread: disks that ask for an IOThread of their own.
        container_disks: volume names.
        hook_sidecars: number of hook sidecars; None when the annotation is not a JSON list.
        misfits: fields that the schema cannot hold.
    """

    dedicated: bool = False
    isolate_emulator: bool = False
    even_parity: bool = False
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    max_sockets: int | None = None
    requests_cpu: Fraction | None = None
    limits_cpu: Fraction | None = None
    requests_memory: Fraction | None = None
    limits_memory: Fraction | None = None
    guest_memory: Fraction | None = None
    hugepages: bool = False
    numa_passthrough: bool = False
    realtime: bool = False
    iothreads_policy: str | None = None
    supplemental_iothreads: int | None = None
    disks_with_iothread: int = 0
    container_disks: tuple[str, ...] = ()
    hook_sidecars: int | None = 0
    misfits: tuple[Misfit, ...] = ()

    @property
    def has_topology(self) -> bool:
        """Whether any of sockets, cores and threads is given."""
        return any(count is not None for count in (self.sockets, self.cores, self.threads))

    @property
    def topology_vcpus(self) -> int:
        """sockets x cores x threads, each 1 where it is not given."""
        product = 1
        for count in (self.sockets, self.cores, self.threads):
            product *= 1 if count is None else count
        return product

    @property
    def resources_cpu(self) -> Fraction | None:
        """CPUs by resources: of the limit, else of the request."""
        return self.requests_cpu if self.limits_cpu is None else self.limits_cpu


def read_placement(manifest: Mapping[str, Any], profile: str = "v1") -> Placement:
    """Reads a VMI manifest; never raises, whatever its values are.

    Of the topology, the profile ``v1alpha2`` knows cores alone; what it does not know is not
    read, as unknown fields are not.
    """
    placement = _Reader().placement(manifest)
    if profile != "v1alpha2":
        return placement
    return replace(placement, sockets=None, threads=None, max_sockets=None, isolate_emulator=False)


class _Reader:
    """Walks a manifest by path and remembers what did not fit."""

    def __init__(self) -> None:
        self.misfits: dict[str, Misfit] = {}

    def placement(self, manifest: Mapping[str, Any]) -> Placement:
        spec = self._mapping(manifest, "spec", "", required=True)
        domain = self._mapping(spec, "domain", "spec", required="spec" not in self.misfits)
        cpu = self._mapping(domain, "cpu", "spec.domain")
        memory = self._mapping(domain, "memory", "spec.domain")
        numa = self._mapping(cpu, "numa", "spec.domain.cpu")
        iothreads = self._mapping(domain, "ioThreads", "spec.domain")
        devices = self._mapping(domain, "devices", "spec.domain")
        resources = self._mapping(domain, "resources", "spec.domain")
        requests = self._mapping(resources, "requests", "spec.domain.resources")
        limits = self._mapping(resources, "limits", "spec.domain.resources")
        annotations = self._annotations(manifest)
        return Placement(
            dedicated=self._flag(cpu, "dedicatedCpuPlacement", "spec.domain.cpu"),
            isolate_emulator=self._flag(cpu, "isolateEmulatorThread", "spec.domain.cpu"),
            even_parity=EVEN_PARITY in annotations,
            sockets=self._count(cpu, "sockets", "spec.domain.cpu"),
            cores=self._count(cpu, "cores", "spec.domain.cpu"),
            threads=self._count(cpu, "threads", "spec.domain.cpu"),
            max_sockets=self._count(cpu, "maxSockets", "spec.domain.cpu"),
            requests_cpu=self._quantity(requests, "cpu", "spec.domain.resources.requests"),
            limits_cpu=self._quantity(limits, "cpu", "spec.domain.resources.limits"),
            requests_memory=self._quantity(requests, "memory", "spec.domain.resources.requests"),
            limits_memory=self._quantity(limits, "memory", "spec.domain.resources.limits"),
            guest_memory=self._quantity(memory, "guest", "spec.domain.memory"),
            hugepages=self._present(memory, "hugepages", "spec.domain.memory"),
            numa_passthrough=self._present(numa, "guestMappingPassthrough", "spec.domain.cpu.numa"),
            realtime=self._present(cpu, "realtime", "spec.domain.cpu"),
            iothreads_policy=self._text(domain, "ioThreadsPolicy", "spec.domain"),
            supplemental_iothreads=self._count(
                iothreads, "supplementalPoolThreadCount", "spec.domain.ioThreads"
            ),
            disks_with_iothread=sum(
                self._flag(disk, "dedicatedIOThread", path)
                for disk, path in self._items(devices, "disks", "spec.domain.devices")
            ),
            container_disks=tuple(
                str(volume.get("name"))
                for volume, path in self._items(spec, "volumes", "spec")
                if self._present(volume, "containerDisk", path)
            ),
            hook_sidecars=_hook_sidecars(annotations.get(HOOK_SIDECARS)),
            misfits=tuple(self.misfits.values()),
        )

    def _misfit(self, path: str, value: object, wanted: str) -> None:
        self.misfits.setdefault(path, Misfit(path, f"{value!r} is not {wanted}"))

    def _mapping(
        self, parent: Mapping[str, Any], key: str, path: str, *, required: bool = False
    ) -> Mapping[str, Any]:
        value = parent.get(key)
        if isinstance(value, Mapping):
            return value
        if value is not None or required:
            self._misfit(f"{path}.{key}".lstrip("."), value, "an object")
        return {}

    def _present(self, parent: Mapping[str, Any], key: str, path: str) -> bool:
        self._mapping(parent, key, path)
        return isinstance(parent.get(key), Mapping)

    def _items(
        self, parent: Mapping[str, Any], key: str, path: str
    ) -> Sequence[tuple[Mapping[str, Any], str]]:
        value = parent.get(key)
        where = f"{path}.{key}"
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self._misfit(where, value, "a list")
            return ()
        items = []
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                items.append((item, f"{where}[{index}]"))
            else:
                self._misfit(f"{where}[{index}]", item, "an object")
        return items

    def _flag(self, parent: Mapping[str, Any], key: str, path: str) -> bool:
        value = parent.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self._misfit(f"{path}.{key}", value, "true or false")
        return False

    def _text(self, parent: Mapping[str, Any], key: str, path: str) -> str | None:
        value = parent.get(key)
        if value is None or isinstance(value, str):
            return value
        self._misfit(f"{path}.{key}", value, "a string")
        return None

    def _count(self, parent: Mapping[str, Any], key: str, path: str) -> int | None:
        value = parent.get(key)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self._misfit(f"{path}.{key}", value, "an integer")
            return None
        if not 0 <= value <= UINT32_MAX:
            self._misfit(f"{path}.{key}", value, f"an integer from 0 to {UINT32_MAX}")
            return None
        return value

    def _quantity(self, parent: Mapping[str, Any], key: str, path: str) -> Fraction | None:
        value = parent.get(key)
        if value is None:
            return None
        try:
            return parse_quantity(value)
        except MalformedQuantity:
            self._misfit(f"{path}.{key}", value, "a Kubernetes quantity")
            return None

    def _annotations(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        metadata = self._mapping(manifest, "metadata", "")
        annotations = self._mapping(metadata, "annotations", "metadata")
        for key, value in annotations.items():
            if not isinstance(value, str):
                self._misfit(f"metadata.annotations.{key}", value, "a string")
        return annotations


def _hook_sidecars(annotation: object) -> int | None:
    if annotation is None:
        return 0
    try:
        hooks = json.loads(str(annotation))
    except ValueError:
        return None
    return len(hooks) if isinstance(hooks, list) else None
