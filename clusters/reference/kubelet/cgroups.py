"""Cgroup v2 names and limits of pods and containers, in the systemd driver's layout.

kubernetes pkg/kubelet/cm (qos_container_manager, pod_container_manager, helpers_linux) and
containerd's ``cri-containerd-ID.scope``.
"""

from __future__ import annotations

from clusters.reference import pod_resources
from clusters.reference.apiserver.store import Object
from clusters.reference.pod_resources import BEST_EFFORT, BURSTABLE, CPU, MEMORY

MOUNT = "/sys/fs/cgroup"
KUBEPODS = "/kubepods.slice"
PERIOD = 100_000
"""CFS period in microseconds."""

_MIN_SHARES = 2
_MIN_QUOTA = 1000
_CLASS_PREFIX = {BURSTABLE: "-burstable", BEST_EFFORT: "-besteffort"}


def pod_cgroup(uid: str, qos: str) -> str:
    """Path of the pod's slice below the mount point."""
    prefix = _CLASS_PREFIX.get(qos, "")
    parent = f"{KUBEPODS}/kubepods{prefix}.slice" if prefix else KUBEPODS
    return f"{parent}/kubepods{prefix}-pod{uid.replace('-', '_')}.slice"


def container_cgroup(uid: str, qos: str, container_id: str) -> str:
    """Path of the container's scope below the mount point."""
    return f"{pod_cgroup(uid, qos)}/cri-containerd-{container_id}.scope"


def cpu_weight(milli_cpus: int) -> int:
    """``cpu.weight`` of a request: shares of 1024 a CPU, scaled from 2..262144 to 1..10000."""
    shares = max(_MIN_SHARES, milli_cpus * 1024 // 1000)
    return 1 + (shares - _MIN_SHARES) * 9999 // 262_142


def cpu_max(milli_cpus: int, *, exclusive: bool) -> str:
    """``cpu.max`` of a limit; none without a limit or on exclusive CPUs.

    The feature gate DisableCPUQuotaWithExclusiveCPUs is on by default since 1.33.
    """
    if not milli_cpus or exclusive:
        return f"max {PERIOD}"
    return f"{max(_MIN_QUOTA, milli_cpus * PERIOD // 1000)} {PERIOD}"


def pod_settings(pod: Object, *, exclusive: bool) -> dict[str, str]:
    """Contents of the files of the pod's cgroup, by path on the node."""
    spec = pod["spec"]
    directory = MOUNT + pod_cgroup(pod["metadata"]["uid"], pod["status"]["qosClass"])
    requests = pod_resources.effective_requests(spec)
    limits = [pod_resources.limits_of(c) for c in pod_resources.all_containers(spec)]
    settings = {f"{directory}/cpu.weight": str(cpu_weight(requests.get(CPU, 0)))}
    if all(limit.get(CPU) for limit in limits):
        quota = sum(limit[CPU] for limit in limits)
        settings[f"{directory}/cpu.max"] = cpu_max(quota, exclusive=exclusive)
    if all(limit.get(MEMORY) for limit in limits):
        settings[f"{directory}/memory.max"] = str(sum(limit[MEMORY] for limit in limits))
    return settings
