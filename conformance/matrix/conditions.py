"""What of a cluster decides, beside the manifest, whether a VMI is admitted.

Read from kubevirt by tag: pkg/defaults/defaults.go (pkg/virt-api/webhooks/defaults.go before 1.4),
pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go,
pkg/storage/admitters/disks.go, pkg/virt-config/virt-config.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from conformance.model.release import Release
from conformance.model.setting import Setting

AMD64, ARM64 = "amd64", "arm64"
_MACHINES = {
    AMD64: ("q35*", "pc-q35*"),
    ARM64: ("virt*",),
    "s390x": ("s390-ccw-virtio*",),
}
"""Machine types that are emulated unless the KubeVirt CR says otherwise."""
_MACHINE = {AMD64: "q35", ARM64: "virt", "s390x": "s390-ccw-virtio"}
"""That of a VMI that names none, unless the KubeVirt CR says otherwise."""
_BUSES = {AMD64: "sata"}
"""Bus of a disk that names none; virtio on every other architecture."""

_MEMORY_REQUEST_NOT_FILLED = (1, 7)
_MACHINES_ARE_GLOBS = (1, 6)
_GUEST_MAY_GROW = (1, 6)
_IOTHREADS_ON_VIRTIO_ALONE = (1, 3)
_MAXIMUM_IS_FILLED_IN, _MAXIMUM_GROWS = (1, 3), (1, 4)
_THREADS_OF_ARM64 = (1, 1)


@dataclass(frozen=True)
class Conditions:
    """Those of one cluster; by default those of a current release, as it comes.

    Attributes:
        machine: type of a VMI that names none.
        machines: patterns of machine types that are emulated.
        machine_globs: whether they are globs; regular expressions that need not begin at the
            beginning before 1.6.
        bus: of a disk that names none.
        virtio_alone: whether a disk with an IOThread of its own must be on the bus virtio; before
            1.3 it must not be on sata.
        guest_may_grow: whether the guest's memory may exceed the limit (rollout strategy
            LiveUpdate, the default since 1.6).
        fills_memory_request: whether a missing memory request is that of limit, guest or page
            size; before 1.7.
        one_thread: whether a core of dedicated CPUs has one thread at most: on arm64, since 1.1.
        max_sockets: that of a VMI that gives none, where it may have less sockets than the VMI:
            ``maxCpuSockets`` of the KubeVirt CR in 1.3; later it is never less.
    """

    machine: str = _MACHINE[AMD64]
    machines: tuple[str, ...] = _MACHINES[AMD64]
    machine_globs: bool = True
    bus: str = _BUSES[AMD64]
    virtio_alone: bool = True
    guest_may_grow: bool = True
    fills_memory_request: bool = False
    one_thread: bool = False
    max_sockets: int | None = None

    def emulates(self, machine: str) -> bool:
        """Whether VMIs may have a machine type."""
        if self.machine_globs:
            return any(fnmatchcase(machine, pattern) for pattern in self.machines)
        return any(_found(pattern, machine) for pattern in self.machines)


CURRENT = Conditions()


def conditions(setting: Setting, architecture: str | None) -> Conditions:
    """Those of a cluster; what is not known of it is taken to be current and as it comes.

    Args:
        setting: of the cluster.
        architecture: that the VMI asks for; None for the cluster's own.
    """
    architecture = architecture or _architectures(setting)[0]
    known = setting.kubevirt_release
    machines = setting.emulated_machines.get("") or setting.emulated_machines.get(architecture)
    machine = setting.machine_types.get("") or setting.machine_types.get(architecture)
    return Conditions(
        machine=machine or _MACHINE.get(architecture, _MACHINE[AMD64]),
        machines=machines or _MACHINES.get(architecture, _MACHINES[AMD64]),
        machine_globs=_since(known, _MACHINES_ARE_GLOBS),
        bus=_BUSES.get(architecture, "virtio"),
        virtio_alone=_since(known, _IOTHREADS_ON_VIRTIO_ALONE),
        guest_may_grow=_guest_may_grow(setting),
        fills_memory_request=not _since(known, _MEMORY_REQUEST_NOT_FILLED),
        one_thread=architecture == ARM64 and _since(known, _THREADS_OF_ARM64),
        max_sockets=setting.max_cpu_sockets if _fills_maximum(setting) else None,
    )


def _architectures(setting: Setting) -> tuple[str, ...]:
    """Those that a VMI which names none may have, the likeliest first.

    It is that of virt-operator, unless the KubeVirt CR says otherwise (SetDefaultArchitecture).
    """
    if setting.default_architecture:
        return (setting.default_architecture,)
    own = {node.architecture for node in setting.nodes.values() if node.architecture}
    return tuple(sorted(own, key=lambda each: (each != AMD64, each))) or (AMD64,)


def others(
    setting: Setting, assumed: Conditions, machine: str | None, architecture: str | None = None
) -> Iterator[tuple[Conditions, str]]:
    """What may hold instead for a VMI of a machine type and an architecture, and why that is not
    known, one by one."""
    for other in () if architecture else _architectures(setting)[1:]:
        why = "the architecture of a VMI that names none is not known, and nodes differ in theirs"
        yield conditions(setting, other), why
    if setting.kubevirt_release is None:
        why = "the release of KubeVirt is not known, and others do otherwise"
        yield replace(assumed, fills_memory_request=not assumed.fills_memory_request), why
        yield replace(assumed, virtio_alone=not assumed.virtio_alone), why
        if machine:
            yield replace(assumed, machine_globs=not assumed.machine_globs), why
    if setting.kubevirt_release is None or not setting.configured:
        why = f"the rollout strategy of the KubeVirt CR is not known: {setting.unconfigured}"
        yield replace(assumed, guest_may_grow=not assumed.guest_may_grow), why
    if setting.kubevirt_release is None and setting.max_cpu_sockets:
        why = "the release of KubeVirt is not known: 1.3 refuses more sockets than maxCpuSockets"
        yield replace(assumed, max_sockets=setting.max_cpu_sockets), why
    if machine and not setting.configured:
        why = f"the machine types of the KubeVirt CR are not known: {setting.unconfigured}"
        yield replace(assumed, machines=("*",), machine_globs=True), why
        yield replace(assumed, machines=()), why


def _found(pattern: str, machine: str) -> bool:
    try:
        return re.search(pattern, machine) is not None
    except re.error:
        return False


def _since(release: Release | None, first: tuple[int, int]) -> bool:
    return release is None or release.minor_release >= first


def _fills_maximum(setting: Setting) -> bool:
    """Whether the CR's maximum of sockets is that of a VMI of more (setupCPUHotplug)."""
    known = setting.kubevirt_release
    filled = known is not None and _since(known, _MAXIMUM_IS_FILLED_IN)
    return filled and not _since(known, _MAXIMUM_GROWS) and _guest_may_grow(setting)


def _guest_may_grow(setting: Setting) -> bool:
    """Whether VMs are updated live (IsVMRolloutStrategyLiveUpdate)."""
    release, strategy = setting.kubevirt_release, setting.rollout_strategy
    if _since(release, _GUEST_MAY_GROW):
        return strategy != "Stage"
    gated = _since(release, (1, 5)) or "VMLiveUpdateFeatures" in (setting.gates or ())
    return strategy == "LiveUpdate" and gated and _since(release, (1, 3))
