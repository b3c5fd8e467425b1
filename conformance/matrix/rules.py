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
from conformance.matrix.reading import INT32_MAX, Placement
from conformance.model import fields as f

IOTHREADS_POLICIES = ("shared", "auto", "supplementalPool")
FEATURE_POLICIES = ("", "force", "require", "optional", "disable", "forbid")
LEAST_MEMORY = 1_000_000
GENERATIONS = ("v1", "v1alpha2")
"""The profiles: one for each document."""

Fields = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """One way for a manifest to be inconsistent.

    Attributes:
        id: short name, such as ``requests-cpu-whole``.
        source: where it is promised.
        fields: JSON paths, one of which the refusal must name.
        violated: whether a placement breaks it; or which fields it breaks it with, where that
            depends on the placement.
        profiles: generations of the API in which it holds.
        title: what must not be, as a clause.
    """

    id: str
    source: str
    fields: Fields
    violated: Callable[[Placement], bool | Fields]
    profiles: tuple[str, ...]
    title: str

    def at_fault(self, vmi: Placement) -> Fields:
        """The fields of which a refusal must name one; empty when the rule is kept."""
        found = self.violated(vmi)
        return found if isinstance(found, tuple) else self.fields if found else ()


_RULES: list[Rule] = []


def rules(profile: str) -> tuple[Rule, ...]:
    """Every rule of a profile, in the order in which they were written."""
    return tuple(rule for rule in _RULES if profile in rule.profiles)


def _is_fraction(cpus: Fraction | None) -> bool:
    return cpus is not None and cpus > 0 and not is_whole(cpus)


def _or_sockets(vmi: Placement, path: str) -> Fields:
    """Without a topology the CPUs are the number of sockets, which the API may then name."""
    return (path,) if vmi.has_number else (path, f.SOCKETS)


def _of_number(vmi: Placement, path: str) -> Fields:
    """Who may be at fault for too many CPUs: what they become may disagree with them, too."""
    return (*_or_sockets(vmi, path), *((f.DEDICATED,) if vmi.dedicated else ()))


def _rule(
    id: str,
    *fields: str,
    source: str,
    profiles: tuple[str, ...] = GENERATIONS,
) -> Callable[[Callable[[Placement], bool | Fields]], Callable[[Placement], bool | Fields]]:
    def register(
        violated: Callable[[Placement], bool | Fields],
    ) -> Callable[[Placement], bool | Fields]:
        title = (violated.__doc__ or "").strip().split("\n", maxsplit=1)[0].rstrip(".")
        _RULES.append(Rule(id, source, fields, violated, profiles, title))
        return violated

    return register


@_rule("isolate-needs-dedicated", f.ISOLATE, source="ZH-EMU-5")
def isolate_needs_dedicated(vmi: Placement) -> bool:
    """The emulator thread is isolated without dedicated CPUs."""
    return vmi.isolate_emulator and not vmi.dedicated


@_rule(
    "memory-provided",
    f.LIMITS_MEMORY,
    source="EN-MGR-4, ZH-MGR-4: every container expresses memory",
)
def memory_provided(vmi: Placement) -> bool:
    """No memory is given by requests, limits, hugepages or guest."""
    given = (vmi.requests_memory, vmi.limits_memory, vmi.guest_memory)
    return vmi.dedicated and not vmi.hugepages and not any(given)


@_rule("requests-cpu-whole", f.REQUESTS_CPU, source="EN-MGR-5, EN-REQ-4, ZH-MGR-5, ZH-REQ-4")
def requests_cpu_whole(vmi: Placement) -> bool:
    """The CPU request of dedicated CPUs is not a whole number."""
    return vmi.dedicated and _is_fraction(vmi.requests_cpu)


@_rule("limits-cpu-whole", f.LIMITS_CPU, source="EN-MGR-5, EN-REQ-4, ZH-MGR-5, ZH-REQ-4")
def limits_cpu_whole(vmi: Placement) -> bool:
    """The CPU limit of dedicated CPUs is not a whole number."""
    return vmi.dedicated and _is_fraction(vmi.limits_cpu)


@_rule(
    "requests-cpu-not-negative",
    f.REQUESTS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU request is not negative",
)
def requests_cpu_not_negative(vmi: Placement) -> Fields:
    """The CPU request is negative."""
    negative = vmi.requests_cpu is not None and vmi.requests_cpu < 0
    return _or_sockets(vmi, f.REQUESTS_CPU) if negative else ()


@_rule(
    "limits-cpu-not-negative",
    f.LIMITS_CPU,
    source="kubevirt vmi-create-admitter.go: a CPU limit is not negative",
)
def limits_cpu_not_negative(vmi: Placement) -> Fields:
    """The CPU limit is negative."""
    negative = vmi.limits_cpu is not None and vmi.limits_cpu < 0
    return _or_sockets(vmi, f.LIMITS_CPU) if negative else ()


@_rule(
    "requests-memory-not-negative",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory request is not negative",
)
def requests_memory_not_negative(vmi: Placement) -> bool:
    """The memory request is negative."""
    return vmi.requests_memory is not None and vmi.requests_memory < 0


@_rule(
    "limits-memory-not-negative",
    f.LIMITS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory limit is not negative",
)
def limits_memory_not_negative(vmi: Placement) -> bool:
    """The memory limit is negative."""
    return vmi.limits_memory is not None and vmi.limits_memory < 0


@_rule(
    "memory-requested",
    f.REQUESTS_MEMORY,
    f.GUEST_MEMORY,
    f.PAGE_SIZE,
    source="kubevirt vmi-create-admitter.go: a VMI asks for memory",
)
def memory_requested(vmi: Placement) -> bool:
    """No memory is asked for by a VMI of shared CPUs."""
    given = bool(vmi.requests_memory or vmi.limits_memory)
    return not vmi.dedicated and not given and vmi.guest_memory is None and not vmi.hugepages


@_rule(
    "requests-memory-not-tiny",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory request is at least 1M",
)
def requests_memory_not_tiny(vmi: Placement) -> bool:
    """The memory request is below 1M."""
    return 0 < (vmi.asked_memory or 0) < LEAST_MEMORY


@_rule(
    "requests-memory-within-limits",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory request does not exceed its limit",
)
def requests_memory_within_limits(vmi: Placement) -> bool:
    """The memory request of shared CPUs exceeds the limit."""
    return not vmi.dedicated and 0 < (vmi.limits_memory or 0) < (vmi.asked_memory or 0)


@_rule(
    "guest-memory-within-limits",
    f.GUEST_MEMORY,
    source="kubevirt vmi-create-admitter.go: a guest that cannot grow does not exceed its limit",
)
def guest_memory_within_limits(vmi: Placement) -> bool:
    """The guest's memory exceeds the limit where VMs are not updated live."""
    return not vmi.on.guest_may_grow and 0 < (vmi.limits_memory or 0) < (vmi.guest_memory or 0)


@_rule(
    "page-size-known",
    f.PAGE_SIZE,
    f.PAGE_SIZE_BEFORE_1_8,
    source="kubevirt vmi-create-admitter.go: the size of huge pages is a quantity",
)
def page_size_known(vmi: Placement) -> bool:
    """The size of the huge pages is no quantity."""
    return vmi.hugepages and vmi.page_bytes is None


@_rule(
    "memory-of-a-page",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: memory of huge pages is at least one page",
)
def memory_of_a_page(vmi: Placement) -> bool:
    """The memory is smaller than one of the huge pages that it is to be of."""
    memory, page = _memory_of_pages(vmi), vmi.page_bytes or 0
    return page > 0 and memory != 0 and memory < page


@_rule(
    "memory-of-whole-pages",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: memory of huge pages is a multiple of their size",
)
def memory_of_whole_pages(vmi: Placement) -> bool:
    """The memory is no multiple of the huge pages that it is to be of."""
    memory, page = _memory_of_pages(vmi), vmi.page_bytes or 0
    return page > 0 and memory > page and memory % page != 0


def _memory_of_pages(vmi: Placement) -> Fraction:
    """The memory that huge pages are counted of (validateHugepagesMemoryRequests)."""
    return vmi.asked_memory or vmi.guest_memory or vmi.limits_memory or Fraction(0)


@_rule(
    "requests-memory-equals-limits",
    f.REQUESTS_MEMORY,
    source="EN-MGR-3, ZH-MGR-3: requests and limits are equal",
)
def requests_memory_equals_limits(vmi: Placement) -> bool:
    """The memory request and the memory limit of dedicated CPUs differ."""
    request, limit = vmi.requests_memory, vmi.limits_memory
    both = request is not None and limit is not None and request > 0 and limit > 0
    return vmi.dedicated and both and request != limit


@_rule("requests-cpu-equals-limits", f.DEDICATED, source="EN-REQ-6, ZH-REQ-6")
def requests_cpu_equals_limits(vmi: Placement) -> bool:
    """The CPU request and the CPU limit of dedicated CPUs differ."""
    request, limit = vmi.requests_cpu, vmi.limits_cpu
    if not vmi.dedicated or request is None or limit is None:
        return False
    return min(request, limit) > 0 and is_whole(request) and is_whole(limit) and request != limit


@_rule(
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


@_rule(
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


@_rule(
    "topology-or-resources",
    f.DEDICATED,
    source="EN-REQ-5, EN-REQ-7",
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
    prefix = name.replace("_", "-")

    def positive(vmi: Placement) -> bool:
        return vmi.dedicated and getattr(vmi, name) == 0

    positive.__doc__ = f"Dedicated CPUs are asked for with zero in {path}."
    _rule(
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
    _rule(f"{prefix}-representable", path, f.SOCKETS, f.DEDICATED, source=source)(representable)
    source = "kubevirt API, apimachinery: amounts are counted in thousandths, in 64 bits"
    _rule(f"{prefix}-countable", path, f.SOCKETS, f.DEDICATED, source=source)(countable)


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


@_rule(
    "vcpus-given",
    f.DEDICATED,
    source="EN-REQ-4, EN-REQ-7: the number is expressed by cores, requests or limits",
    profiles=("v1alpha2",),
)
def vcpus_given(vmi: Placement) -> bool:
    """Dedicated CPUs are asked for without a number."""
    given = vmi.has_topology or vmi.resources_cpu is not None or bool(vmi.uncounted)
    return vmi.dedicated and not given


@_rule(
    "at-most-two-threads",
    f.DEDICATED,
    source="kubevirt vmi-create-admitter.go: a vCPU core has two threads at most",
)
def at_most_two_threads(vmi: Placement) -> bool:
    """Dedicated CPUs are asked for with more than two threads a core."""
    return vmi.dedicated and vmi.threads is not None and vmi.threads > 2


@_rule(
    "sockets-within-maximum",
    f.SOCKETS,
    source="kubevirt vmi-create-admitter.go: sockets do not exceed maxSockets",
)
def sockets_within_maximum(vmi: Placement) -> bool:
    """More sockets are asked for, or made of the CPUs asked for, than may ever be plugged in."""
    return bool(vmi.max_sockets) and (vmi.defaulted_sockets or 0) > (vmi.max_sockets or 0)


@_rule(
    "numa-needs-dedicated",
    f.NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: NUMA mapping needs dedicated CPUs",
)
def numa_needs_dedicated(vmi: Placement) -> bool:
    """The host's NUMA nodes are mapped without dedicated CPUs."""
    return vmi.numa_passthrough and not vmi.dedicated


@_rule(
    "numa-needs-hugepages",
    f.NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: NUMA mapping needs huge pages",
)
def numa_needs_hugepages(vmi: Placement) -> bool:
    """The host's NUMA nodes are mapped without huge pages."""
    return vmi.numa_passthrough and not vmi.hugepages


@_rule(
    "realtime-needs-dedicated",
    f.DEDICATED,
    source="kubevirt vmi-create-admitter.go: realtime needs dedicated CPUs",
)
def realtime_needs_dedicated(vmi: Placement) -> bool:
    """Realtime is asked for without dedicated CPUs."""
    return vmi.realtime and not vmi.dedicated


@_rule(
    "realtime-needs-numa",
    f.NUMA_PASSTHROUGH,
    source="kubevirt vmi-create-admitter.go: realtime needs NUMA mapping",
)
def realtime_needs_numa(vmi: Placement) -> bool:
    """Realtime is asked for without NUMA mapping."""
    return vmi.realtime and not vmi.numa_passthrough


@_rule(
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


@_rule(
    "machine-emulated",
    f.MACHINE,
    source="kubevirt vmi-create-admitter.go: the machine type is one of emulatedMachines",
)
def machine_emulated(vmi: Placement) -> bool:
    """The machine type is none that the cluster emulates."""
    return not vmi.on.emulates(vmi.machine or vmi.on.machine)


@_rule(
    "iothreads-policy-known",
    f.IOTHREADS_POLICY,
    source="kubevirt vmi-create-admitter.go: shared, auto or supplementalPool",
)
def iothreads_policy_known(vmi: Placement) -> bool:
    """The IOThreads policy is none of those that exist."""
    return vmi.iothreads_policy is not None and vmi.iothreads_policy not in IOTHREADS_POLICIES


@_rule(
    "iothreads-on-virtio",
    f.DISK,
    source="kubevirt disks.go: libvirt offers IOThreads to disks on the bus virtio alone",
)
def iothreads_on_virtio(vmi: Placement) -> Fields:
    """A disk with an IOThread of its own is on another bus than virtio."""
    return tuple(
        f.DISK.replace("*", str(disk.index))
        for disk in vmi.iothread_disks
        if (disk.bus or vmi.on.bus) != "virtio"
        and (vmi.on.virtio_alone or (disk.plain and (disk.bus or vmi.on.bus) == "sata"))
    )


@_rule(
    "supplemental-iothreads-counted",
    f.IOTHREADS_COUNT_AS_NAMED,
    f.IOTHREADS_COUNT,
    source="kubevirt vmi-create-admitter.go: a supplemental pool has a positive count",
)
def supplemental_iothreads_counted(vmi: Placement) -> bool:
    """A supplemental pool of IOThreads has no number of threads."""
    return vmi.iothreads_policy == "supplementalPool" and not vmi.supplemental_iothreads
