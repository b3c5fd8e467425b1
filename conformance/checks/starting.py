"""Whether an admitted VMI came to run; and why one does not, as far as anything says so.

Only what was seen to fail is a failure: a phase, a container that ended with an error, a condition
that says so. A VMI that still starts was not observed, however long it takes. What is nobody's
promise (room, images, quotas, a node that went, somebody who evicted or deleted it) is none either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import Loop, admitted_vmi, check
from conformance.checks.turned_away import NO_ROOM_FOR_CORES, turned_away
from conformance.checks.witnesses import vmi
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING

STARTED = "RUN-STARTED"
RUNS = "Running"

_OTHERS = re.compile(
    # kubernetes pkg/kubelet/images/types.go
    r"\b(?:ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName|ImageInspectError"
    # pkg/kubelet: eviction, nodeshutdown, preemption, lifecycle; core/v1 DisruptionTarget
    r"|Evicted|Preempting|PreemptionByScheduler|DeletionByTaintManager|EvictionByEvictionAPI"
    r"|TerminationByKubelet|DeletionByPodGC|NodeShutdown|Terminated|NodeLost|NodeUnresponsive"
    r"|OutOf\w+|NodeAffinity|TopologyAffinityError|OOMKilled"
    r"|(?<!code = )(?<!failed with )DeadlineExceeded"
    # plugin/pkg/admission; whoever else may refuse the launcher pod
    r"|exceeded quota|violates PodSecurity|admission webhook|failed calling webhook|is forbidden"
    r"|CreateContainerConfigError|Cannot allocate memory)"
    # A device that has run out: UnexpectedAdmissionError is of the CPU manager too.
    r"|\bdevices\.kubevirt\.io/"
    # Which pCPUs there are for a guest with mapped NUMA nodes is the kubelet's choice.
    rf"|{NO_ROOM_FOR_CORES}"
    # A launcher that gave up its own parts by the clock, as on a node that starves: seen of 1.8.4.
    r"|\bpanic: [^\n]*?(?:context deadline exceeded|timed out|timeout)"
)
"""What says that room, an image or somebody else keeps a VMI from running."""
_FAILURES = re.compile(
    r"container \S+ ended with \d+|CrashLoopBackOff"
    r"|SyncVMI failed(?! with DeadlineExceeded)|FailedCreate:.*\bis invalid\b"
)
"""What says that it was tried and failed, while a phase does not say so yet."""
_BY_THE_CLOCK = re.compile(r"\bcontext deadline exceeded\b")
"""What virt-handler says of a launcher that it did not wait for, as on a node that starves. The
launcher's own answer is lost then, and in the end an event alone tells of it: seen of 1.8.4."""
_KILLED = re.compile(r"container \S+ ended with (?:137|143)\b")
"""How a launcher ends that was given up: by SIGTERM, and by SIGKILL when it takes too long."""
_BEGAN = re.compile(r"VirtualMachineInstance \S+ Started\b")

_KUBEVIRTS = re.compile(
    r"compute|guest-console-log|container-disk-binary|volume.+|hook-sidecar-\d+|virtiofs-.+"
)
"""Containers that KubeVirt gives a launcher pod (kubevirt pkg/virt-controller/services, and
pkg/container-disk). Whatever else is in one was put there by somebody's webhook: a service mesh, an
agent."""

_OUT_OF_RANGE = re.compile(r"\bpanic: runtime error: (?:slice bounds|index) out of range")
_NO_AFFINITY = "cannot set CPU affinity"


@dataclass(frozen=True)
class Outlook:
    """Why a VMI or pod does not run.

    Attributes:
        failed: whether it was seen to fail, for a reason that is its cluster's own.
        why: everything that says anything about it.
    """

    failed: bool
    why: str


def outlook(snapshot: Snapshot) -> Outlook:
    """Why the VMI, or the plain pod, of a snapshot does not run; it is one that does not."""
    subject = snapshot.vmi or snapshot.pod
    phase = subject.phase if subject else ""
    kind = "VMI" if snapshot.vmi else "pod"
    state = _state(snapshot)
    # Events tell what was, and may have been overcome: they are quoted, and decide nothing.
    why = "; ".join([*state, *snapshot.events[-3:]]) or "no reason is given"
    now = "; ".join(state)
    words = f"{kind} {snapshot.subject or 'of an unknown name'} is {phase or 'without a phase'}"
    if excuse := _excuse(snapshot, phase, now) or _foreign_failure(snapshot):
        return Outlook(False, f"{words}: {excuse} ({why})")
    pod = snapshot.pod
    ended = phase in ("Failed", "Succeeded") or (pod is not None and pod.phase == "Failed")
    told = (now, *snapshot.events)
    said = any(map(_FAILURES.search, (_KILLED.sub("", each) for each in told)))
    unmet = (now, *_since_it_started(snapshot.events))
    if ended and not said and any(map(_BY_THE_CLOCK.search, unmet)):
        return Outlook(False, f"{words}: virt-handler gave its launcher up by the clock ({why})")
    if ended or _FAILURES.search(now):
        return Outlook(True, f"{words} instead of {RUNS}: {why}")
    moved = f"; what moved last: {snapshot.moved}" if snapshot.moved else ""
    return Outlook(False, f"{words}, still starting ({why}{moved})")


def _since_it_started(events: Sequence[str]) -> Sequence[str]:
    """Events after which the VMI has not come to run: what they tell was not overcome."""
    began = [n for n, each in enumerate(events) if _BEGAN.match(each)]
    return events[began[-1] :] if began else events


def _excuse(snapshot: Snapshot, phase: str, now: str) -> str | None:
    """What keeps it from running, and is nobody's promise."""
    found, node = snapshot.vmi, snapshot.node
    if found is not None and found.deleting:
        return "somebody deletes it"
    if node is not None and node.ready not in (None, "True"):
        return f"node {node.name} has the condition Ready {node.ready}"
    if waits_for_room(snapshot):
        return "no node takes it"
    if others := _OTHERS.search(now):
        return f"{others[0]}, which no promise is about"
    if phase == "Succeeded" and found is not None and RUNS in found.reached:
        return "it ran, and its guest has ended"
    return None


def _foreign_failure(snapshot: Snapshot) -> str | None:
    """What somebody else's container in the launcher pod did, where nothing else has failed."""
    found, pod = snapshot.vmi, snapshot.pod
    if found is None or pod is None:
        return None
    failed = [each for each in pod.containers if _FAILURES.search(each.trouble)]
    if any(_KUBEVIRTS.fullmatch(each.name) for each in failed):
        return None
    if any(map(_FAILURES.search, (*_conditions(snapshot), *snapshot.events))):
        return None
    return f"{failed[0].trouble}, and that is none of KubeVirt's containers" if failed else None


def waits_for_room(snapshot: Snapshot) -> bool:
    """Whether the scheduler has found no node for it: VMIs have the condition of their pod."""
    condition = snapshot.vmi.conditions.get("PodScheduled", "") if snapshot.vmi else ""
    bound = snapshot.pod is not None and snapshot.pod.node is not None
    reason = (snapshot.pod.reason if snapshot.pod else None) or ""
    return not bound and ("False Unschedulable" in condition or "Unschedulable" in reason)


@check(
    STARTED,
    moment=RUNNING,
    applies=admitted_vmi,
    unstarted=True,
    settles=Loop.ARRIVAL,
    look="Look at the events of the VMI and of its pod, then at the logs of its containers, which "
    "are kept in the evidence as logs/CASE.CONTAINER.log.",
)
def admitted_runs(snapshot: Snapshot, expected: Expectation, seen: Comparison) -> str:
    """The VMI's phase is Running; it is wrong only when it was seen to fail."""
    found = vmi(snapshot)
    seen.saw("phase", found.phase or "none", f"VMI {found.namespace}/{found.name} .status.phase")
    if found.phase != RUNS:
        if why := turned_away(snapshot, expected):
            raise NotApplicable(why)
        expected_to_run(snapshot, seen, known=_misplaced_iothreads(snapshot, expected))
    return f"VMI {found.namespace}/{found.name} runs on {found.node}"


def _misplaced_iothreads(snapshot: Snapshot, expected: Expectation) -> bool:
    """Whether it ended as releases do that place IOThreads by the vCPUs it may ever have.

    Those that share the CPUs of vCPUs reach beyond the launcher's cpuset, and it panics; those of a
    supplemental pool are pinned where it may not run, and libvirt refuses to start the domain.
    """
    if not expected.dedicated or expected.iothreads_policy == "none":
        return False
    if expected.iothreads_policy == "supplementalPool":
        return any(_NO_AFFINITY in event for event in snapshot.events)
    return not expected.isolate_emulator and bool(_OUT_OF_RANGE.search(outlook(snapshot).why))


def expected_to_run(snapshot: Snapshot, seen: Comparison, *, known: bool = False) -> None:
    """Objects to what does not run and was seen to fail. Raises Unobserved for everything else.

    Args:
        snapshot: of what does not run.
        seen: what is told.
        known: whether it is a divergence of the catalogue.
    """
    found = outlook(snapshot)
    if not found.failed:
        raise Unobserved(found.why)
    seen.wrong(found.why, known=known)


def _conditions(snapshot: Snapshot) -> list[str]:
    """What the VMI says of itself."""
    found = snapshot.vmi
    if found is None:
        return []
    reasons = [f"{name} {text}" for name, text in found.conditions.items() if "False" in text]
    return reasons + ([found.reason] if found.reason else [])


def _state(snapshot: Snapshot) -> list[str]:
    """What VMI and pod say of themselves."""
    pod, reasons = snapshot.pod, _conditions(snapshot)
    if pod is not None and pod.reason:
        reasons.append(f"pod {pod.name} is {pod.phase}: {pod.reason}")
    return reasons
