"""CPUs on few NUMA nodes: what a topology policy gives, and what it rightly rejects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.checks.turned_away import turned_away
from conformance.model.evidence import RawSnapshot
from conformance.parsing import assemble
from tests.selfproof import recording as good
from tests.selfproof.mutations import both, checkpoint
from tests.truth.changes import BROKEN, KEPT, NONE, UNSEEN, configz, judged

NODE = "/sys/devices/system/node"
CROSSING = (
    'server error. command SyncVMI failed: "could not fit 1 core(s) without crossing numa cell '
    'boundaries for individual cores"'
)


def under(policy: str, **more: Any) -> Any:
    return configz(reservedSystemCPUs="0-1", topologyManagerPolicy=policy, **more)


def numa(*cpus: str) -> Any:
    """These are the NUMA nodes of the host."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        files = {path: text for path, text in raw.hardware.items() if NODE not in path}
        nodes = {f"{NODE}/node{n}/cpulist": f"{own}\n" for n, own in enumerate(cpus)}
        return replace(raw, hardware=files | nodes)

    return change


ONE, SPLIT, SMALL = numa("0-5", "6-11"), numa("0-3", "4-11"), numa("0-1", "2-3", "4-5", "6-11")
"""Compute has CPUs 2-4: of one node, of two though one could hold three, of the fewest that could
hold three were there not a larger one."""


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ((ONE, under("single-numa-node")), KEPT),
        ((SPLIT, under("single-numa-node")), BROKEN),
        ((SPLIT, under("restricted")), BROKEN),
        ((numa("0-1", "2-3", "4-5", "6-7", "8-9", "10-11"), under("restricted")), KEPT),
        ((SMALL, under("restricted")), BROKEN),
        ((SPLIT, under("best-effort")), NONE),
        ((SPLIT, under("none")), NONE),
        # Sockets are counted then: 2-4 are of one.
        (
            (
                SPLIT,
                under("restricted", cpuManagerPolicyOptions={"align-by-socket": "true"}),
            ),
            KEPT,
        ),
    ],
)
def test_what_is_given_is_measured_by_the_policy(changes: tuple[Any, ...], verdict: object) -> None:
    assert judged("NUMA-ALIGNED", *changes).verdict is verdict


def test_the_scope_pod_counts_the_containers_together() -> None:
    """A second container of the pod has CPUs of the other node."""
    two = both(ONE, checkpoint(lambda s: s["entries"][good.UID].update(sidecar="8-9")))
    container = under("single-numa-node")
    pod = under("single-numa-node", topologyManagerScope="pod")
    assert judged("NUMA-ALIGNED", two, container).verdict is KEPT
    assert judged("NUMA-ALIGNED", two, pod).verdict is BROKEN


def rejected(policy: str, reason: str = "TopologyAffinityError") -> RawSnapshot:
    pod = good.launcher()
    pod["status"] |= {"phase": "Failed", "reason": reason, "message": "Pod was rejected"}
    raw: RawSnapshot = under(policy)(good.turned_away())
    return replace(raw, pod=pod, pods=(pod, *raw.pods[1:]))


@pytest.mark.parametrize("policy", ["single-numa-node", "restricted"])
def test_a_rejection_keeps_the_policy_and_nothing_more_is_asked(policy: str) -> None:
    raw = rejected(policy)
    assert judged("NUMA-ALIGNED", raw=raw).verdict is KEPT
    assert judged("RUN-STARTED", raw=raw).verdict is NONE
    assert "rejected 3 CPUs" in (turned_away(assemble(raw), good.EXPECTATION) or "")


@pytest.mark.parametrize("policy", ["none", "best-effort"])
def test_a_rejection_without_such_a_policy_is_not_explained_by_it(policy: str) -> None:
    raw = rejected(policy)
    assert turned_away(assemble(raw), good.EXPECTATION) is None
    assert judged("RUN-STARTED", raw=raw).verdict is UNSEEN


def test_another_failure_is_not_excused_by_the_policy() -> None:
    raw = rejected("single-numa-node", "UnexpectedAdmissionError")
    assert turned_away(assemble(raw), good.EXPECTATION) is None
    assert judged("RUN-STARTED", raw=raw).verdict is BROKEN


def failed(message: str) -> Any:
    status = {
        "phase": "Failed",
        "nodeName": good.NODE,
        "conditions": [{"type": "Synchronized", "status": "False", "message": message}],
    }
    return lambda raw: replace(raw, vmi={**(raw.vmi or {}), "status": status}, domain=None)


def test_guest_cores_that_no_numa_node_can_hold_are_nobodys_fault() -> None:
    single = numa(*map(str, range(12)))
    assert judged("RUN-STARTED", failed(CROSSING), single).verdict is NONE
    assert judged("RUN-STARTED", failed(CROSSING)).verdict is UNSEEN
    assert judged("RUN-STARTED", failed("command SyncVMI failed: no"), single).verdict is BROKEN
