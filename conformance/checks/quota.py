"""Whether whoever owns CPUs may use all of them: no quota on the way down to its cgroup."""

from __future__ import annotations

from conformance.checks.comparison import Comparison
from conformance.checks.registry import check, dedicated
from conformance.checks.watched import throttled_meanwhile
from conformance.checks.witnesses import CGROUPS, below_kubepods, compute, node
from conformance.model.evidence import Snapshot
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import COMPUTE, RUNNING


@check(
    "CPU-QUOTA",
    moment=RUNNING,
    applies=dedicated,
    look="Look at cpu.max of the container, its pod and what is above, and at the kubelet's "
    "version and cpuCFSQuota.",
)
def owner_has_no_quota(snapshot: Snapshot, _: Expectation, seen: Comparison) -> str:
    """``cpu.max`` is ``max`` for the compute container and for every cgroup that it is in."""
    container, version = compute(snapshot), node(snapshot).kubelet_version
    own = next((each for each in container.limited if each.cgroup == container.cgroup), None)
    if own is None or own.cpu_max is None:
        why = snapshot.not_observed.get("cgroups", "its cgroup was not found")
        seen.missing(f"cpu.max of compute was not read: {why}")
    for each in container.limited:
        source = f"{CGROUPS}{each.cgroup}/cpu.max"
        if each.cpu_max is None:
            # Where a cgroup has one, each around it has one too, but for the root of all.
            if source in snapshot.unreadable or below_kubepods(each.cgroup):
                why = snapshot.unreadable.get(source, "it is not in the evidence")
                seen.missing(f"{source} was not read: {why}")
            continue
        if not each.cpu_max:
            seen.missing(f"{source} was read as empty")
            continue
        what = COMPUTE if each is own else f"the cgroup {each.cgroup} that compute is in"
        throttled = f", throttled {each.throttled} times" if each.throttled else ""
        seen.saw(f"quota of {what}", each.cpu_max + throttled, source)
        if each.cpu_max.split()[:1] == ["max"]:
            if each.throttled:
                seen.note(f"{what} has no quota now, and was throttled {each.throttled} times")
            continue
        where = "" if each is own else f" in {what}"
        clause = (
            "compute owns its CPUs and is limited all the same: cpu.max is "
            f"{each.cpu_max} instead of max{where}{throttled} ({source}, kubelet "
            f"{version or 'unknown'})"
        )
        if below_kubepods(each.cgroup):
            seen.wrong(clause, known=True)
        else:
            seen.note(clause)
    throttled_meanwhile(snapshot, seen)
    return f"neither compute nor a cgroup that it is in has a quota ({len(container.limited)} seen)"
