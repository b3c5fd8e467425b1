"""Pods that a node rightly rejects, and guests that fit on no CPUs that it gives.

The scheduler knows neither cores nor NUMA nodes, and sends pods that a kubelet then rejects. What
is promised of a VMI that runs is not asked of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from conformance.checks.witnesses import launcher, node
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.topology import Topology

WHOLE_CORES = "full-pcpus-only"
NO_WHOLE_CORES = "SMTAlignmentError"
SINGLE_NUMA_NODE, RESTRICTED = "single-numa-node", "restricted"
NOT_ALIGNED = "TopologyAffinityError"
NO_ROOM_FOR_CORES = "without crossing numa cell boundaries"


def turned_away(snapshot: Snapshot, expectation: Expectation) -> str | None:
    """Why the VMI, or pod, of a snapshot does not run, rightly; None when nothing says so."""
    return next(_reasons(snapshot, expectation), None)


def _reasons(snapshot: Snapshot, expectation: Expectation) -> Iterator[str]:
    found, pod = snapshot.node, snapshot.pod
    if found is None or found.topology is None:
        return
    yield from _crossing(snapshot, expectation, found.topology)
    if pod is None or found.kubelet is None or pod.phase != "Failed":
        return
    said = pod.reason or ""
    threads, wanted = found.topology.cpus_per_core, expectation.compute_cpus
    partial = threads and wanted % threads
    if found.kubelet.enables(WHOLE_CORES) and partial and NO_WHOLE_CORES in said:
        yield (
            f"{found.name} gives whole cores of {threads} threads only ({WHOLE_CORES}), and "
            f"rejected {wanted} CPUs"
        )
    policy = found.kubelet.topology_policy
    if policy in (SINGLE_NUMA_NODE, RESTRICTED) and NOT_ALIGNED in said:
        yield (
            f"the topology manager of {found.name} has the policy {policy}, and rejected "
            f"{wanted} CPUs ({NOT_ALIGNED})"
        )


def _crossing(snapshot: Snapshot, expectation: Expectation, host: Topology) -> Iterator[str]:
    """Cores of a guest with mapped NUMA nodes that no pCPUs of the node can hold.

    A core is on one NUMA node (kubevirt pkg/virt-launcher/virtwrap/converter/vcpu/vcpu.go,
    FitCores). Where some pCPUs could hold them it depends on the kubelet's choice, which is gone
    with the pod: then it is not observed (`NO_ROOM_FOR_CORES`).
    """
    conditions = snapshot.vmi.conditions.values() if snapshot.vmi else ()
    threads, cores = expectation.threads, expectation.sockets * expectation.cores
    if not threads or not any(NO_ROOM_FOR_CORES in text for text in conditions):
        return
    if sum(len(cpus) // threads for cpus in host.numa_nodes.values()) < cores:
        yield (
            f"the NUMA nodes of the host hold no {cores} cores of {threads} threads, and a core "
            "of a guest with mapped NUMA nodes is on one of them"
        )


def older(snapshot: Snapshot) -> str | None:
    """Why an option or a policy may not have been there when compute was given its CPUs.

    A kubelet that is restarted with other options leaves what runs as it is (kubernetes
    policy_static.go, validateState compares CPUs alone).
    """
    pod, found = launcher(snapshot), node(snapshot)
    since = found.ready_since
    try:
        admitted = datetime.fromisoformat(pod.admitted or "")
    except ValueError:
        return None
    if since is None or admitted.tzinfo is None or admitted > since:
        return None
    return (
        f"pod {pod.name} was admitted at {admitted}, and the kubelet of {found.name} may have been "
        f"started with other options since (Ready since {since})"
    )
