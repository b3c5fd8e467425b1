"""Nodes whose topology manager keeps CPUs on few NUMA nodes: single-numa-node and restricted.

Source of the rule: Kubernetes, Control Topology Management Policies on a node; kubernetes
pkg/kubelet/cm/cpumanager/policy_static.go, generateCPUTopologyHints, and topologymanager.
"""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import check, dedicated
from conformance.checks.turned_away import NOT_ALIGNED, RESTRICTED, SINGLE_NUMA_NODE, older
from conformance.checks.witnesses import checkpoint, launcher, node, saw_entry, topology
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Pod, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.topology import Topology
from conformance.model.vocabulary import RUNNING

_POD = "pod"
_BY_SOCKET = "align-by-socket"


@check(
    "NUMA-ALIGNED",
    moment=RUNNING,
    applies=dedicated,
    unstarted=True,
    look="Look at topologyManagerPolicy of the kubelet and at the reason of the pod's status.",
)
def cpus_are_on_few_numa_nodes(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """What is given is on as few NUMA nodes as the policy says; what is not is rejected."""
    found, host, pod = node(snapshot), topology(snapshot), launcher(snapshot)
    kubelet = found.kubelet
    if kubelet is None:
        why = "the kubelet's configuration was not read"
        raise Unobserved(snapshot.not_observed.get("kubelet", why))
    policy, whole_pod = kubelet.topology_policy, kubelet.topology_scope == _POD
    if policy not in (SINGLE_NUMA_NODE, RESTRICTED):
        raise NotApplicable(f"the topology manager's policy is {policy} ({kubelet.source})")
    seen.saw("topologyManagerPolicy", policy, kubelet.source)
    seen.saw("topologyManagerScope", kubelet.topology_scope, kubelet.source)
    seen.saw("pod", f"{pod.phase}, {pod.reason or 'no reason'}", f"pod {pod.name} .status")
    if pod.phase == "Failed" and NOT_ALIGNED in (pod.reason or ""):
        return f"pod {pod.name} was rejected with {NOT_ALIGNED}"
    own = saw_entry(snapshot, seen)
    if not own:
        raise Unobserved(f"pod {pod.name} owns no CPUs: it is {pod.phase}")
    if whole_pod:
        entries = checkpoint(snapshot).entries
        own = CpuSet.union_of(cpus for (uid, _name), cpus in entries.items() if uid == pod.uid)
        seen.saw("exclusive CPUs of the pod", own, checkpoint(snapshot).path)
    if strange := own - host.online:
        raise Unobserved(f"where pCPU {strange} is, is not known: it is not online")
    nodes = sorted({host.by_id[cpu].node for cpu in own})
    seen.saw("their NUMA nodes", nodes, "/sys/devices/system/node/*/cpulist")
    number = max(len(own), _asked(pod)) if whole_pod else len(own)
    most = 1 if policy == SINGLE_NUMA_NODE else _fewest(host, number)
    places, what = len(nodes), "NUMA nodes"
    if policy == RESTRICTED and kubelet.enables(_BY_SOCKET):
        # Then hints are widened to sockets, and as many of these are admitted as nodes would be.
        places, what = len({host.by_id[cpu].socket for cpu in own}), "sockets"
    if places > most:
        seen.wrong(
            f"{own} of pod {pod.name} is on {places} {what}, and under {policy} {number} CPUs are "
            f"given on {most} or not at all",
            doubt=older(snapshot),
        )
    return f"{own} is on {places} of {most} {what} at the most"


def _fewest(host: Topology, number: int) -> int:
    """How many NUMA nodes could hold so many CPUs, were all of them free."""
    sizes = sorted(map(len, host.numa_nodes.values()), reverse=True)
    return next((n for n in range(1, len(sizes)) if sum(sizes[:n]) >= number), len(sizes))


def _asked(pod: Pod) -> int:
    """CPUs of all containers together, which is no less than the pod was counted for."""
    return sum((each.requests.cpu_milli or 0) for each in pod.containers) // 1000
