"""Whether what a kubelet reserves for the system, a set of CPUs or a number, is left to it.

Source of the rules: kubernetes pkg/kubelet/cm/cpumanager/policy_static.go: a number is
``ceil(kubeReserved + systemReserved)``, and which CPUs these are is the kubelet's choice; they
stay in the shared pool, unless the option strict-cpu-reservation keeps them out.
"""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.node_labels import require_labelled
from conformance.checks.registry import check, dedicated
from conformance.checks.witnesses import checkpoint, node, saw_entry
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Checkpoint, Kubelet, Node, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import COMPUTE, RUNNING

STRICT = "strict-cpu-reservation"
"""Policy option that keeps the reserved CPUs out of the shared pool."""


def reserved_number(node: Node) -> tuple[int | None, str]:
    """How many CPUs are reserved without being named, and where that is said; None for unknown.

    A kubelet that is configured by flags tells it by what it keeps from the scheduler.
    """
    kubelet, what = node.kubelet, "kubeReserved and systemReserved, cpu"
    if kubelet is not None and kubelet.reserved_milli is not None:
        return _up(kubelet.reserved_milli), f"{kubelet.source} {what}"
    if node.capacity_cpu_milli is not None and node.allocatable_cpu_milli is not None:
        kept = node.capacity_cpu_milli - node.allocatable_cpu_milli
        return _up(kept), f"node {node.name} .status, capacity less allocatable cpu"
    if kubelet is not None and kubelet.running:
        return 0, kubelet.source
    return None, kubelet.source if kubelet is not None else f"node {node.name}"


def _up(milli: int) -> int:
    return -(-milli // 1000)


def unconfigured(kubelet: Kubelet | None) -> str | None:
    """Why the options of a kubelet may be others than those that were read; None when not."""
    if kubelet is None:
        return "the kubelet's configuration was not read"
    if kubelet.running:
        return None
    return f"flags of the kubelet may say otherwise than {kubelet.source}"


@check(
    "CPU-RESERVED",
    moment=RUNNING,
    applies=dedicated,
    whole_nodes=True,
    look="Look at reservedSystemCPUs, kubeReserved and systemReserved in the kubelet's "
    "configuration and at its checkpoint.",
)
def reserved_is_left_alone(snapshot: Snapshot, expectation: Expectation, seen: Comparison) -> str:
    """No exclusive pCPU is reserved for the system, and as many are left to it as are."""
    require_labelled(snapshot, expectation)
    found, state = node(snapshot), checkpoint(snapshot)
    kubelet = found.kubelet
    # What its cgroup has beside that is no gift of the kubelet: CPU-EXCLUSIVE tells.
    own, whose = state.given, "what is given away"
    if snapshot.subject:
        own, whose = saw_entry(snapshot, seen), COMPUTE
    if kubelet is None:
        why = snapshot.not_observed.get("kubelet", "the kubelet's configuration was not read")
        seen.missing(why)
        return ""
    number, source = reserved_number(found)
    online = found.topology.online if found.topology else None
    if kubelet.reserved is None and number is None:
        raise Unobserved(f"neither {source} nor node {found.name} says what is reserved")
    if kubelet.reserved is None and number == 0:
        raise NotApplicable(f"{source} reserves no CPU")
    if kubelet.reserved is not None:
        source = f"{kubelet.source} reservedSystemCPUs"
        seen.saw("reserved CPUs", kubelet.reserved, source)
        if own & kubelet.reserved:
            seen.wrong(
                f"pCPU {own & kubelet.reserved} of {whose} ({own}) is reserved for the system: "
                f"reservedSystemCPUs {kubelet.reserved} ({kubelet.source})",
                doubt=unconfigured(kubelet),
            )
        number = len(kubelet.reserved if online is None else kubelet.reserved & online)
    if state.policy == "static":
        seen.saw("CPUs reserved, in number", number, source)
        _enough_is_left(kubelet, state, number or 0, online, seen)
    if kubelet.reserved is None:
        return f"the {number} CPUs that are reserved by number are left to the system"
    return f"{own} is disjoint from the reserved {kubelet.reserved}"


def _enough_is_left(
    kubelet: Kubelet, state: Checkpoint, number: int, online: CpuSet | None, seen: Comparison
) -> None:
    """Objects when fewer CPUs are left to the system than are reserved for it.

    What is left is the shared pool, or what a strict kubelet keeps out of it.
    """
    what, left = "the shared pool", state.default
    if kubelet.enables(STRICT):
        if online is None:
            seen.missing("the node's topology was not read, which says what is kept out")
            return
        what, left = f"what {STRICT} keeps out of the pool", online - state.given - state.default
    seen.saw(what, left, f"{state.path} defaultCpuSet, entries")
    if len(left) < number:
        seen.wrong(
            f"{number} CPUs are reserved for the system ({kubelet.source}), and {what} is no more "
            f"than {left}, since {state.given} is given away ({state.path})",
            doubt=unconfigured(kubelet),
        )
