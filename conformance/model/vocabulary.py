"""What the judge calls things by: labels, annotations, moments, profiles, capabilities.

Each name is spelt here and nowhere else in `conformance`, `fixtures` and `reports`. The reference
stack spells its own, on purpose: it is the other witness. `clusters` does too, since it knows
nothing of conformance.
"""

from __future__ import annotations

from collections.abc import Iterable

CURRENT, V1, V1ALPHA2 = "current", "v1", "v1alpha2"
PROFILES = (CURRENT, V1, V1ALPHA2)
"""What a cluster is judged by: one for each document."""
INCLUDED = {CURRENT: (CURRENT, V1), V1: (V1,), V1ALPHA2: (V1ALPHA2,)}
"""The profiles whose requirements, rules and scenarios each one has."""


def holds(profile: str, profiles: Iterable[str]) -> bool:
    """Whether what belongs to some profiles is a part of a profile."""
    return not frozenset(INCLUDED[profile]).isdisjoint(profiles)


API_VERSIONS = {CURRENT: V1, V1: V1, V1ALPHA2: V1ALPHA2}
"""The version of kubevirt.io in which a profile asks for VMIs."""

RUNNING, REFUSED, DELETED = "running", "refused", "deleted"
"""Moments of a case: it runs, the API refused it, it has gone."""
EVERY_NODE = "nodes"
"""The moment at which every node is looked at by itself, whoever runs there."""
ABORTED = "aborted"
"""The moment of a VMI that a scenario deletes before it runs."""
SCENARIO = "scenario"
"""Of a requirement that no single moment shows; scenarios name their own moments."""

SMT, NUMA, HUGEPAGES, REALTIME = "smt", "numa", "hugepages", "realtime"
GUEST_CONSOLE, LIBVIRT, NODE_FILES = "guest-console", "libvirt", "node-files"
DISRUPTION, KUBELET_CONTROL, UNLABELLED_NODE = "disruption", "kubelet-control", "unlabelled-node"
LIVE_MIGRATION = "live-migration"
OBSERVED_BY = (SMT, NUMA, HUGEPAGES, REALTIME, GUEST_CONSOLE, LIBVIRT, NODE_FILES)
"""Capabilities that a requirement may need to be observed."""
OFFERED = frozenset(
    {DISRUPTION, HUGEPAGES, KUBELET_CONTROL, LIVE_MIGRATION, REALTIME, UNLABELLED_NODE}
)
"""Capabilities that a cluster lacks unless it names them (`ClusterAccess.capabilities`)."""
CAPABILITIES = tuple(sorted({*OBSERVED_BY, *OFFERED}))

COMPUTE = "compute"
"""The container of a launcher pod that runs the guest."""

CPUMANAGER = "cpumanager"
KUBEVIRT_CPUMANAGER = "kubevirt.io/cpumanager"
"""Labels of a node with a static CPU manager; `conformance.editions` says which release writes
and selects which."""
CPU_MANAGER_LABELS = (KUBEVIRT_CPUMANAGER, CPUMANAGER)
REALTIME_LABEL = "kubevirt.io/realtime"
"""Label of a node whose kernel lets real-time threads run without end; its value is nobody's
promise (empty before 1.8, ``true`` since)."""
SKIPS_LABELLER = "node-labeller.kubevirt.io/skip-node"
"""Annotation of a node whose labels virt-handler's node labeller leaves alone."""
LAST_HEARTBEAT = "kubevirt.io/heartbeat"
"""Annotation of a node (kubevirt api/core/v1/types.go, VirtHandlerHeartbeat)."""
HOSTNAME = "kubernetes.io/hostname"
"""Label of a node by which a pod is sent there."""
EVEN_PARITY = "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity"
"""Annotation, of a KubeVirt CR or a VMI, that asks for an even number of CPUs when the emulator
thread is isolated."""
CONFIG_HASH = "kubernetes.io/config.hash"
"""Annotation of a static pod: its UID on its node."""
HOOK_SIDECARS = "hooks.kubevirt.io/hookSidecars"
"""Annotation of a VMI that lists the hook sidecars as JSON."""
VM_NAME = "vm.kubevirt.io/name"
"""Label of a launcher pod: the name of its VMI."""
CREATED_BY = "kubevirt.io/created-by"
"""Label of a launcher pod: the UID of its VMI."""
MIGRATION_JOB = "kubevirt.io/migrationJobUID"
"""Label of the target pod of a migration: the UID of that (kubevirt api/core/v1/types.go)."""
PIT = "kvm-pit/"
"""How the kernel thread is called that is the timer (i8254) of a guest; the number after it is that
of its QEMU, as that counts itself (linux arch/x86/kvm/i8254.c, kvm_create_pit)."""
ENDED = ("Succeeded", "Failed")
"""Phases of a pod whose containers have all ended and do not start again, and of what it runs."""
ON_NODE, MIGRATES_TO = "kubevirt.io/nodeName", "kubevirt.io/migrationTargetNodeName"
"""Labels of a VMI: the node on which it is (kubevirt api/core/v1/types.go, NodeNameLabel), and the
one to which it migrates."""
OUTDATED_LAUNCHER = "kubevirt.io/outdatedLauncherImage"
"""Label of a VMI whose launcher is of an older release than KubeVirt is now."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

WRITTEN_ANNOTATIONS = frozenset(
    {
        LAST_APPLIED,
        "kubevirt.io/latest-observed-api-version",
        "kubevirt.io/storage-observed-api-version",
        "kubevirt.io/vm-generation",
        "kubevirt.io/nonroot",
        "kubevirt.io/launcher-image-version",
        "kubevirt.io/install-strategy-version",
        "kubevirt.io/cluster-instancetype-name",
        "kubevirt.io/instancetype-name",
        "kubevirt.io/cluster-preference-name",
        "kubevirt.io/preference-name",
        "kubevirt.io/migrationTransportUnix",
        "deployment.kubernetes.io/revision",
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node",
    }
)
"""Annotations that servers and controllers write into their users' objects."""
RESTRICTED_LABELS = frozenset(
    {
        CREATED_BY,
        MIGRATION_JOB,
        ON_NODE,
        MIGRATES_TO,
        "kubevirt.io/schedulable",
        "kubevirt.io/install-strategy",
        OUTDATED_LAUNCHER,
        "kubevirt.io/vmpool",
    }
)
"""Labels of a VMI that virt-api refuses from users (vmi-create-admitter.go,
restrictedVmiLabels)."""
