"""The rules by which a VMI's CPU and memory requirements are consistent, one function each.

A rule says when it is violated, which field the API must name, and where it is promised.
Sources are statements of the two guides (see `conformance.requirements`) or, where the
guides only say that inconsistent requirements are rejected, the released admission of
KubeVirt that says which ones are (``vmi-create-admitter.go``).
"""

from __future__ import annotations

from fractions import Fraction

from conformance.matrix import memory_rules as _memory  # noqa: F401 - registers them
from conformance.matrix.quantity import is_whole
from conformance.matrix.reading import INT32_MAX, Placement
from conformance.matrix.rule import Fields, Rule, registered, rule
from conformance.model import fields as f
from conformance.model.vocabulary import V1ALPHA2

IOTHREADS_POLICIES = ("shared", "auto", "supplementalPool")
FEATURE_POLICIES = ("", "force", "require", "optional", "disable", "forbid")


def rules(profile: str) -> tuple[Rule, ...]:
    """Every rule of a profile, in the order in which they were written."""
    return registered(profile)


def _is_fraction(cpus: Fraction | None) -> bool:
    return cpus is not None and cpus > 0 and not is_whole(cpus)


def _or_sockets(vmi: Placement, path: str) -> Fields:
    """Without a topology the CPUs are the number of sockets, which the API may then name."""
    return (path,) if vmi.has_number else (path, f.SOCKETS)


def _of_number(vmi: Placement, path: str) -> Fields:
    """Who may be at fault for too many CPUs: what they become may disagree with them, too."""
    return (*_or_sockets(vmi, path), *((f.DEDICATED,) if vmi.dedicated else ()))


@rule("isolate-needs-dedicated", f.ISOLATE, source="ZH-EMU-5")
def isolate_needs_dedicated(vmi: Placement) -> bool:
    """The emulator thread is isolated without dedicated CPUs."""
    return vmi.isolate_emulator and not vmi.dedicated


@rule("requests-cpu-whole", f.REQUESTS_CPU, source="EN-MGR-5, EN-REQ-4, ZH-MGR-5, ZH-REQ-4")
def requests_cpu_whole(vmi: Placement) -> bool:
    """The CPU request of dedicated CPUs is not a whole number."""
    return vmi.dedicated and _is_fraction(vmi.requests_cpu)


@rule("limits-cpu-whole", f.LIMITS_CPU, source="EN-MGR-5, EN-REQ-4, ZH-MGR-5, ZH-REQ-4")
def limits_cpu_whole(vmi: Placement) -> bool:
    """The CPU limit of dedicated CPUs is not a whole number."""
    return vmi.dedicated and _is_fraction(vmi.limits_cpu)


@rule(
    "requests-cpu-not-negative",
    f.REQUESTS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU request is not negative",
)
def requests_cpu_not_negative(vmi: Placement) -> Fields:
    """The CPU request is negative."""
    negative = vmi.requests_cpu is not None and vmi.requests_cpu < 0
    return _or_sockets(vmi, f.REQUESTS_CPU) if negative else ()


@rule(
    "limits-cpu-not-negative",
    f.LIMITS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU limit is not negative",
)
def limits_cpu_not_negative(vmi: Placement) -> Fields:
    """The CPU limit is negative."""
    negative = vmi.limits_cpu is not None and vmi.limits_cpu < 0
    return _or_sockets(vmi, f.LIMITS_CPU) if negative else ()


@rule("requests-cpu-equals-limits", f.DEDICATED, source="EN-REQ-6, ZH-REQ-6")
def requests_cpu_equals_limits(vmi: Placement) -> bool:
    """The CPU request and the CPU limit of dedicated CPUs differ."""
    request, limit = vmi.requests_cpu, vmi.limits_cpu
    if not vmi.dedicated or request is None or limit is None:
        return False
    return min(request, limit) > 0 and is_whole(request) and is_whole(limit) and request != limit


@rule(
    "requests-cpu-within-limits",
    f.REQUESTS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU request does not exceed its limit",
)
def requests_cpu_within_limits(vmi: Placement) -> bool:
    """The CPU request of shared CPUs exceeds the limit."""
    request, limit = vmi.requests_cpu, vmi.limits_cpu
    if vmi.dedicated or request is None or limit is None:
        return False
    return 0 < limit < request


@rule(
    "topology-agrees-with-resources",
    f.DEDICATED,
    source="ZH-REQ-5, ZH-REQ-8",
    profiles=("v1",),
)
def topology_agrees_with_resources(vmi: Placement) -> bool:
    """The topology and the CPU resources ask for different numbers of vCPUs."""
    asked = vmi.resources_cpu
    if not vmi.dedicated or not vmi.has_topology or vmi.topology_vcpus == 0 or asked is None:
        return False
    comparable = asked > 0 and is_whole(asked) and not requests_cpu_equals_limits(vmi)
    return comparable and asked != vmi.topology_vcpus


@rule(
    "topology-or-resources",
    f.DEDICATED,
    source="EN-REQ-5, EN-REQ-7",
    profiles=(V1ALPHA2,),
)
def topology_or_resources(vmi: Placement) -> bool:
    """Cores and CPU resources are both given.

    The older guide lists this among what is inconsistent, whether or not they agree, and its
    releases refused it (kubevirt vmi-create-admitter.go of 2018).
    """
    asked = vmi.resources_cpu
    return vmi.dedicated and vmi.topology_vcpus > 0 and vmi.has_topology and (asked or 0) > 0


def _number_rules(name: str, path: str) -> None:
    """The rules of one field that says how many CPUs are asked for."""
    prefix = name.replace("_", "-")

    def positive(vmi: Placement) -> bool:
        return vmi.dedicated and getattr(vmi, name) == 0

    positive.__doc__ = f"Dedicated CPUs are asked for with zero in {path}."
    rule(
        f"{prefix}-positive",
        path,
        f.DEDICATED,
        source="EN-REQ-4 (1, 2, etc), ZH-REQ-4 ([1-9]+); KubeVirt API: at least 1",
    )(positive)


def _quantity_rules(name: str, path: str) -> None:
    """What a quantity of CPUs may not exceed; the schema itself bounds the topology."""
    prefix = name.replace("_", "-")

    def representable(vmi: Placement) -> Fields:
        huge = vmi.dedicated and (getattr(vmi, name) or 0) > INT32_MAX
        return _of_number(vmi, path) if huge else ()

    def countable(vmi: Placement) -> Fields:
        becomes_sockets = not vmi.has_number and vmi.resources_cpu == getattr(vmi, name)
        truncated = not vmi.dedicated and becomes_sockets and (vmi.resources_cpu or 0) > INT32_MAX
        return _of_number(vmi, path) if truncated or path in vmi.uncounted else ()

    representable.__doc__ = f"{path} asks for more dedicated CPUs than a topology can hold."
    countable.__doc__ = f"{path} is more than the API can count."
    source = "kubevirt API: the fields of the topology are integers of format int32"
    rule(f"{prefix}-representable", path, f.SOCKETS, f.DEDICATED, source=source)(representable)
    source = "kubevirt API, apimachinery: amounts are counted in thousandths, in 64 bits"
    rule(f"{prefix}-countable", path, f.SOCKETS, f.DEDICATED, source=source)(countable)


for _name, _path in (
    ("sockets", f.SOCKETS),
    ("cores", f.CORES),
    ("threads", f.THREADS),
    ("requests_cpu", f.REQUESTS_CPU),
    ("limits_cpu", f.LIMITS_CPU),
):
    _number_rules(_name, _path)
    if _name.endswith("_cpu"):
        _quantity_rules(_name, _path)


@rule(
    "vcpus-given",
    f.DEDICATED,
    source="EN-REQ-4, EN-REQ-7: the number is expressed by cores, requests or limits",
    profiles=(V1ALPHA2,),
)
def vcpus_given(vmi: Placement) -> bool:
    """Dedicated CPUs are asked for without a number."""
    given = vmi.has_topology or vmi.resources_cpu is not None or bool(vmi.uncounted)
    return vmi.dedicated and not given


@rule(
    "at-most-two-threads",
    f.DEDICATED,
    source="kubevirt vmi-create-admitter.go: a vCPU core has two threads at most",
)
def at_most_two_threads(vmi: Placement) -> bool:
    """Dedicated CPUs are asked for with more than two threads a core."""
    return vmi.dedicated and vmi.threads is not None and vmi.threads > 2


@rule(
    "one-thread-on-arm64",
    f.ARCHITECTURE,
    source="kubevirt vmi-create-admitter.go: a vCPU core of arm64 has one thread",
)
def one_thread_on_arm64(vmi: Placement) -> bool:
    """Dedicated CPUs are asked for with more than one thread a core of arm64."""
    return vmi.dedicated and vmi.on.one_thread and (vmi.threads or 0) > 1


@rule(
    "sockets-within-maximum",
    f.SOCKETS,
    source="kubevirt vmi-create-admitter.go: sockets do not exceed maxSockets",
)
def sockets_within_maximum(vmi: Placement) -> bool:
    """More sockets are asked for, or made of the CPUs asked for, than may ever be plugged in."""
    most = vmi.max_sockets or vmi.on.max_sockets or 0
    return most > 0 and (vmi.defaulted_sockets or 0) > most


@rule(
    "numa-needs-dedicated",
    f.NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: NUMA mapping needs dedicated CPUs",
)
def numa_needs_dedicated(vmi: Placement) -> bool:
    """The host's NUMA nodes are mapped without dedicated CPUs."""
    return vmi.numa_passthrough and not vmi.dedicated


@rule(
    "numa-needs-hugepages",
    f.NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: NUMA mapping needs huge pages",
)
def numa_needs_hugepages(vmi: Placement) -> bool:
    """The host's NUMA nodes are mapped without huge pages."""
    return vmi.numa_passthrough and not vmi.hugepages


@rule(
    "realtime-needs-dedicated",
    f.DEDICATED,
    source="kubevirt vmi-create-admitter.go: realtime needs dedicated CPUs",
)
def realtime_needs_dedicated(vmi: Placement) -> bool:
    """Realtime is asked for without dedicated CPUs."""
    return vmi.realtime and not vmi.dedicated


@rule(
    "realtime-needs-numa",
    f.NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: realtime needs NUMA mapping",
)
def realtime_needs_numa(vmi: Placement) -> bool:
    """Realtime is asked for without NUMA mapping."""
    return vmi.realtime and not vmi.numa_passthrough


@rule(
    "cpu-features-known",
    f.FEATURE_POLICY,
    source="kubevirt vmi-create-admitter.go: force, require, optional, disable or forbid",
)
def cpu_features_known(vmi: Placement) -> Fields:
    """A CPU feature has a policy that does not exist."""
    return tuple(
        f.FEATURE_POLICY.replace("*", str(index))
        for index, policy in enumerate(vmi.feature_policies)
        if policy not in FEATURE_POLICIES
    )


@rule(
    "machine-emulated",
    f.MACHINE,
    source="kubevirt vmi-create-admitter.go: the machine type is one of emulatedMachines",
)
def machine_emulated(vmi: Placement) -> bool:
    """The machine type is none that the cluster emulates."""
    return not vmi.on.emulates(vmi.machine or vmi.on.machine)


@rule(
    "iothreads-policy-known",
    f.IOTHREADS_POLICY,
    source="kubevirt vmi-create-admitter.go: shared, auto or supplementalPool",
)
def iothreads_policy_known(vmi: Placement) -> bool:
    """The IOThreads policy is none of those that exist."""
    return vmi.iothreads_policy is not None and vmi.iothreads_policy not in IOTHREADS_POLICIES


@rule(
    "iothreads-on-virtio",
    f.DISK,
    f.DISK_AS_NAMED,
    source="kubevirt disks.go: libvirt offers IOThreads to disks on the bus virtio alone",
)
def iothreads_on_virtio(vmi: Placement) -> Fields:
    """A disk with an IOThread of its own is on another bus than virtio."""
    return tuple(
        path.replace("*", str(disk.index))
        for disk in vmi.iothread_disks
        for path in (f.DISK, f.DISK_AS_NAMED)
        if (disk.bus or vmi.on.bus) != "virtio"
        and (vmi.on.virtio_alone or (disk.plain and (disk.bus or vmi.on.bus) == "sata"))
    )


@rule(
    "supplemental-iothreads-counted",
    f.IOTHREADS_COUNT_AS_NAMED,
    f.IOTHREADS_COUNT,
    source="kubevirt vmi-create-admitter.go: a supplemental pool has a positive count",
)
def supplemental_iothreads_counted(vmi: Placement) -> bool:
    """A supplemental pool of IOThreads has no number of threads."""
    return vmi.iothreads_policy == "supplementalPool" and not vmi.supplemental_iothreads
