"""The fields of a VMI that the promise is about, as the API names them when it refuses one.

``[*]`` stands for any index. A refusal for another field says nothing about the promise.
"""

from __future__ import annotations

import re

DOMAIN = "spec.domain"
CPU = f"{DOMAIN}.cpu"
SOCKETS, CORES, THREADS = f"{CPU}.sockets", f"{CPU}.cores", f"{CPU}.threads"
MAX_SOCKETS = f"{CPU}.maxSockets"
DEDICATED = f"{CPU}.dedicatedCpuPlacement"
ISOLATE = f"{CPU}.isolateEmulatorThread"
NUMA_PASSTHROUGH = f"{CPU}.numa.guestMappingPassthrough"
FEATURE_POLICY = f"{CPU}.features[*].policy"
RESOURCES = f"{DOMAIN}.resources"
REQUESTS_CPU = f"{RESOURCES}.requests.cpu"
LIMITS_CPU = f"{RESOURCES}.limits.cpu"
REQUESTS_MEMORY = f"{RESOURCES}.requests.memory"
LIMITS_MEMORY = f"{RESOURCES}.limits.memory"
GUEST_MEMORY = f"{DOMAIN}.memory.guest"
PAGE_SIZE = f"{DOMAIN}.memory.hugepages.pageSize"
PAGE_SIZE_BEFORE_1_8 = f"{DOMAIN}.hugepages.size"
IOTHREADS_POLICY = f"{DOMAIN}.ioThreadsPolicy"
IOTHREADS_COUNT = f"{DOMAIN}.ioThreads.supplementalPoolThreadCount"
IOTHREADS_COUNT_AS_NAMED = f"{DOMAIN}.ioThreads.count"
DISK = f"{DOMAIN}.devices.disks[*]"
DISK_AS_NAMED = f"{DOMAIN}.devices.disks.domain.devices.disks[*]"
"""So kubevirt disks.go (v1.8.4, v1.9.0) names a disk with an IOThread: the path is there twice."""
MACHINE = f"{DOMAIN}.machine.type"
ARCHITECTURE = "spec.architecture"
"""Named for threads of arm64, and for an architecture that does not exist."""

PROMISED = frozenset(
    {
        *("spec", DOMAIN, f"{DOMAIN}.devices"),
        *(SOCKETS, CORES, THREADS, MAX_SOCKETS, DEDICATED, ISOLATE, NUMA_PASSTHROUGH),
        *(FEATURE_POLICY, REQUESTS_CPU, LIMITS_CPU, REQUESTS_MEMORY, LIMITS_MEMORY),
        *(GUEST_MEMORY, PAGE_SIZE, PAGE_SIZE_BEFORE_1_8, MACHINE),
        *(IOTHREADS_POLICY, IOTHREADS_COUNT, IOTHREADS_COUNT_AS_NAMED),
    }
)
"""Those that KubeVirt names for nothing else: not a whole disk, which may be wrong in many ways."""

_INDEX = re.compile(r"\[\d+\]")


def promised(field: str) -> bool:
    """Whether the promise is about a field."""
    return _INDEX.sub("[*]", field) in PROMISED
