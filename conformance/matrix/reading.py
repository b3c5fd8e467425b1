"""Reads the fields of a VMI manifest that decide how it is placed, types included.

Values that the API's schema cannot hold are collected as `Misfit`s, by JSON path; they
are refused before any rule of KubeVirt is asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from conformance.matrix.conditions import CURRENT, Conditions
from conformance.matrix.quantity import LARGEST, MalformedQuantity, parse_quantity
from conformance.model.fields import LIMITS_CPU, REQUESTS_CPU
from conformance.model.vocabulary import EVEN_PARITY, HOOK_SIDECARS, V1, V1ALPHA2

INT32_MAX = 2**31 - 1
"""The largest number of CPUs that the CRD of VMIs can hold: integers of format int32."""
UINT32_MAX = 2**32 - 1
"""The largest number that KubeVirt's own types can hold there."""
JSON_INTEGER_MAX = 2**53 - 1
"""Larger numbers are fractions to many who read JSON, KubeVirt's schema among them."""

SCHEMA = "schema"
"""A value of a type that the schema does not have there, or a missing field; by its cause."""
DECODING = "decoding"
"""A number out of range or a malformed quantity. It is met before causes exist: at best the
message names the field."""
STORED = "stored"
"""A number that only the schema of what is stored cannot hold."""
STAGES = (SCHEMA, DECODING, STORED)
"""In which the API refuses values; the first that objects answers."""


@dataclass(frozen=True)
class Misfit:
    """A value of the wrong type, out of range, or a malformed quantity.

    Attributes:
        path: JSON path of the field, such as ``spec.domain.cpu.cores``.
        why: one clause that quotes the value.
        stage: which of `STAGES` refuses it.
    """

    path: str
    why: str
    stage: str = SCHEMA


@dataclass(frozen=True)
class IOThreadDisk:
    """A disk that asks for an IOThread of its own.

    Attributes:
        bus: as written; empty for none.
        plain: whether it is neither a CD-ROM nor a LUN.
        name: as written; empty for none.
    """

    index: int
    bus: str
    plain: bool
    name: str = ""


@dataclass(frozen=True)
class Placement:
    """What a manifest asks for; None where it says nothing.

    Attributes:
        requests_cpu, limits_cpu: CPUs; requests_memory, limits_memory, guest_memory: bytes. As
            Kubernetes counts: whole thousandths of a CPU and whole bytes, rounded away from zero.
        realtime_mask: of vCPUs, as written; None without one.
        iothreads_policy: as written.
        supplemental_iothreads: ``ioThreads.supplementalPoolThreadCount``.
        page_size: of the huge pages, as written; None without huge pages.
        machine: type as written.
        feature_policies: of every CPU feature, as written.
        iothread_disks: disks that ask for an IOThread of their own.
        container_disks: volume names.
        hook_sidecars: number of hook sidecars; None when the annotation is not a JSON list.
        asks_for_hooks: whether there is that annotation at all.
        uncounted: CPU quantities that 64 bits cannot hold in thousandths; they are read as none.
        misfits: fields that the schema cannot hold.
        on: what decides beside the manifest.
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
    page_size: str | None = None
    machine: str | None = None
    architecture: str | None = None
    feature_policies: tuple[str, ...] = ()
    numa_passthrough: bool = False
    realtime: bool = False
    realtime_mask: str | None = None
    iothreads_policy: str | None = None
    supplemental_iothreads: int | None = None
    iothread_disks: tuple[IOThreadDisk, ...] = ()
    container_disks: tuple[str, ...] = ()
    hook_sidecars: int | None = 0
    asks_for_hooks: bool = False
    uncounted: tuple[str, ...] = ()
    misfits: tuple[Misfit, ...] = ()
    on: Conditions = CURRENT

    @property
    def has_number(self) -> bool:
        """Whether the topology says how many: zero is the API's way to say nothing."""
        return any((self.sockets, self.cores, self.threads))

    @property
    def hugepages(self) -> bool:
        """Whether the guest's memory is to be of huge pages."""
        return self.page_size is not None

    @property
    def page_bytes(self) -> int | None:
        """Size of its huge pages; None without any, or where that is no quantity."""
        try:
            return math.ceil(parse_quantity(self.page_size))
        except MalformedQuantity:
            return None

    @property
    def asked_memory(self) -> Fraction | None:
        """The memory request, as releases before 1.7 fill it in."""
        if self.requests_memory or not self.on.fills_memory_request:
            return self.requests_memory
        return self.limits_memory or self.guest_memory or Fraction(self.page_bytes or 0)

    @property
    def defaulted_sockets(self) -> Fraction | None:
        """Sockets: as given, or what the CPUs of the resources become without any topology."""
        if self.has_number:
            return None if self.sockets is None else Fraction(self.sockets)
        asked = self.resources_cpu
        return None if asked is None else Fraction(math.ceil(asked))

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


def read_placement(
    manifest: Mapping[str, Any], profile: str = V1, on: Conditions | None = None
) -> Placement:
    """Reads a VMI manifest; never raises, whatever its values are.

    Of the topology, the profile ``v1alpha2`` knows cores alone; what it does not know is not
    read, as unknown fields are not.
    """
    placement = _counted(_Reader().placement(manifest))
    if on is not None:
        placement = replace(placement, on=on)
    if profile != V1ALPHA2:
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
        complete = not {"spec", "spec.domain"} & self.misfits.keys()
        devices = self._mapping(domain, "devices", "spec.domain", required=complete)
        machine = self._mapping(domain, "machine", "spec.domain")
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
            requests_cpu=self._cpus(requests, "spec.domain.resources.requests"),
            limits_cpu=self._cpus(limits, "spec.domain.resources.limits"),
            requests_memory=self._bytes(requests, "memory", "spec.domain.resources.requests"),
            limits_memory=self._bytes(limits, "memory", "spec.domain.resources.limits"),
            guest_memory=self._bytes(memory, "guest", "spec.domain.memory"),
            page_size=self._page_size(memory),
            machine=self._text(machine, "type", "spec.domain.machine"),
            architecture=self._text(spec, "architecture", "spec"),
            feature_policies=tuple(
                self._text(feature, "policy", path) or ""
                for feature, path in self._items(cpu, "features", "spec.domain.cpu")
            ),
            numa_passthrough=self._present(numa, "guestMappingPassthrough", "spec.domain.cpu.numa"),
            realtime=self._present(cpu, "realtime", "spec.domain.cpu"),
            realtime_mask=self._realtime_mask(cpu),
            iothreads_policy=self._text(domain, "ioThreadsPolicy", "spec.domain"),
            supplemental_iothreads=self._count(
                iothreads, "supplementalPoolThreadCount", "spec.domain.ioThreads"
            ),
            iothread_disks=tuple(
                _iothread_disk(index, disk)
                for index, (disk, path) in enumerate(
                    self._items(devices, "disks", "spec.domain.devices")
                )
                if self._flag(disk, "dedicatedIOThread", path)
            ),
            container_disks=tuple(
                str(volume.get("name"))
                for volume, path in self._items(spec, "volumes", "spec")
                if self._present(volume, "containerDisk", path)
            ),
            hook_sidecars=_hook_sidecars(annotations.get(HOOK_SIDECARS)),
            asks_for_hooks=bool(annotations.get(HOOK_SIDECARS)),
            misfits=tuple(self.misfits.values()),
        )

    def _realtime_mask(self, cpu: Mapping[str, Any]) -> str | None:
        realtime = cpu.get("realtime")
        if not isinstance(realtime, Mapping):
            return None
        return self._text(realtime, "mask", "spec.domain.cpu.realtime") or None

    def _page_size(self, memory: Mapping[str, Any]) -> str | None:
        if not self._present(memory, "hugepages", "spec.domain.memory"):
            return None
        pages = memory["hugepages"]
        return self._text(pages, "pageSize", "spec.domain.memory.hugepages") or ""

    def _misfit(self, path: str, value: object, wanted: str, stage: str = SCHEMA) -> None:
        self.misfits.setdefault(path, Misfit(path, f"{value!r} is not {wanted}", stage))

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
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > JSON_INTEGER_MAX:
            self._misfit(f"{path}.{key}", value, "an integer")
            return None
        if not 0 <= value <= UINT32_MAX:
            self._misfit(f"{path}.{key}", value, f"an integer from 0 to {UINT32_MAX}", DECODING)
            return None
        if value > INT32_MAX:
            self._misfit(f"{path}.{key}", value, f"an integer up to {INT32_MAX}", STORED)
        return value

    def _quantity(self, parent: Mapping[str, Any], key: str, path: str) -> Fraction | None:
        value = parent.get(key)
        if value is None:
            return None
        try:
            return parse_quantity(value)
        except MalformedQuantity:
            # Of a number there is nothing malformed but what JSON cannot write.
            stage = DECODING if isinstance(value, str) else SCHEMA
            self._misfit(f"{path}.{key}", value, "a Kubernetes quantity", stage)
            return None

    def _cpus(self, parent: Mapping[str, Any], path: str) -> Fraction | None:
        value = self._quantity(parent, "cpu", path)
        return None if value is None else _away_from_zero(value * 1000) / 1000

    def _bytes(self, parent: Mapping[str, Any], key: str, path: str) -> Fraction | None:
        value = self._quantity(parent, key, path)
        return None if value is None else _away_from_zero(value)

    def _annotations(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        metadata = self._mapping(manifest, "metadata", "")
        annotations = self._mapping(metadata, "annotations", "metadata")
        for key, value in annotations.items():
            if not isinstance(value, str):
                self._misfit(f"metadata.annotations.{key}", value, "a string")
        return annotations


def _away_from_zero(value: Fraction) -> Fraction:
    return Fraction(math.ceil(value) if value > 0 else math.floor(value))


def _counted(placement: Placement) -> Placement:
    """Without the quantities of CPUs that are more than the API can count.

    Of dedicated CPUs those that fit 64 bits are refused all the same, for their whole number.
    """
    least = -LARGEST / 1000
    most = LARGEST if placement.dedicated else -least
    beyond = {
        name: path
        for name, path in (("requests_cpu", REQUESTS_CPU), ("limits_cpu", LIMITS_CPU))
        if not least <= (getattr(placement, name) or 0) <= most
    }
    none: dict[str, Any] = dict.fromkeys(beyond)
    return replace(placement, uncounted=tuple(beyond.values()), **none)


def _iothread_disk(index: int, disk: Mapping[str, Any]) -> IOThreadDisk:
    """KubeVirt looks at disk, lun, cdrom in this order (getDiskBus)."""
    given = [kind for kind in ("disk", "lun", "cdrom") if isinstance(disk.get(kind), Mapping)]
    bus = disk[given[0]].get("bus") if given else None
    name = disk.get("name")
    return IOThreadDisk(
        index,
        bus if isinstance(bus, str) else "",
        given[:1] in ([], ["disk"]),
        name if isinstance(name, str) else "",
    )


def _hook_sidecars(annotation: object) -> int | None:
    if annotation is None:
        return 0
    try:
        hooks = json.loads(str(annotation))
    except ValueError:
        return None
    return len(hooks) if isinstance(hooks, list) else None
