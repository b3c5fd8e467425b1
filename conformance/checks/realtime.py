"""Who is scheduled in real time, and which nodes say that they can."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.node_labels import require_claim
from conformance.checks.registry import Loop, admitted_vmi, check, dedicated_vmi
from conformance.checks.threads import threads
from conformance.checks.witnesses import node
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot, Thread
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import REALTIME_LABEL, RUNNING, SKIPS_LABELLER

_POLICIES = {0: "SCHED_OTHER", 1: "SCHED_FIFO", 2: "SCHED_RR", 3: "SCHED_BATCH", 5: "SCHED_IDLE"}
"""Of sched(7)."""
_FIFO, _PRIORITY = 1, 1
_IN_REAL_TIME = frozenset({1, 2, 6})
"""Policies that come before every other one."""
_UNLIMITED = -1
_RUNTIME = "kernel.sched_rt_runtime_us"


def _realtime(expectation: Expectation) -> bool:
    return dedicated_vmi(expectation) and expectation.realtime is not None


@check(
    "RT-SCHED",
    moment=RUNNING,
    applies=_realtime,
    look="Look at chrt -a -p of QEMU, and at virt-handler's log.",
)
def vcpus_of_the_mask_are_in_real_time(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """vCPUs of the mask have SCHED_FIFO and priority 1; others are not in real time.

    virt-handler sees to it before a VMI is Running, as one is that comes by a migration.
    """
    moved = snapshot.vmi.migration if snapshot.vmi else None
    came = moved is not None and moved.succeeded
    found, wanted = threads(snapshot), expectation.realtime or frozenset()
    if found.emulated:
        raise NotApplicable(
            "the guest runs under software emulation (threads CPU n/TCG), whose vCPU threads "
            "virt-handler does not know by their names"
        )
    if missing := CpuSet(range(expectation.vcpus)) - CpuSet(found.vcpus):
        seen.missing(f"no thread of vCPU {missing} was seen")
    for vcpu, thread in sorted(found.vcpus.items()):
        if thread.policy is None:
            seen.missing(f"/proc/{thread.tid}/stat of vCPU {vcpu} was not read")
            continue
        said, source = _said(thread), f"/proc/{thread.tid}/stat"
        seen.saw(f"vCPU {vcpu}", said, source)
        if vcpu in wanted and (thread.policy, thread.priority) != (_FIFO, _PRIORITY):
            seen.wrong(
                f"vCPU {vcpu} is of the mask and scheduled by {said} instead of SCHED_FIFO with "
                f"priority {_PRIORITY} ({source})"
                + (f", since it migrated from node {moved.source}" if moved and came else ""),
                known=came,
            )
        elif vcpu not in wanted and thread.policy in _IN_REAL_TIME:
            seen.wrong(f"vCPU {vcpu} is not of the mask and scheduled by {said} ({source})")
    return f"vCPUs {CpuSet(wanted) or 'none'} are scheduled by SCHED_FIFO with priority 1"


def _said(thread: Thread) -> str:
    policy = _POLICIES.get(thread.policy or 0, f"policy {thread.policy}")
    return f"{policy} with priority {thread.priority}" if thread.priority else policy


@check(
    "RT-LABEL",
    moment=RUNNING,
    applies=admitted_vmi,
    settles=Loop.LABELLER,
    unstarted=True,
    nodes=True,
    node_alone=True,
    look="Look at sysctl kernel.sched_rt_runtime_us of the node, and at virt-handler's log of its "
    "node labeller.",
)
def label_tells_who_can(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """A node has the label exactly when its real-time threads may run without end."""
    found = node(snapshot)
    if not found.labels:
        raise Unobserved(f"node {found.name} shows no label at all, not even the kubelet's own")
    require_claim(snapshot, found, expectation)
    if found.skips_labeller:
        raise NotApplicable(f"node {found.name} has the annotation {SKIPS_LABELLER}")
    there = REALTIME_LABEL in found.labels
    if found.rt_runtime is None and not snapshot.subject and not there:
        raise NotApplicable(
            f"node {found.name} bears no label {REALTIME_LABEL}, and what its kernel allows was "
            "not read"
        )
    seen.saw(f"label {REALTIME_LABEL}", "there" if there else "none", f"node {found.name}")
    if found.rt_runtime is None:
        raise Unobserved(f"{_RUNTIME} of node {found.name} was not read")
    seen.saw(_RUNTIME, found.rt_runtime, f"node {found.name}, /proc/sys")
    if there != (found.rt_runtime == _UNLIMITED):
        seen.wrong(
            f"node {found.name} has {'the' if there else 'no'} label {REALTIME_LABEL} while its "
            f"{_RUNTIME} is {found.rt_runtime}"
        )
    return f"the label of node {found.name} tells whether it can run threads in real time"
