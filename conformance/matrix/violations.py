"""Inconsistent VMIs: every rule violated alone, and pairs of rules violated together.

Longer than 400 lines: two thirds are the table of violations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from conformance.matrix.cases import Case, case
from conformance.matrix.manifests import Images, Wish
from conformance.matrix.reading import DECODING, SCHEMA
from conformance.model.vocabulary import INCLUDED, V1, V1ALPHA2

_BASE = Wish(cores=2)
"""A consistent VMI, of which each violation changes something."""


@dataclass(frozen=True)
class Violation:
    """A change that makes a consistent VMI inconsistent.

    Attributes:
        id: short name.
        rule: the rule that it violates, ``schema`` or ``decoding``. What changes members of the
            domain for which there is no other wish is tried alone.
        what: what is wrong, as the subject of a sentence.
        change: fields of `Wish`.
    """

    id: str
    rule: str
    what: str
    change: Mapping[str, Any]

    @property
    def wish(self) -> Wish:
        """The inconsistent VMI."""
        return replace(_BASE, **self.change)


def _resources(**change: object) -> dict[str, Any]:
    """A number of CPUs by resources alone."""
    return {"cores": None, **change}


_TOPOLOGY_V1 = "topology-agrees-with-resources"

VIOLATIONS: tuple[Violation, ...] = (
    *(
        Violation(f"requests-{name}", "requests-cpu-whole", f"a CPU request of {value}", change)
        for name, value, change in (
            ("1500m", "1500m", _resources(requests_cpu="1500m")),
            ("half", "0.5", _resources(requests_cpu="0.5")),
            ("100m", "100m", _resources(requests_cpu="100m")),
            ("almost", "1999m", _resources(requests_cpu="1999m")),
            ("nano", "1.000000001", _resources(requests_cpu="1.000000001")),
        )
    ),
    *(
        Violation(f"limits-{name}", "limits-cpu-whole", f"a CPU limit of {value}", change)
        for name, value, change in (
            ("1500m", "1500m", _resources(limits_cpu="1500m")),
            ("half", "0.5", _resources(limits_cpu="0.5")),
            ("power", "25e-1", _resources(limits_cpu="25e-1")),
        )
    ),
    Violation(
        "requests-minus",
        "requests-cpu-not-negative",
        "a negative CPU request",
        _resources(requests_cpu="-1"),
    ),
    Violation(
        "limits-minus", "limits-cpu-not-negative", "a negative CPU limit", _resources(limits_cpu=-2)
    ),
    Violation(
        "differ",
        "requests-cpu-equals-limits",
        "a CPU request below the limit",
        _resources(requests_cpu=1, limits_cpu=2),
    ),
    Violation(
        "exceed",
        "requests-cpu-equals-limits",
        "a CPU request above the limit",
        _resources(requests_cpu=3, limits_cpu=2),
    ),
    Violation(
        "exceed-shared",
        "requests-cpu-within-limits",
        "a CPU request above the limit, of shared CPUs,",
        _resources(requests_cpu=3, limits_cpu=2, dedicated=None),
    ),
    Violation("disagree-limit", _TOPOLOGY_V1, "a limit beside other cores", {"limits_cpu": 3}),
    Violation(
        "disagree-request", _TOPOLOGY_V1, "a request beside other cores", {"requests_cpu": 1}
    ),
    Violation(
        "disagree-equal",
        _TOPOLOGY_V1,
        "equal request and limit beside another topology",
        {"sockets": 2, "requests_cpu": 2, "limits_cpu": 2},
    ),
    Violation("both-limit", "topology-or-resources", "cores beside a limit", {"limits_cpu": 2}),
    Violation(
        "both-request", "topology-or-resources", "cores beside a request", {"requests_cpu": 3}
    ),
    Violation("zero-cores", "cores-positive", "zero cores", {"cores": 0}),
    Violation("zero-sockets", "sockets-positive", "zero sockets", {"sockets": 0}),
    Violation("zero-threads", "threads-positive", "zero threads", {"threads": 0}),
    Violation(
        "zero-request", "requests-cpu-positive", "a CPU request of 0", _resources(requests_cpu=0)
    ),
    Violation(
        "zero-limit", "limits-cpu-positive", "a CPU limit of 0m", _resources(limits_cpu="0m")
    ),
    Violation("no-number", "vcpus-given", "no number of vCPUs", _resources()),
    Violation(
        "huge-limit",
        "limits-cpu-countable",
        "a CPU limit of 1e30",
        _resources(limits_cpu="1e30"),
    ),
    Violation(
        "wide-limit",
        "limits-cpu-representable",
        "a CPU limit of 3G",
        _resources(limits_cpu="3G"),
    ),
    Violation(
        "uncounted-request",
        "requests-cpu-countable",
        "a CPU request of 1e19",
        _resources(requests_cpu="1e19"),
    ),
    Violation(
        "huge-request",
        "requests-cpu-representable",
        "a CPU request of 8Ei",
        _resources(requests_cpu="8Ei"),
    ),
    Violation("threads-3", "at-most-two-threads", "three threads a core", {"threads": 3}),
    Violation("threads-8", "at-most-two-threads", "eight threads a core", {"threads": 8}),
    Violation(
        "sockets-maximum",
        "sockets-within-maximum",
        "more sockets than maxSockets",
        {"sockets": 2, "max_sockets": 1},
    ),
    Violation(
        "isolate-shared",
        "isolate-needs-dedicated",
        "an isolated emulator thread without dedicated CPUs",
        {"isolate": True, "dedicated": None},
    ),
    Violation(
        "isolate-false",
        "isolate-needs-dedicated",
        "an isolated emulator thread with dedicated CPUs switched off",
        {"isolate": True, "dedicated": False},
    ),
    Violation("memory-none", "memory-provided", "no memory", {"limits_memory": None}),
    Violation("memory-zero", "memory-provided", "a memory limit of 0", {"limits_memory": 0}),
    Violation(
        "memory-below",
        "requests-memory-equals-limits",
        "a memory request below the limit",
        {"requests_memory": "64Mi"},
    ),
    Violation(
        "memory-unit",
        "requests-memory-equals-limits",
        "a memory request in another unit than the limit",
        {"requests_memory": "96M", "limits_memory": "96Mi"},
    ),
    Violation(
        "memory-request-minus",
        "requests-memory-not-negative",
        "a negative memory request",
        {"requests_memory": "-64Mi", "limits_memory": None},
    ),
    Violation(
        "memory-limit-minus",
        "limits-memory-not-negative",
        "a negative memory limit",
        {"limits_memory": "-64Mi"},
    ),
    Violation(
        "numa-shared",
        "numa-needs-dedicated",
        "NUMA mapping without dedicated CPUs",
        {"numa_passthrough": True, "hugepages": "2Mi", "dedicated": None},
    ),
    Violation(
        "numa-pages",
        "numa-needs-hugepages",
        "NUMA mapping without huge pages",
        {"numa_passthrough": True},
    ),
    Violation(
        "sockets-made",
        "sockets-within-maximum",
        "a CPU limit above maxSockets",
        _resources(limits_cpu=4, max_sockets=2),
    ),
    Violation(
        "pages-word",
        "page-size-known",
        "huge pages of a size that is no quantity",
        {"hugepages": "large"},
    ),
    Violation(
        "pages-larger",
        "memory-of-a-page",
        "memory smaller than its huge pages",
        {"hugepages": "1Gi"},
    ),
    Violation(
        "pages-odd",
        "memory-of-whole-pages",
        "memory that is no multiple of its huge pages",
        {"hugepages": "2Mi", "limits_memory": "97Mi"},
    ),
    Violation(
        "memory-exceed-shared",
        "requests-memory-within-limits",
        "a memory request above the limit, of shared CPUs,",
        {"requests_memory": "128Mi", "dedicated": None},
    ),
    Violation(
        "memory-tiny",
        "requests-memory-not-tiny",
        "a memory request below 1M",
        {"requests_memory": "500k", "limits_memory": None},
    ),
    Violation(
        "memory-none-shared",
        "memory-requested",
        "no memory, of shared CPUs,",
        {"limits_memory": None, "dedicated": None},
    ),
    Violation(
        "feature-policy",
        "cpu-features-known",
        "a CPU feature with an unknown policy",
        {"domain": {"cpu": {"features": [{"name": "aes", "policy": "prefer"}]}}},
    ),
    Violation(
        "machine-pc",
        "machine-emulated",
        "a machine type that is not emulated",
        {"domain": {"machine": {"type": "pc-i440fx"}}},
    ),
    Violation(
        "iothread-sata",
        "iothreads-on-virtio",
        "an IOThread for a disk on sata",
        {
            "dedicated_iothread": True,
            "domain": {
                "devices": {
                    "disks": [
                        {"name": "scratch", "disk": {"bus": "sata"}, "dedicatedIOThread": True},
                    ]
                }
            },
        },
    ),
    Violation("devices-none", SCHEMA, "no devices", {"domain": {"devices": None}}),
    Violation("realtime-numa", "realtime-needs-numa", "realtime without NUMA", {"realtime": True}),
    Violation(
        "realtime-shared",
        "realtime-needs-dedicated+realtime-needs-numa",
        "realtime without dedicated CPUs",
        {"realtime": True, "dedicated": None},
    ),
    Violation(
        "io-unknown",
        "iothreads-policy-known",
        "an unknown policy of IOThreads",
        {"iothreads_policy": "Auto"},
    ),
    Violation(
        "io-pool-empty",
        "supplemental-iothreads-counted",
        "a supplemental pool without a number of IOThreads",
        {"iothreads_policy": "supplementalPool"},
    ),
    Violation(
        "io-pool-zero",
        "supplemental-iothreads-counted",
        "a supplemental pool of zero IOThreads",
        {"iothreads_policy": "supplementalPool", "supplemental_iothreads": 0},
    ),
    *(
        Violation(name, SCHEMA, what, change)
        for name, what, change in (
            ("type-cores", "cores in a string", {"cores": "2"}),
            ("type-cores-list", "cores in a list", {"cores": [2]}),
            ("type-cores-half", "one and a half cores", {"cores": 1.5}),
            ("type-sockets", "sockets in an object", {"sockets": {"count": 2}}),
            ("type-threads", "threads that are true", {"threads": True}),
            ("type-dedicated", "dedicated placement in a string", {"dedicated": "true"}),
            ("type-dedicated-1", "dedicated placement that is 1", {"dedicated": 1}),
            ("type-isolate", "isolation in a string", {"isolate": "yes"}),
            ("type-policy", "a policy of IOThreads that is a number", {"iothreads_policy": 1}),
            ("type-request", "a CPU request that is true", _resources(requests_cpu=True)),
            ("type-limit", "a CPU limit in a list", _resources(limits_cpu=["2"])),
            ("huge-sockets", "a number of sockets of thirty digits", {"sockets": 10**30}),
            ("type-memory", "a memory limit in an object", {"limits_memory": {"size": "96Mi"}}),
        )
    ),
    *(
        Violation(name, DECODING, what, change)
        for name, what, change in (
            ("minus-cores", "a negative number of cores", {"cores": -1}),
            ("minus-sockets", "a negative number of sockets", {"sockets": -2}),
            ("huge-cores", "more cores than 32 bits hold", {"cores": 2**32}),
            ("word-request", "a CPU request of two", _resources(requests_cpu="two")),
            ("empty-request", "an empty CPU request", _resources(requests_cpu="")),
            ("comma-request", "a CPU request of 1,5", _resources(requests_cpu="1,5")),
            ("hex-limit", "a CPU limit of 0x2", _resources(limits_cpu="0x2")),
            ("unit-limit", "a CPU limit of 2 cores", _resources(limits_cpu="2 cores")),
            ("points-limit", "a CPU limit of 1.2.3", _resources(limits_cpu="1.2.3")),
            ("signs-limit", "a CPU limit of --1", _resources(limits_cpu="--1")),
            ("unit-memory", "a memory limit of 96MiB", {"limits_memory": "96MiB"}),
            ("space-memory", "a memory limit of 96 Mi", {"limits_memory": "96 Mi"}),
            ("word-guest", "a guest memory of lots", {"guest_memory": "lots"}),
        )
    ),
)

_ONLY_V1 = frozenset({"sockets", "threads", "isolate", "max_sockets"})
"""Fields of `Wish` that the older generation does not know."""

_ONLY_IN = {
    _TOPOLOGY_V1: V1,
    "topology-or-resources": V1ALPHA2,
    "vcpus-given": V1ALPHA2,
}


def violations(profile: str) -> tuple[Violation, ...]:
    """Those that are violations in a profile."""
    return tuple(
        each
        for each in VIOLATIONS
        if _ONLY_IN.get(each.rule, profile) in INCLUDED[profile]
        and not (profile == V1ALPHA2 and _ONLY_V1 & each.change.keys())
    )


def single(profile: str, images: Images | None = None) -> Iterator[Case]:
    """Each violation alone."""
    for each in violations(profile):
        yield case(
            f"no-{each.id}",
            f"{each.what} is refused",
            each.wish,
            profile=profile,
            images=images,
        )


def paired(profile: str, images: Images | None = None, *, all: bool = False) -> Iterator[Case]:
    """Two violations at once, by the first example of each rule.

    Args:
        profile: the generation.
        images: of the manifests.
        all: whether every rule is paired with every other one; else with one other.
    """
    first = {
        each.rule: each
        for each in reversed(violations(profile))
        if "+" not in each.rule and "domain" not in each.change
    }
    examples = [each for each in violations(profile) if first.get(each.rule) is each]
    alone = set(first)
    for one, other in combinations(examples, 2):
        if not all and not {one.rule, other.rule} & alone:
            continue
        found = _pair(one, other, profile, images)
        if found is not None:
            alone -= {one.rule, other.rule}
            yield found


def _pair(one: Violation, other: Violation, profile: str, images: Images | None) -> Case | None:
    """The case of both; None when they want a field to differ, or one undoes the other."""
    shared = one.change.keys() & other.change.keys()
    if any(one.change[field] != other.change[field] for field in shared):
        return None
    found = case(
        f"no-{one.id}-{other.id}",
        f"{one.what} and {other.what} are refused",
        replace(_BASE, **{**one.change, **other.change}),
        profile=profile,
        images=images,
    )
    refusal = found.expectation.refusal
    wanted = {one.rule, other.rule}
    for stage in (DECODING, SCHEMA):
        wanted = {stage} if stage in wanted else wanted
    return found if refusal is not None and set(refusal.rule.split("+")) == wanted else None
