"""The rules by which a VMI's CPU and memory requirements are consistent, one function each.

A rule says when it is violated, which field the API must name, and where it is promised.
Sources are statements of the two guides (see `conformance.requirements`) or, where the
guides only say that inconsistent requirements are rejected, the released admission of
KubeVirt that says which ones are (``vmi-create-admitter.go``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from conformance.matrix.quantity import is_whole
from conformance.matrix.reading import UINT32_MAX, Placement

CPU = "spec.domain.cpu"
DEDICATED = f"{CPU}.dedicatedCpuPlacement"
ISOLATE = f"{CPU}.isolateEmulatorThread"
NUMA_PASSTHROUGH = f"{CPU}.numa.guestMappingPassthrough"
RESOURCES = "spec.domain.resources"
REQUESTS_CPU = f"{RESOURCES}.requests.cpu"
LIMITS_CPU = f"{RESOURCES}.limits.cpu"
REQUESTS_MEMORY = f"{RESOURCES}.requests.memory"
LIMITS_MEMORY = f"{RESOURCES}.limits.memory"

IOTHREADS_POLICIES = ("shared", "auto", "supplementalPool")
GENERATIONS = ("v1", "v1alpha2")
"""The profiles: one for each document."""


@dataclass(frozen=True)
class Rule:
    """One way for a manifest to be inconsistent.

    Attributes:
        id: short name, such as ``requests-cpu-whole``.
        source: where it is promised.
        fields: JSON paths, one of which the refusal must name.
        fragment: text that the message must contain; empty when it is not fixed.
        violated: whether a placement breaks it.
        profiles: generations of the API in which it holds.
        title: what must not be, as a clause.
    """

    id: str
    source: str
    fields: tuple[str, ...]
    fragment: str
    violated: Callable[[Placement], bool]
    profiles: tuple[str, ...]
    title: str


_RULES: list[Rule] = []


def rules(profile: str) -> tuple[Rule, ...]:
    """Every rule of a profile, in the order in which they were written."""
    return tuple(rule for rule in _RULES if profile in rule.profiles)


def _is_fraction(cpus: Fraction | None) -> bool:
    return cpus is not None and cpus > 0 and not is_whole(cpus)


def _rule(
    id: str,
    *fields: str,
    source: str,
    fragment: str = "",
    profiles: tuple[str, ...] = GENERATIONS,
) -> Callable[[Callable[[Placement], bool]], Callable[[Placement], bool]]:
    def register(violated: Callable[[Placement], bool]) -> Callable[[Placement], bool]:
        title = (violated.__doc__ or "").strip().split("\n", maxsplit=1)[0].rstrip(".")
        _RULES.append(Rule(id, source, fields, fragment, violated, profiles, title))
        return violated

    return register


@_rule(
    "isolate-needs-dedicated",
    ISOLATE,
    source="ZH-EMU-5",
    fragment="should be only set in combination with DedicatedCPUPlacement",
)
def isolate_needs_dedicated(vmi: Placement) -> bool:
    """The emulator thread is isolated without dedicated CPUs."""
    return vmi.isolate_emulator and not vmi.dedicated


@_rule(
    "memory-provided",
    LIMITS_MEMORY,
    source="EN-MGR-4, ZH-MGR-4: every container expresses memory",
    fragment="should be provided",
)
def memory_provided(vmi: Placement) -> bool:
    """No memory is given by requests, limits, hugepages or guest."""
    given = (vmi.requests_memory, vmi.limits_memory, vmi.guest_memory)
    return vmi.dedicated and not vmi.hugepages and not any(given)


@_rule(
    "requests-cpu-whole",
    REQUESTS_CPU,
    source="EN-MGR-5, EN-REQ-4, ZH-MGR-5, ZH-REQ-4",
    fragment="CPU requests must be an interger",  # so spelt by KubeVirt
)
def requests_cpu_whole(vmi: Placement) -> bool:
    """The CPU request of dedicated CPUs is not a whole number."""
    return vmi.dedicated and _is_fraction(vmi.requests_cpu)


@_rule(
    "limits-cpu-whole",
    LIMITS_CPU,
    source="EN-MGR-5, EN-REQ-4, ZH-MGR-5, ZH-REQ-4",
    fragment="CPU limits must be an interger",
)
def limits_cpu_whole(vmi: Placement) -> bool:
    """The CPU limit of dedicated CPUs is not a whole number."""
    return vmi.dedicated and _is_fraction(vmi.limits_cpu)


@_rule(
    "requests-cpu-not-negative",
    REQUESTS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU request is not negative",
)
def requests_cpu_not_negative(vmi: Placement) -> bool:
    """The CPU request is negative."""
    return vmi.requests_cpu is not None and vmi.requests_cpu < 0


@_rule(
    "limits-cpu-not-negative",
    LIMITS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU limit is not negative",
)
def limits_cpu_not_negative(vmi: Placement) -> bool:
    """The CPU limit is negative."""
    return vmi.limits_cpu is not None and vmi.limits_cpu < 0


@_rule(
    "requests-memory-not-negative",
    REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory request is not negative",
)
def requests_memory_not_negative(vmi: Placement) -> bool:
    """The memory request is negative."""
    return vmi.requests_memory is not None and vmi.requests_memory < 0


@_rule(
    "limits-memory-not-negative",
    LIMITS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory limit is not negative",
)
def limits_memory_not_negative(vmi: Placement) -> bool:
    """The memory limit is negative."""
    return vmi.limits_memory is not None and vmi.limits_memory < 0


@_rule(
    "requests-memory-equals-limits",
    REQUESTS_MEMORY,
    source="EN-MGR-3, ZH-MGR-3: requests and limits are equal",
    fragment="must be equal to",
)
def requests_memory_equals_limits(vmi: Placement) -> bool:
    """The memory request and the memory limit of dedicated CPUs differ."""
    request, limit = vmi.requests_memory, vmi.limits_memory
    both = request is not None and limit is not None and request > 0 and limit > 0
    return vmi.dedicated and both and request != limit


@_rule(
    "requests-cpu-equals-limits",
    DEDICATED,
    source="EN-REQ-6, ZH-REQ-6",
    fragment="must be equal when DedicatedCPUPlacement is true",
)
def requests_cpu_equals_limits(vmi: Placement) -> bool:
    """The CPU request and the CPU limit of dedicated CPUs differ."""
    request, limit = vmi.requests_cpu, vmi.limits_cpu
    if not vmi.dedicated or request is None or limit is None:
        return False
    return min(request, limit) > 0 and is_whole(request) and is_whole(limit) and request != limit


@_rule(
    "requests-cpu-within-limits",
    REQUESTS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU request does not exceed its limit",
)
def requests_cpu_within_limits(vmi: Placement) -> bool:
    """The CPU request of shared CPUs exceeds the limit."""
    request, limit = vmi.requests_cpu, vmi.limits_cpu
    if vmi.dedicated or request is None or limit is None:
        return False
    return 0 < limit < request


@_rule(
    "topology-agrees-with-resources",
    DEDICATED,
    source="ZH-REQ-5, ZH-REQ-8",
    fragment="must not be provided at the same time",
    profiles=("v1",),
)
def topology_agrees_with_resources(vmi: Placement) -> bool:
    """The topology and the CPU resources ask for different numbers of vCPUs."""
    asked = vmi.resources_cpu
    if not vmi.dedicated or not vmi.has_topology or vmi.topology_vcpus == 0 or asked is None:
        return False
    comparable = asked > 0 and is_whole(asked) and not requests_cpu_equals_limits(vmi)
    return comparable and asked != vmi.topology_vcpus


@_rule(
    "topology-or-resources",
    DEDICATED,
    source="EN-REQ-5, EN-REQ-7",
    fragment="must not be provided at the same time",
    profiles=("v1alpha2",),
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

    def positive(vmi: Placement) -> bool:
        return vmi.dedicated and getattr(vmi, name) == 0

    def representable(vmi: Placement) -> bool:
        return vmi.dedicated and (getattr(vmi, name) or 0) > UINT32_MAX

    positive.__doc__ = f"Dedicated CPUs are asked for with zero in {path}."
    _rule(
        f"{name.replace('_', '-')}-positive",
        path,
        DEDICATED,
        source="EN-REQ-4 (1, 2, etc), ZH-REQ-4 ([1-9]+); KubeVirt API: at least 1",
    )(positive)
    if path.startswith(RESOURCES):  # the schema itself bounds the topology
        representable.__doc__ = f"{path} asks for more dedicated CPUs than a topology can hold."
        _rule(
            f"{name.replace('_', '-')}-representable",
            path,
            DEDICATED,
            source="kubevirt API: the fields of the topology are 32 bits wide",
        )(representable)


for _name, _path in (
    ("sockets", f"{CPU}.sockets"),
    ("cores", f"{CPU}.cores"),
    ("threads", f"{CPU}.threads"),
    ("requests_cpu", REQUESTS_CPU),
    ("limits_cpu", LIMITS_CPU),
):
    _number_rules(_name, _path)


@_rule(
    "vcpus-given",
    DEDICATED,
    source="EN-REQ-4, EN-REQ-7: the number is expressed by cores, requests or limits",
    fragment="must be provided when DedicatedCPUPlacement is true",
    profiles=("v1alpha2",),
)
def vcpus_given(vmi: Placement) -> bool:
    """Dedicated CPUs are asked for without a number."""
    return vmi.dedicated and not vmi.has_topology and vmi.resources_cpu is None


@_rule(
    "at-most-two-threads",
    DEDICATED,
    source="kubevirt vmi-create-admitter.go: a vCPU core has two threads at most",
    fragment="Not more than two threads",
)
def at_most_two_threads(vmi: Placement) -> bool:
    """Dedicated CPUs are asked for with more than two threads a core."""
    return vmi.dedicated and vmi.threads is not None and vmi.threads > 2


@_rule(
    "sockets-within-maximum",
    f"{CPU}.sockets",
    source="kubevirt vmi-create-admitter.go: sockets do not exceed maxSockets",
)
def sockets_within_maximum(vmi: Placement) -> bool:
    """More sockets are asked for than may ever be plugged in."""
    return bool(vmi.max_sockets) and (vmi.sockets or 0) > (vmi.max_sockets or 0)


@_rule(
    "numa-needs-dedicated",
    NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: NUMA mapping needs dedicated CPUs",
)
def numa_needs_dedicated(vmi: Placement) -> bool:
    """The host's NUMA nodes are mapped without dedicated CPUs."""
    return vmi.numa_passthrough and not vmi.dedicated


@_rule(
    "numa-needs-hugepages",
    NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: NUMA mapping needs huge pages",
)
def numa_needs_hugepages(vmi: Placement) -> bool:
    """The host's NUMA nodes are mapped without huge pages."""
    return vmi.numa_passthrough and not vmi.hugepages


@_rule(
    "realtime-needs-dedicated",
    DEDICATED,
    source="kubevirt vmi-create-admitter.go: realtime needs dedicated CPUs",
    fragment="must be set to true",
)
def realtime_needs_dedicated(vmi: Placement) -> bool:
    """Realtime is asked for without dedicated CPUs."""
    return vmi.realtime and not vmi.dedicated


@_rule(
    "realtime-needs-numa",
    NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: realtime needs NUMA mapping",
    fragment="must be defined",
)
def realtime_needs_numa(vmi: Placement) -> bool:
    """Realtime is asked for without NUMA mapping."""
    return vmi.realtime and not vmi.numa_passthrough


@_rule(
    "iothreads-policy-known",
    "spec.domain.ioThreadsPolicy",
    source="kubevirt vmi-create-admitter.go: shared, auto or supplementalPool",
)
def iothreads_policy_known(vmi: Placement) -> bool:
    """The IOThreads policy is none of those that exist."""
    return vmi.iothreads_policy is not None and vmi.iothreads_policy not in IOTHREADS_POLICIES


@_rule(
    "supplemental-iothreads-counted",
    "spec.domain.ioThreads.count",
    "spec.domain.ioThreads.supplementalPoolThreadCount",
    source="kubevirt vmi-create-admitter.go: a supplemental pool has a positive count",
)
def supplemental_iothreads_counted(vmi: Placement) -> bool:
    """A supplemental pool of IOThreads has no number of threads."""
    return vmi.iothreads_policy == "supplementalPool" and not vmi.supplemental_iothreads
