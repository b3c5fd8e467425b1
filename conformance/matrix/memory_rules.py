"""The rules by which a VMI's memory requirements are consistent; see `conformance.matrix.rules`."""

from __future__ import annotations

from fractions import Fraction

from conformance.matrix.quantity import LARGEST
from conformance.matrix.reading import Placement
from conformance.matrix.rule import rule
from conformance.model import fields as f

LEAST_MEMORY = 1_000_000


@rule(
    "memory-provided",
    f.LIMITS_MEMORY,
    source="EN-MGR-4, ZH-MGR-4: every container expresses memory",
)
def memory_provided(vmi: Placement) -> bool:
    """No memory is given by requests, limits, hugepages or guest."""
    given = (vmi.requests_memory, vmi.limits_memory, vmi.guest_memory)
    return vmi.dedicated and not vmi.hugepages and not any(given)


@rule(
    "requests-memory-not-negative",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory request is not negative",
)
def requests_memory_not_negative(vmi: Placement) -> bool:
    """The memory request is negative."""
    return vmi.requests_memory is not None and vmi.requests_memory < 0


@rule(
    "limits-memory-not-negative",
    f.LIMITS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory limit is not negative",
)
def limits_memory_not_negative(vmi: Placement) -> bool:
    """The memory limit is negative."""
    return vmi.limits_memory is not None and vmi.limits_memory < 0


@rule(
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


@rule(
    "requests-memory-not-tiny",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory request is at least 1M",
)
def requests_memory_not_tiny(vmi: Placement) -> bool:
    """The memory request is below 1M."""
    return 0 < (vmi.asked_memory or 0) < LEAST_MEMORY


@rule(
    "requests-memory-within-limits",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: a memory request does not exceed its limit",
)
def requests_memory_within_limits(vmi: Placement) -> bool:
    """The memory request of shared CPUs exceeds the limit."""
    exceeds = 0 < (vmi.limits_memory or 0) < (vmi.asked_memory or 0)
    return not vmi.dedicated and exceeds and _is_counted(vmi)


@rule(
    "guest-memory-within-limits",
    f.GUEST_MEMORY,
    source="kubevirt vmi-create-admitter.go: a guest that cannot grow does not exceed its limit",
)
def guest_memory_within_limits(vmi: Placement) -> bool:
    """The guest's memory exceeds the limit where VMs are not updated live."""
    return not vmi.on.guest_may_grow and 0 < (vmi.limits_memory or 0) < (vmi.guest_memory or 0)


@rule(
    "page-size-known",
    f.PAGE_SIZE,
    f.PAGE_SIZE_BEFORE_1_8,
    source="kubevirt vmi-create-admitter.go: the size of huge pages is a quantity",
)
def page_size_known(vmi: Placement) -> bool:
    """The size of the huge pages is no quantity."""
    return vmi.hugepages and vmi.page_bytes is None


@rule(
    "memory-of-a-page",
    f.REQUESTS_MEMORY,
    source="kubevirt vmi-create-admitter.go: memory of huge pages is at least one page",
)
def memory_of_a_page(vmi: Placement) -> bool:
    """The memory is smaller than one of the huge pages that it is to be of."""
    memory, page = _memory_of_pages(vmi), vmi.page_bytes or 0
    return page > 0 and memory != 0 and memory < page


@rule(
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


@rule(
    "requests-memory-equals-limits",
    f.REQUESTS_MEMORY,
    source="EN-MGR-3, ZH-MGR-3: requests and limits are equal",
)
def requests_memory_equals_limits(vmi: Placement) -> bool:
    """The memory request and the memory limit of dedicated CPUs differ."""
    return vmi.dedicated and _differ(vmi) and _is_counted(vmi)


@rule(
    "memory-countable",
    f.REQUESTS_MEMORY,
    source="kubevirt API, apimachinery: bytes are counted in 64 bits",
)
def memory_countable(vmi: Placement) -> bool:
    """The memory request and the limit do not agree, and one is more than the API can count."""
    exceeds = 0 < (vmi.limits_memory or 0) < (vmi.asked_memory or 0)
    return (_differ(vmi) if vmi.dedicated else exceeds) and not _is_counted(vmi)


def _differ(vmi: Placement) -> bool:
    request, limit = vmi.requests_memory, vmi.limits_memory
    return (
        request is not None and limit is not None and min(request, limit) > 0 and request != limit
    )


def _is_counted(vmi: Placement) -> bool:
    return max(vmi.requests_memory or 0, vmi.limits_memory or 0) <= LARGEST
