"""What each release of KubeVirt does, where releases differ and no promise is broken by it.

Read from the sources by tag (v1.0.0 to v1.9.0 and main); each row names the file. A release
that is newer than the table is judged by its newest row, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.model.release import Release
from conformance.model.vocabulary import CPUMANAGER, KUBEVIRT_CPUMANAGER, V1, V1ALPHA2


@dataclass(frozen=True)
class Labels:
    """The CPU manager labels of a range of releases.

    Source: api/core/v1/types.go, virt-handler/heartbeat/heartbeat.go,
    virt-controller/services/nodeselectorrenderer.go (kubevirt#14892, kubevirt#19100).

    Attributes:
        since: first minor release that does so.
        written: keys that virt-handler keeps true or false; others are nobody's promise.
        selected: the key that a dedicated launcher pod selects.
    """

    since: tuple[int, int]
    written: tuple[str, ...]
    selected: str


LABELS: tuple[Labels, ...] = (
    Labels((0, 0), (CPUMANAGER,), CPUMANAGER),
    Labels((1, 8), (KUBEVIRT_CPUMANAGER, CPUMANAGER), KUBEVIRT_CPUMANAGER),
    Labels((1, 10), (KUBEVIRT_CPUMANAGER,), KUBEVIRT_CPUMANAGER),
)
"""By first release. Alphas, betas and candidates of a first release may do either."""

V1ALPHA2_LABELS = Labels((0, 0), (CPUMANAGER,), CPUMANAGER)
"""Of the generation that the guide of 2018 describes."""

NEWEST_KUBEVIRT = (1, 10)
NEWEST_KUBERNETES = (1, 37)
"""The newest minor releases of which these tables know anything."""


@dataclass(frozen=True)
class Feature:
    """Something that not every release has, or that a gate must switch on.

    Attributes:
        what: as a subject, for people.
        since: first minor release that has it.
        gate: without which it is refused or ignored; empty for none.
        gate_until: first minor release that does not ask for the gate any more.
        source: where that was read.
    """

    what: str
    since: tuple[int, int] = (0, 0)
    gate: str = ""
    gate_until: tuple[int, int] | None = None
    source: str = ""


FEATURES = {
    "supplemental-pool": Feature(
        "the IOThreads policy supplementalPool",
        since=(1, 5),
        source="vmi-create-admitter.go, validateIOThreadsPolicy",
    ),
    "numa": Feature(
        "NUMA mapping", gate="NUMA", gate_until=(1, 4), source="virt-config, feature gates"
    ),
    "hook-sidecars": Feature(
        "hook sidecars", gate="Sidecar", source="vmi-create-admitter.go, validateHookSidecars"
    ),
    "even-parity": Feature(
        "the annotation EmulatorThreadCompleteToEvenParity",
        since=(1, 2),
        source="virt-launcher converter/vcpu",
    ),
}
"""By name; a case says which it needs (`Expectation.features`)."""


def labels(release: Release | None, profile: str = V1) -> tuple[Labels, ...]:
    """The rows that may hold for a release: one for a known one, every one for an unknown one.

    A build of the main branch may do as any release does since its tag.
    """
    if profile == V1ALPHA2:
        return (V1ALPHA2_LABELS,)
    if release is None:
        return LABELS
    rows = [row for row in LABELS if row.since <= release.minor_release]
    early = release.before and release.patch == 0 and rows[-1].since == release.minor_release
    first = max(0, len(rows) - (2 if early else 1))
    return LABELS[first:] if release.onwards else tuple(rows[first:])


def lacking(
    features: Sequence[str], release: Release | None, gates: frozenset[str] | None
) -> str | None:
    """Why a release, or its gates, cannot have one of these features; None when all can be had.

    What is not known (no release, no gates) is no lack.
    """
    for name in features:
        feature = FEATURES[name]
        if release is not None and release.surely_before(feature.since):
            since = ".".join(map(str, feature.since))
            return f"KubeVirt {release} does not have {feature.what}, which came with {since}"
        gated = feature.gate and (
            feature.gate_until is None
            or (release is not None and release.surely_before(feature.gate_until))
        )
        if gated and gates is not None and feature.gate not in gates:
            return (
                f"the feature gate {feature.gate} is off, without which {feature.what} is refused"
            )
    return None


def beyond(kubevirt: Release | None, kubernetes: Release | None) -> tuple[str, ...]:
    """What of a cluster is newer than these tables, one sentence each."""
    return tuple(
        f"{name} {release} is newer than the table of editions, which ends with "
        f"{'.'.join(map(str, newest))}; it was judged by the newest row"
        for name, release, newest in (
            ("KubeVirt", kubevirt, NEWEST_KUBEVIRT),
            ("Kubernetes", kubernetes, NEWEST_KUBERNETES),
        )
        if release is not None and release.minor_release > newest
    )
