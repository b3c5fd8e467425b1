"""What the promise says must happen to one VMI, derived from its spec alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conformance.editions import Labels


@dataclass(frozen=True)
class Refusal:
    """The API must refuse the manifest.

    Attributes:
        fields: JSON paths, one of which a cause must name. In which words is nobody's promise.
        rule: id of the rule that is violated; several are joined by ``+``.
    """

    fields: tuple[str, ...]
    rule: str


@dataclass(frozen=True)
class Sidecar:
    """A container that must cost CPU and must not be pinned: beside compute in a launcher.

    Attributes:
        name: container name, or a prefix of it ending in ``*``.
        cpu_milli, memory_bytes: requests and limits it must have; None when not fixed.
    """

    name: str
    cpu_milli: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Expectation:
    """What must be seen of one VMI, or of a plain pod that stands in for a launcher.

    Attributes:
        guest: whether a guest runs in it: a VMI; False for a plain pod.
        refusal: why it must be refused; None when it must be admitted.
        dedicated: whether it asks for dedicated CPUs.
        vcpus: enabled vCPUs of the guest.
        max_vcpus: vCPUs that it can be given while it runs; None where it does not say.
        sockets, cores, threads: topology that the guest must see.
        isolate_emulator: whether the emulator threads have a pCPU of their own.
        emulator_cpus: number of pCPUs of the emulator thread when it is isolated (1, or 2
            with the even-parity annotation), else 0.
        even_parity: whether it, or the KubeVirt CR, asks for an even number of CPUs.
        iothreads: number of IOThreads, None when the promise leaves it open.
        iothreads_policy: none, shared, auto, supplementalPool.
        supplemental_iothreads: pCPUs that the supplemental pool adds.
        own_iothreads: names of the disks that have an IOThread of their own.
        compute_cpus: CPUs of the compute container, request and limit.
        sidecars: the containers that must be beside compute.
        numa_passthrough: guest NUMA must mirror the host's.
        memory: bytes of the guest; None where that is not fixed.
        page: bytes of a huge page of it; None without huge pages.
        realtime: vCPUs that are scheduled in real time; None where none is asked for.
        needs: capabilities without which no cluster can run it.
        unsupported: why the release of the cluster, or its gates, cannot have it; None when
            nothing speaks against it.
        undecided: why it cannot be said what must be seen; None when it can.
        labels: what may hold for the CPU manager labels: one row for a known release, every row
            for an unknown one.
        doubts: why a part of this may be otherwise on this cluster, by part: what would decide was
            not read. ``emulator``, ``sidecars``; ``admission`` of what may not be refused after
            all, and a field of what may be refused for it.
        unasked: witnesses that nobody asked, by the name of their capability: what they alone could
            say is not missed.
        any_release: the launcher is older than the release of the cluster, so that any row of
            `labels` will do.
        notes: remarks for a reader of the report.
    """

    guest: bool = True
    refusal: Refusal | None = None
    dedicated: bool = True
    vcpus: int = 0
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    isolate_emulator: bool = False
    emulator_cpus: int = 0
    even_parity: bool = False
    iothreads: int | None = None
    iothreads_policy: str = "none"
    supplemental_iothreads: int = 0
    own_iothreads: tuple[str, ...] = ()
    compute_cpus: int = 0
    sidecars: tuple[Sidecar, ...] = ()
    numa_passthrough: bool = False
    memory: int | None = None
    page: int | None = None
    realtime: frozenset[int] | None = None
    needs: tuple[str, ...] = ()
    unsupported: str | None = None
    undecided: str | None = None
    labels: tuple[Labels, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)
    unasked: frozenset[str] = frozenset()
    any_release: bool = False
    notes: tuple[str, ...] = ()
    max_vcpus: int | None = None

    @property
    def admitted(self) -> bool:
        """Whether the API must accept it."""
        return self.refusal is None
