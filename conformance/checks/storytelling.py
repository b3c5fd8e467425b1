"""What checks of scenarios ask of a story, or the reason why it is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.starting import outlook
from conformance.checks.witnesses import (
    checkpoint,
    compute,
    compute_cpuset,
    in_use,
    launcher,
    node,
    title,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Snapshot, Story
from conformance.model.vocabulary import COMPUTE, ENDED


def at(story: Story, moment: str, subject: str = "") -> Snapshot:
    """The last snapshot of a VMI or pod at a moment, or of a node. Raises Unobserved."""
    found = [each for each in all_at(story, moment) if each.subject == subject]
    if not found:
        what = subject or "a node"
        raise Unobserved(f"nothing was recorded of {what} at the moment “{moment}”")
    last = found[-1]
    if last.torn:
        raise Unobserved(f"{subject or 'the node'} changed while it was looked at: {last.torn}")
    return last


def all_at(story: Story, moment: str) -> Sequence[Snapshot]:
    """Every snapshot of a moment, oldest first."""
    return [each for each in story.snapshots if each.moment == moment]


def nodes_at(story: Story, moment: str) -> Sequence[Snapshot]:
    """The last snapshot of each node that was looked at.

    Raises Unobserved without any, and when one of them could not be read or changed meanwhile.
    """
    last: dict[str, Snapshot] = {}
    for each in all_at(story, moment):
        if not each.subject:
            if each.node is None:
                why = each.not_observed.get("node", "it was not read")
                raise Unobserved(f"a node is not known at the moment “{moment}”: {why}")
            last[each.node.name] = each
    if not last:
        raise Unobserved(f"no node was recorded at the moment “{moment}”")
    for name, each in last.items():
        if each.torn:
            raise Unobserved(f"node {name} changed while it was looked at: {each.torn}")
    return [last[name] for name in sorted(last)]


def require_done(snapshot: Snapshot, words: str, seen: Comparison) -> None:
    """Notes what was done before a snapshot; without it there is nothing to judge."""
    done = [each for each in snapshot.done if words in each]
    if not done:
        raise Unobserved(f"{words}: that was not done before the moment “{snapshot.moment}”")
    seen.saw("done before", done[-1], "the run's own record")


def phase(snapshot: Snapshot) -> str:
    """The phase of a VMI, or of a plain pod. Raises Unobserved."""
    subject = snapshot.vmi or launcher(snapshot)
    return subject.phase or "without a phase"


def runs(snapshot: Snapshot, seen: Comparison, *, known: bool = False) -> None:
    """Notes the phase, and objects to what was seen to fail instead of running.

    Raises Unobserved for what does not run and was not: nothing of the story is shown then.
    """
    now = phase(snapshot)
    source = f"{snapshot.subject}, .status.phase, moment “{snapshot.moment}”"
    seen.saw(f"phase of {snapshot.subject}", now, source)
    if now == "Running":
        return
    found = outlook(snapshot)
    words = f"at the moment “{snapshot.moment}” {found.why}"
    if not found.failed:
        raise Unobserved(words)
    seen.wrong(words, known=known)


def running(story: Story, moment: str, subject: str, seen: Comparison) -> Snapshot:
    """As `at`, of what must run there; see `runs`."""
    found = at(story, moment, subject)
    runs(found, seen)
    return found


def waits_for_cpus(snapshot: Snapshot, seen: Comparison) -> None:
    """Objects unless the pod waits to be scheduled, with a reason that names CPUs."""
    now, pod = phase(snapshot), launcher(snapshot)
    reason = pod.reason or "none"
    seen.saw(f"phase of {snapshot.subject}", now, f"moment “{snapshot.moment}”")
    seen.saw("reason", reason, f"pod {pod.name} .status.conditions, PodScheduled")
    where = f" on {pod.node}" if pod.node else ""
    if pod.node or now in ("Running", *ENDED):
        seen.wrong(f"{snapshot.subject} does not wait for CPUs: it is {now}{where} ({reason})")
    elif "cpu" not in reason.lower():
        seen.wrong(f"{snapshot.subject} waits, and no reason names CPUs: {reason}")


def owned(snapshot: Snapshot, seen: Comparison) -> CpuSet:
    """Notes the exclusive CPUs of a subject by the checkpoint, and returns them."""
    state, pod = checkpoint(snapshot), launcher(snapshot)
    cpus = state.entries.get((pod.uid, COMPUTE), CpuSet())
    source = f"{state.path} entries.{pod.uid}.compute, moment “{snapshot.moment}”"
    seen.saw(f"exclusive CPUs of {snapshot.subject}", cpus, source)
    return cpus


def apart(owners: Mapping[str, CpuSet], where: str, seen: Comparison) -> None:
    """Objects to owners that have a pCPU in common, which never may be."""
    for (one, ones), (other, others) in combinations(sorted(owners.items()), 2):
        if ones & others:
            words = f"pCPU {ones & others} belongs to {one} and to {other} ({where})"
            seen.wrong(words, final=True)


def owning_cgroups(sample: Snapshot) -> Mapping[str, CpuSet]:
    """The cpuset of each container on a node that owns CPUs by the checkpoint."""
    entries = in_use(sample)
    return {
        title(pod, container): container.cpuset
        for pod in sample.pods
        for container in pod.containers
        if container.cpuset is not None and (pod.uid, container.name) in entries
    }


def reach(snapshot: Snapshot, seen: Comparison) -> CpuSet:
    """Notes where the compute container of a subject may run, and returns it.

    Its cpuset and the affinity of every thread of it: a thread may keep what it once had.
    """
    cpus = compute_cpuset(snapshot)
    container = compute(snapshot)
    cpus = cpus | CpuSet.union_of(thread.affinity for thread in container.threads)
    source = f"cpuset and threads of {container.cgroup}, moment “{snapshot.moment}”"
    seen.saw(f"where {snapshot.subject} may run", cpus, source)
    return cpus


def free_milli(snapshot: Snapshot, seen: Comparison) -> int:
    """CPU of a node that no pod requests, in thousandths, as the scheduler counts."""
    found = node(snapshot)
    if found.allocatable_cpu_milli is None:
        raise Unobserved(f"node {found.name} says nothing of allocatable CPUs")
    if "pods" in snapshot.not_observed:
        raise Unobserved(snapshot.not_observed["pods"])
    taken = sum(pod.cpu_milli for pod in snapshot.pods if pod.phase not in ENDED)
    free = found.allocatable_cpu_milli - taken
    source = f"allocatable {found.allocatable_cpu_milli}m less requests of pods {taken}m"
    seen.saw(f"free CPU of {found.name}", f"{free}m", source)
    return free


def labels(snapshot: Snapshot, story: Story, seen: Comparison) -> dict[str, str | None]:
    """Notes the CPU manager labels that the release of a cluster has, and returns them by key.

    Raises Unobserved where several releases with different labels come into question.
    """
    if len(story.labels) != 1:
        raise Unobserved("the release of KubeVirt, which says which labels it writes, is not known")
    found = node(snapshot)
    values = {key: found.labels.get(key) for key in story.labels[0].written}
    for key, value in values.items():
        source = f"node {found.name} .metadata.labels, moment “{snapshot.moment}”"
        seen.saw(f"label {key}", value or "none", source)
    return values


def labelled(snapshot: Snapshot, story: Story) -> bool:
    """Whether a node has a label that dedicated VMIs may select."""
    return "true" in {node(snapshot).labels.get(row.selected) for row in story.labels}
