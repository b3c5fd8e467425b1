"""Whether CPUs stay exclusive when a VMI migrates, on the node that it leaves and on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.checks.lifecycle import nothing_is_left
from conformance.checks.registry import Loop, told
from conformance.checks.storytelling import (
    all_at,
    apart,
    at,
    owned,
    owning_cgroups,
    require_done,
    running,
)
from conformance.checks.threads import sorted_threads
from conformance.checks.watched import nobody_came
from conformance.checks.witnesses import (
    checkpoint,
    compute,
    compute_cpuset,
    cpuset_source,
    domain,
    in_use,
    launcher,
    live,
    node,
    vmi,
)
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Migration, Snapshot, Story
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import COMPUTE, ENDED

OWN = "own"
NO_ROOM = "a migration waits for room"
"""What the story notes when the target pod of a migration was seen to find no node."""
WITHDRAWN = "the migration was withdrawn"


@told(
    "MIG-PINNED",
    "migration",
    look="Compare virsh dumpxml, vcpupin and emulatorpin in the target pod with the checkpoint of "
    "its node, and with .status.migrationState.targetCPUSet of the VMI.",
)
def pins_are_the_targets(story: Story, seen: Comparison) -> str:
    """XML, libvirt and threads have the target's CPUs, which are others than the source's.

    Source: kubevirt pkg/virt-launcher/virtwrap/cpudedicated. Where both nodes gave CPUs of the
    same numbers, pins that were never changed are right by chance.
    """
    before, after = _moved(story, seen)
    had, has = owned(before, seen), owned(after, seen)
    pod, container = launcher(after), compute(after)
    seen.saw("QoS class of the target pod", pod.qos_class or "none", f"pod {pod.name} .status")
    if pod.qos_class != "Guaranteed":
        seen.wrong(f"the target pod {pod.name} is {pod.qos_class or 'of no class'}", final=True)
    if not has:
        seen.wrong(f"the target's kubelet gave pod {pod.name} no exclusive CPUs", final=True)
        return ""
    cpuset = compute_cpuset(after)
    seen.saw("cpuset on the target", cpuset, cpuset_source(container))
    if cpuset != has:
        clause = f"the target pod has {has} by the checkpoint, and its cpuset is {cpuset}"
        seen.wrong(clause, final=True)
    sources = _pins(after)
    for source, pins in sources.items():
        for vcpu, cpus in sorted(pins.items()):
            seen.saw(f"vCPU {vcpu}", cpus, source)
            where = f", which it had on {node(before).name}" if cpus and cpus <= had else ""
            if not cpus <= has:
                seen.wrong(
                    f"vCPU {vcpu} is on pCPU {cpus - has}{where}, and the target pod owns {has} "
                    f"({source})",
                    final=True,
                )
            elif len(cpus) != 1:
                clause = f"vCPU {vcpu} is on {cpus or 'no pCPU'} instead of one pCPU ({source})"
                seen.wrong(clause, final=True)
        apart({f"vCPU {vcpu}": cpus for vcpu, cpus in pins.items()}, source, seen)
    if len({tuple(sorted((v, str(c)) for v, c in pins.items())) for pins in sources.values()}) > 1:
        seen.wrong(f"on the target, {' and '.join(sources)} do not agree", final=True)
    if has == had:
        raise Unobserved(f"both nodes gave it {has}: whether pins were changed does not show")
    return f"its pins were {had} on {node(before).name}, and are {has} on {node(after).name}"


def _pins(snapshot: Snapshot) -> Mapping[str, Mapping[int, CpuSet]]:
    """Where each enabled vCPU is, by source. Raises Unobserved for one that says nothing."""
    xml, answers = domain(snapshot), live(snapshot)
    threads = snapshot.inside.once(sorted_threads).vcpus
    if not xml.enabled:
        raise Unobserved(f"the domain XML enables no vCPU ({xml.source})")
    if set(threads) != set(xml.enabled):
        raise Unobserved(f"of {len(xml.enabled)} vCPUs {len(threads)} threads were seen")
    nothing = CpuSet()
    return {
        f"<vcpupin>, {xml.source}": {n: xml.vcpu_pins.get(n, nothing) for n in xml.enabled},
        f"virsh vcpupin, {answers.source}": {
            n: answers.vcpu_pins.get(n, nothing) for n in xml.enabled
        },
        "Cpus_allowed_list of its thread": {n: threads[n].affinity for n in xml.enabled},
    }


@told(
    "MIG-EXCLUSIVE",
    "migration",
    look="Look at the logs of both kubelets around the migration, and at cpu_manager_state.",
)
def nobody_shares(story: Story, seen: Comparison) -> str:
    """While it migrates no pCPU has two owners, and what a watcher saw of both nodes agrees."""
    before, after = _moved(story, seen)
    sides = {launcher(each).uid: node(each).name for each in (before, after)}
    looks = dict.fromkeys(sides, 0)
    for sample in all_at(story, "sample"):
        if sample.node is None:
            continue
        entries, state = in_use(sample), checkpoint(sample)
        where = f"{state.path} on {sample.node.name} at {sample.began}"
        for uid in sides:
            looks[uid] += (uid, COMPUTE) in entries
        apart({f"{name} of pod {uid}": cpus for (uid, name), cpus in entries.items()}, where, seen)
        shared = CpuSet.union_of(entries.values()) & state.default
        if shared:
            seen.wrong(f"pCPU {shared} is owned and in the shared pool ({where})", final=True)
        if not sample.torn:
            apart(owning_cgroups(sample), f"cgroups of {sample.node.name} at {sample.began}", seen)
    for uid, name in sides.items():
        seen.saw(f"looks at {name}", looks[uid], "node snapshots that show its pod's CPUs")
        if not looks[uid]:
            seen.missing(f"in no look at {name} the migrating VMI owned CPUs there")
    nobody_came(_until(before, after), owned(before, seen), seen)
    nobody_came(after, owned(after, seen), seen)
    return (
        f"in {sum(looks.values())} looks at {' and '.join(sides.values())} nobody shared its CPUs"
    )


def _until(before: Snapshot, after: Snapshot) -> Snapshot:
    """The source, whose guest goes on after the last look at it, until it has gone."""
    if before.life is None:
        return before
    end = datetime.fromisoformat(after.ended).timestamp()
    return replace(before, life=replace(before.life, until=end))


@told(
    "MIG-RELEASED",
    "migration",
    settles=Loop.REMOVAL,
    look="Look at the log of the source's kubelet, and at its cpu_manager_state.",
)
def source_has_everything_back(story: Story, seen: Comparison) -> str:
    """As of a VMI that was deleted, once the pod has ended: until then it has its CPUs by right."""
    before, _after = _moved(story, seen)
    pod, left = launcher(before), at(story, "left", OWN)
    if not owned(before, seen):
        raise Unobserved(f"it had no exclusive CPUs on {node(before).name} to give back")
    if left.former is None or left.former.pod_uid != pod.uid:
        raise Unobserved(f"nobody looked for pod {pod.name} after the migration")
    there = next((each for each in left.pods if each.uid == pod.uid), left.pod)
    if there is not None and there.phase not in ENDED:
        raise Unobserved(f"pod {pod.name} is still {there.phase or 'there'}")
    return nothing_is_left(left, Expectation(), seen)


def _moved(story: Story, seen: Comparison) -> tuple[Snapshot, Snapshot]:
    """The VMI on its source and on its target. Raises Unobserved unless it has moved there."""
    before = _movable(running(story, "source", OWN, seen))
    after = running(story, "target", OWN, seen)
    found: Migration | None = vmi(after).migration
    if found is None or not found.succeeded:
        said = after.done[-1] if after.done else "its status tells of none that succeeded"
        raise Unobserved(f"it was not migrated: {said}")
    names = node(before).name, node(after).name
    seen.saw("nodes", " then ".join(names), "VMI own .status.nodeName")
    if launcher(before).uid == launcher(after).uid or names[0] == names[1]:
        raise Unobserved(f"it is on {names[1]}, in pod {launcher(after).name}, as before")
    return before, after


def _movable(before: Snapshot) -> Snapshot:
    """A VMI that may migrate. Raises NotApplicable for one of which KubeVirt says that it may not.

    Nobody promises that it may: a CPU model or a volume may keep it where it is (kubevirt
    pkg/virt-handler/vm.go, calculateLiveMigrationCondition).
    """
    said = vmi(before).conditions.get("LiveMigratable", "")
    if said.startswith("False"):
        raise NotApplicable(f"KubeVirt does not migrate it: its condition LiveMigratable is {said}")
    return before


@told(
    "MIG-KEPT",
    "migration-no-room",
    look="Compare virsh vcpupin in the VMI's pod with its domain XML, and look at the logs of "
    "virt-handler and virt-launcher since the migration was asked for.",
)
def source_is_left_alone(story: Story, seen: Comparison) -> str:
    """The same pod with the same CPUs, pins and threads, while it waits and when it is over."""
    before = _movable(running(story, "before", OWN, seen))
    require_done(at(story, "waiting", OWN), NO_ROOM, seen)
    require_done(at(story, "after", OWN), WITHDRAWN, seen)
    had, pins, uid = owned(before, seen), _pins(before), launcher(before).uid
    if not had:
        raise Unobserved("it had no exclusive CPUs before its migration was asked for")
    for name in ("waiting", "after"):
        now = running(story, name, OWN, seen)
        if (moved := launcher(now).uid) != uid:
            raise Unobserved(f"at the moment “{name}” it is in another pod, {moved}")
        if (has := owned(now, seen)) != had:
            words = f"it had {had}, and has {has or 'nothing'} at the moment “{name}” (checkpoint)"
            seen.wrong(words, final=True)
        cpuset = compute_cpuset(now)
        seen.saw("cpuset", cpuset, f"{cpuset_source(compute(now))}, moment “{name}”")
        if cpuset != compute_cpuset(before):
            was = compute_cpuset(before)
            seen.wrong(f"its cpuset was {was}, and is {cpuset} at the moment “{name}”", final=True)
        for source, current in _pins(now).items():
            for vcpu, cpus in sorted(current.items()):
                seen.saw(f"vCPU {vcpu}", cpus, f"{source}, moment “{name}”")
                if (was := pins[source].get(vcpu, CpuSet())) != cpus:
                    seen.wrong(
                        f"vCPU {vcpu} was on {was}, and is on {cpus or 'no pCPU'} at the moment "
                        f"“{name}”, although its migration found no room ({source})",
                        final=True,
                    )
    return f"it has {had}, and each of its pins, as before"
