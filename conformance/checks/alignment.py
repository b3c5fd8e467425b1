"""Nodes that give whole cores only: the policy option full-pcpus-only.

Source of the rule: Kubernetes, CPU management policies, full-pcpus-only; kubernetes
pkg/kubelet/cm/cpumanager/policy_static.go, SMTAlignmentError, and topology.go, CPUsPerCore.
"""

from __future__ import annotations

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.registry import check, dedicated
from conformance.checks.turned_away import NO_WHOLE_CORES as REASON
from conformance.checks.turned_away import WHOLE_CORES as OPTION
from conformance.checks.turned_away import older
from conformance.checks.witnesses import launcher, node, saw_entry, topology
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import RUNNING


@check(
    "SMT-ALIGNED",
    moment=RUNNING,
    applies=dedicated,
    unstarted=True,
    look="Look at cpuManagerPolicyOptions of the kubelet and at the reason of the pod's status.",
)
def only_whole_cores_are_given(
    snapshot: Snapshot, expectation: Expectation, seen: Comparison
) -> str:
    """A part of a core is rejected with the reason; what is given is whole cores."""
    kubelet, host, pod = node(snapshot).kubelet, topology(snapshot), launcher(snapshot)
    if kubelet is None:
        why = "the kubelet's configuration was not read"
        raise Unobserved(snapshot.not_observed.get("kubelet", why))
    if not kubelet.enables(OPTION):
        raise NotApplicable(f"the kubelet does not enable {OPTION} ({kubelet.source})")
    threads, wanted = host.cpus_per_core, expectation.compute_cpus
    seen.saw(OPTION, "true", f"{kubelet.source} cpuManagerPolicyOptions")
    seen.saw("CPUs asked for", wanted, "the spec")
    seen.saw("CPUs of a core", threads, "/sys/devices/system/cpu/*/topology, all by all")
    seen.saw("pod", f"{pod.phase}, {pod.reason or 'no reason'}", f"pod {pod.name} .status")
    if wanted % threads:
        if pod.phase in ("", "Pending") and pod.compute and pod.compute.id is None:
            raise Unobserved(f"node {node(snapshot).name} has not decided yet about pod {pod.name}")
        if pod.phase != "Failed" or REASON not in (pod.reason or ""):
            seen.wrong(
                f"pod {pod.name} asks for {wanted} CPUs on cores of {threads} threads and was not "
                f"rejected with {REASON}: it is {pod.phase} ({pod.reason or 'no reason'})",
                doubt=older(snapshot),
            )
        return f"{wanted} CPUs were rejected with {REASON}"
    own = saw_entry(snapshot, seen)
    if not own:
        raise Unobserved(f"pod {pod.name} owns no CPUs: it is {pod.phase}")
    if not host.uniform:
        raise NotApplicable(
            f"cores have different numbers of threads, which the kubelet counts as {threads}: "
            f"{OPTION} does not say which are given together"
        )
    whole = CpuSet.union_of(host.whole_cores(own))
    if own - whole:
        seen.wrong(
            f"{own - whole} of {own} belongs to a core that {pod.name} does not own whole",
            doubt=older(snapshot),
        )
    return f"{own} is whole cores"
