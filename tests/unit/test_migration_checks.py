"""The checks of live migration: what a source and a target show, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from conformance.checks import migrations
from conformance.checks.registry import stories
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Former, Migration, Snapshot, Story
from conformance.model.finding import Finding, Verdict
from conformance.model.watch import Life, Looks, Seen, Watch, WatchedCgroup, WatchedThread
from conformance.parsing.assemble import assemble
from tests.selfproof import recording as good

PLACES = {2: 8, 3: 9, 4: 10}
OTHER = "0b0b0b0b-1111-4222-8333-444455556666"
AT = datetime(2026, 8, 1, 10, tzinfo=UTC).timestamp()
DONE = Migration("m", good.NODE, "node-2", "target", completed=True, failed=False)
Change = Callable[[Snapshot], Snapshot]


def put(cpus: CpuSet) -> CpuSet:
    return CpuSet(PLACES.get(cpu, cpu) for cpu in cpus)


def at_source(moment: str = "source") -> Snapshot:
    facts = assemble(good.running())
    manifest = {**facts.manifest, "metadata": {"name": "own"}}
    return replace(facts, scenario="migration", moment=moment, manifest=manifest)


def at_target() -> Snapshot:
    """The same VMI, a minute later, in another pod on another node."""
    facts = at_source("target")
    assert facts.pod
    assert facts.node
    assert facts.node.checkpoint
    assert facts.vmi
    assert facts.domain
    assert facts.live
    containers = tuple(
        replace(
            each,
            cpuset=put(each.cpuset or CpuSet()),
            threads=tuple(replace(t, affinity=put(t.affinity)) for t in each.threads),
        )
        if each.name == "compute"
        else each
        for each in facts.pod.containers
    )
    pod = replace(facts.pod, uid=OTHER, name="target", node="node-2", containers=containers)
    state = facts.node.checkpoint
    entries = {(OTHER, "compute"): CpuSet(PLACES.values())}
    default = (state.default | CpuSet(PLACES)) - CpuSet(PLACES.values())
    node = replace(
        facts.node, name="node-2", checkpoint=replace(state, entries=entries, default=default)
    )
    pins = {vcpu: put(cpus) for vcpu, cpus in facts.domain.vcpu_pins.items()}
    return replace(
        facts,
        began="2026-08-01T10:01:00Z",
        ended="2026-08-01T10:01:01Z",
        vmi=replace(facts.vmi, node="node-2", migration=DONE),
        pod=pod,
        pods=(pod,),
        node=node,
        domain=replace(facts.domain, vcpu_pins=pins),
        live=replace(facts.live, vcpu_pins=pins),
    )


def left() -> Snapshot:
    facts = at_source("left")
    assert facts.node
    assert facts.node.checkpoint
    assert facts.pod
    state = facts.node.checkpoint
    entries = {key: cpus for key, cpus in state.entries.items() if key[0] != good.UID}
    had = state.entries[good.UID, "compute"]
    state = replace(state, entries=entries, default=state.default | had)
    pods = tuple(pod for pod in facts.pods if pod.uid != good.UID)
    former = Former("ns", facts.pod.name, good.UID, (good.COMPUTE,), str(had))
    node = replace(facts.node, checkpoint=state)
    return replace(facts, vmi=None, pod=None, pods=pods, node=node, former=former)


def sample(of: Snapshot) -> Snapshot:
    return replace(of, moment="sample", manifest={}, vmi=None, pod=None)


def same(each: Snapshot) -> Snapshot:
    return each


def judged(
    requirement: str,
    *,
    source: Change = same,
    target: Change = same,
    rest: Change = same,
    scenario: str = "migration",
) -> Finding:
    (check,) = (
        each for each in stories() if (each.requirement, each.scenario) == (requirement, scenario)
    )
    one, other = source(at_source()), target(at_target())
    samples = (rest(sample(at_source())), rest(sample(at_target())))
    return check.judge(Story(scenario, "current", (one, *samples, other, rest(left()))))


@pytest.mark.parametrize("requirement", ["MIG-PINNED", "MIG-EXCLUSIVE", "MIG-RELEASED"])
def test_a_good_migration_keeps(requirement: str) -> None:
    finding = judged(requirement)
    assert finding.verdict is Verdict.PASS, finding.message


def no_target(_: Snapshot) -> Snapshot:
    return at_source("target")


def failed(each: Snapshot) -> Snapshot:
    assert each.vmi
    return replace(each, vmi=replace(each.vmi, migration=replace(DONE, failed=True)))


def torn(each: Snapshot) -> Snapshot:
    return replace(each, torn="a migration was under way")


@pytest.mark.parametrize("requirement", ["MIG-PINNED", "MIG-EXCLUSIVE", "MIG-RELEASED"])
@pytest.mark.parametrize("target", [no_target, failed, torn])
def test_one_that_did_not_come_about_shows_nothing(requirement: str, target: Change) -> None:
    assert judged(requirement, target=target).verdict is Verdict.NOT_OBSERVED


def immovable(each: Snapshot) -> Snapshot:
    assert each.vmi
    said = {"LiveMigratable": "False HostModelNotLiveMigratable: for its model"}
    return replace(each, vmi=replace(each.vmi, conditions=said))


@pytest.mark.parametrize("requirement", ["MIG-PINNED", "MIG-EXCLUSIVE", "MIG-RELEASED"])
def test_one_that_kubevirt_does_not_migrate_is_asked_nothing(requirement: str) -> None:
    finding = judged(requirement, source=immovable, target=no_target)
    assert finding.verdict is Verdict.NOT_APPLICABLE
    assert "HostModelNotLiveMigratable" in finding.message


def pins_of_source(each: Snapshot) -> Snapshot:
    pins = {0: CpuSet([2]), 1: CpuSet([3])}
    assert each.domain
    assert each.live
    return replace(
        each,
        domain=replace(each.domain, vcpu_pins=pins),
        live=replace(each.live, vcpu_pins=pins),
    )


def live_differs(each: Snapshot) -> Snapshot:
    assert each.live
    pins = {0: CpuSet([9]), 1: CpuSet([8])}
    return replace(each, live=replace(each.live, vcpu_pins=pins))


def without_entry(each: Snapshot) -> Snapshot:
    assert each.node
    assert each.node.checkpoint
    state = replace(each.node.checkpoint, entries={})
    return replace(each, node=replace(each.node, checkpoint=state))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (pins_of_source, "which it had on node-1"),
        (live_differs, "do not agree"),
        (without_entry, "no exclusive CPUs"),
    ],
)
def test_pins_that_are_not_the_targets_are_broken(target: Change, words: str) -> None:
    finding = judged("MIG-PINNED", target=target)
    assert finding.verdict is Verdict.FAIL
    assert words in finding.message


def test_cpus_of_the_same_numbers_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_migration_checks.PLACES", {2: 2, 3: 3, 4: 4})
    finding = judged("MIG-PINNED")
    assert finding.verdict is Verdict.NOT_OBSERVED
    assert "both nodes gave it 2-4" in finding.message


def keeps_entry(each: Snapshot) -> Snapshot:
    if each.moment != "left":
        return each
    assert each.node
    assert each.node.checkpoint
    entries = {**each.node.checkpoint.entries, (good.UID, "compute"): CpuSet([2, 3, 4])}
    state = replace(each.node.checkpoint, entries=entries)
    return replace(each, node=replace(each.node, checkpoint=state))


def pod_goes_on(each: Snapshot) -> Snapshot:
    """The launcher has not ended yet, and has its CPUs by right."""
    if each.moment != "left":
        return each
    return replace(keeps_entry(each), pods=(*each.pods, *at_source().pods[:1]))


def test_a_source_that_keeps_cpus_is_broken() -> None:
    assert judged("MIG-RELEASED", rest=keeps_entry).verdict is Verdict.FAIL
    assert judged("MIG-RELEASED", rest=pod_goes_on).verdict is Verdict.NOT_OBSERVED


def watched(intruder: float | None, *, gone: float = 40.0) -> Change:
    """The source with what a watcher saw of it after the look: somebody comes, the guest goes."""
    place = f"/kubepods.slice/{'x' * 8}"
    shared: list[Seen[CpuSet]] = [Seen(AT, CpuSet([0, 1]))]
    if intruder is not None:
        shared.append(Seen(AT + intruder, CpuSet([0, 1, 2])))
    threads = tuple(
        WatchedThread(tid, name, good.ROOT, (Seen(AT, CpuSet([cpu])), Seen(AT + gone, None)))
        for tid, name, cpu in ((154, "CPU 0/KVM", 2), (155, "CPU 1/KVM", 3))
    )
    watch = Watch(
        "watch/node-1.log",
        AT,
        AT + 60,
        (Looks(AT + 60, 600, 0.1, 0.1),),
        threads,
        (
            WatchedCgroup(good.ROOT, (Seen(AT, CpuSet([2, 3, 4])), Seen(AT + gone, None))),
            WatchedCgroup(place, tuple(shared)),
        ),
    )
    # As of any look of a scenario, no more counts than the look itself.
    return lambda each: replace(each, life=Life((watch,), AT + 0.4))


def test_what_a_watcher_saw_of_the_source_counts_until_the_guest_has_gone() -> None:
    kept = judged("MIG-EXCLUSIVE", source=watched(None))
    assert kept.verdict is Verdict.PASS
    assert [each for each in kept.compared if each.what == "watched"]
    assert judged("MIG-EXCLUSIVE", source=watched(30.0)).verdict is Verdict.FAIL
    assert judged("MIG-EXCLUSIVE", source=watched(50.0)).verdict is Verdict.PASS


def two_owners(each: Snapshot) -> Snapshot:
    if each.moment != "sample":
        return each
    assert each.node
    assert each.node.checkpoint
    entries = {**each.node.checkpoint.entries, ("stranger", "compute"): CpuSet([2, 8])}
    state = replace(each.node.checkpoint, entries=entries)
    return replace(each, node=replace(each.node, checkpoint=state))


def unseen(each: Snapshot) -> Snapshot:
    return replace(each, node=None) if each.moment == "sample" else each


def test_two_owners_of_a_pcpu_are_broken_and_no_look_shows_nothing() -> None:
    assert judged("MIG-EXCLUSIVE", rest=two_owners).verdict is Verdict.FAIL
    assert judged("MIG-EXCLUSIVE", rest=unseen).verdict is Verdict.NOT_OBSERVED


def in_vain(change: Change = same, *, noted: bool = True) -> Finding:
    (check,) = (each for each in stories() if each.requirement == "MIG-KEPT")
    moments = {"before": "", "waiting": migrations.NO_ROOM, "after": migrations.WITHDRAWN}
    looks = [
        replace(at_source(name), done=(f"{words}: x",) if noted and words else ())
        for name, words in moments.items()
    ]
    return check.judge(Story("migration-no-room", "current", (*looks[:-1], change(looks[-1]))))


def moved(each: Snapshot) -> Snapshot:
    return replace(at_target(), moment=each.moment, done=each.done)


def test_a_migration_in_vain() -> None:
    assert in_vain().verdict is Verdict.PASS
    assert in_vain(live_differs).verdict is Verdict.FAIL
    assert in_vain(without_entry).verdict is Verdict.FAIL
    assert in_vain(noted=False).verdict is Verdict.NOT_OBSERVED
    assert in_vain(moved).verdict is Verdict.NOT_OBSERVED, "it found room"
