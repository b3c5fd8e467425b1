"""pCPUs that stand out on a map: about which sources disagree, or that two use at once.

A mark shows where to look; it is no verdict. What is wrong, the findings say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from conformance.judging.claims import Said, text
from conformance.model.cpuset import CpuSet
from reports.document import Mark, OwnerKind, Source
from reports.pcpus import who

_SOURCES = {
    Source.CHECKPOINT: "the checkpoint",
    Source.CGROUP: "the cgroup",
    Source.AFFINITY: "the affinity",
    Source.LIBVIRT: "libvirt",
}
_POOL = (OwnerKind.SHARED, OwnerKind.RESERVED)
_NUMBERED = (OwnerKind.VCPU, OwnerKind.IOTHREAD)
_OTHERS = 5
"""Who is named of those that may run on somebody else's pCPUs."""
MOST = 64
"""Marks of one map: a node of which everything is wrong needs no more to show it."""


def marks(found: Sequence[Said], *, isolated: bool, reserved: CpuSet) -> tuple[Mark, ...]:
    """The marks of one snapshot.

    Args:
        found: what is said.
        isolated: whether the emulator of the snapshot's own guest was to have its own pCPUs.
        reserved: what the node's kubelet is told to reserve.
    """
    clauses = (
        *(*_owners(found), *_reserved(found, reserved), *_leaked(found)),
        *(*_intruders(found), *_confined(found)),
    )
    return (*map(_mark, clauses), *guest_marks(found, isolated=isolated))


def guest_marks(found: Sequence[Said], *, isolated: bool) -> tuple[Mark, ...]:
    """Those that are about the snapshot's own guest alone."""
    clauses = (*_written(found), *_pins(found), *_guest(found, isolated=isolated))
    return tuple(map(_mark, clauses))


def _mark(clause: tuple[CpuSet, str]) -> Mark:
    return Mark(text(clause[0]), clause[1])


def together_by_cpus(found: Iterable[Mark]) -> tuple[Mark, ...]:
    """Marks of the same pCPUs as one, by their ids."""
    together: dict[CpuSet, dict[str, None]] = defaultdict(dict)
    for each in found:
        if each.cpus:
            together[CpuSet.parse(each.cpus)][each.says] = None
    ordered = sorted(together.items(), key=lambda item: (min(item[0]), str(item[0])))
    return tuple(Mark(text(cpus), "; ".join(says)) for cpus, says in ordered[:MOST])


def _owners(found: Sequence[Said]) -> Iterator[tuple[CpuSet, str]]:
    """What the checkpoint gives twice. Containers of one pod may follow one another."""
    given = [each for each in found if each.claim.source is Source.CHECKPOINT]
    for one, other in combinations(given, 2):
        both = one.cpus & other.cpus
        if both and not (one.pod and one.pod == other.pod):
            yield both, f"the checkpoint gives it to {_who(one)} and to {_who(other)}"


def _reserved(found: Sequence[Said], reserved: CpuSet) -> Iterator[tuple[CpuSet, str]]:
    """What is reserved by the kubelet's configuration, and was given away."""
    for each in _exclusive(found):
        if both := each.cpus & reserved:
            yield both, f"the kubelet reserves it; the checkpoint gives it to {_who(each)}"


def _leaked(found: Sequence[Said]) -> Iterator[tuple[CpuSet, str]]:
    for each in found:
        if each.former:
            yield each.cpus, f"the checkpoint still gives it to {_who(each)}: it was deleted"


def _intruders(found: Sequence[Said]) -> Iterator[tuple[CpuSet, str]]:
    """Whoever may run on what the checkpoint gives to somebody else."""
    owners = _exclusive(found)
    by_cpu: dict[int, list[int]] = defaultdict(list)
    for place, owner in enumerate(owners):
        for cpu in owner.cpus:
            by_cpu[cpu].append(place)
    there: dict[tuple[CpuSet, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        if each.claim.source is Source.CHECKPOINT or not each.running:
            continue
        # A pin is a wish: where nothing else confines a guest, libvirt names every pCPU.
        if each.claim.source is Source.LIBVIRT and (not each.own or len(each.cpus) != 1):
            continue
        for place in sorted({place for cpu in each.cpus for place in by_cpu.get(cpu, ())}):
            owner = owners[place]
            if not _same(each, owner, owners):
                both = each.cpus & owner.cpus
                there[both, _who(owner)][_who(each)].append(_SOURCES[each.claim.source])
    for (both, name), others in there.items():
        words = [
            f"{other} (by {' and '.join(dict.fromkeys(how))})" for other, how in others.items()
        ]
        more = f" and {len(words) - _OTHERS} more" if len(words) > _OTHERS else ""
        said = f"{', '.join(words[:_OTHERS])}{more}"
        yield both, f"the checkpoint gives it to {name}; {said} may run there, too"


def _same(each: Said, owner: Said, owners: Sequence[Said]) -> bool:
    """Whether an owner is who runs there, or gave it to another container of its pod."""
    if each.pod != owner.pod:
        return False
    names = ("", each.claim.container)  # a pod as a whole may own some
    return owner.claim.container in names or any(
        (other.pod, other.claim.container) == (each.pod, each.claim.container)
        and each.cpus & owner.cpus <= other.cpus
        for other in owners
    )


def _confined(found: Sequence[Said]) -> Iterator[tuple[CpuSet, str]]:
    """Own containers whose cgroup is not what the checkpoint gives."""
    running: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for each in found:
        if each.claim.source is Source.CGROUP and each.running:
            running[each.pod, each.claim.container].append(each)
    for owner in _exclusive(found):
        for each in running.get((owner.pod, owner.claim.container), ()):
            if more := each.cpus - owner.cpus:
                yield more, f"the cgroup of {_who(each)} has it; the checkpoint does not give it"
            if less := owner.cpus - each.cpus:
                yield less, f"the checkpoint gives it to {_who(owner)}; the cgroup lacks it"


def _written(found: Sequence[Said]) -> Iterator[tuple[CpuSet, str]]:
    """Pins of the domain XML that the running libvirt does not have."""
    for each in found:
        if not each.written:
            continue
        for live in found:
            same = (live.claim.kind, live.claim.number) == (each.claim.kind, each.claim.number)
            if live.own and live.claim.source is Source.LIBVIRT and same:
                pinned = f"{_who(each)}: the domain XML pins it to {text(each.cpus)}"
                yield each.cpus | live.cpus, f"{pinned}, the running libvirt to {text(live.cpus)}"


def _pins(found: Sequence[Said]) -> Iterator[tuple[CpuSet, str]]:
    """vCPUs and IOThreads whose threads are not where libvirt pins them, or may roam.

    Only pCPUs of the guest's own container are marked: a pin beyond it has no effect.
    """
    if not _placed_alone(found):
        return
    compute = CpuSet.union_of(each.cpus for each in found if each.own and _of_compute(each))
    own = [each for each in found if each.own]
    pins = {
        (each.claim.kind, each.claim.number): each.cpus
        for each in own
        if each.claim.source is Source.LIBVIRT
    }
    together: dict[tuple[OwnerKind, CpuSet, CpuSet | None], list[Said]] = defaultdict(list)
    for each in own:
        kind = each.claim.kind
        if each.claim.source is not Source.AFFINITY or kind not in _NUMBERED:
            continue
        pin = pins.get((kind, each.claim.number))
        roams = kind is OwnerKind.VCPU and len(each.cpus) > 1
        if roams or pin not in (None, each.cpus):
            together[kind, each.cpus, pin].append(each)
    for (_kind, cpus, pin), threads in together.items():
        who, several = _all(threads)
        said = {None: "libvirt says nothing of it", cpus: "not pinned"}.get(
            pin, f"libvirt pins {'them' if several else 'it'} to {text(pin or CpuSet())}"
        )
        yield (
            CpuSet((cpus ^ (pin or cpus)) & compute) or cpus,
            f"{who}: {said}; the thread{'s' if several else ''} may run on {text(cpus)}",
        )


def _all(of: Sequence[Said]) -> tuple[str, bool]:
    """What several of a kind are called together, and whether they are several."""
    if len(of) == 1:
        return _who(of[0]), False
    claim = of[0].claim
    kind = "vCPUs" if claim.kind is OwnerKind.VCPU else "IOThreads"
    numbers = CpuSet(each.claim.number for each in of if each.claim.number is not None)
    return f"{kind} {numbers} of {claim.workload}", True


def _placed_alone(found: Sequence[Said]) -> bool:
    """Whether the own guest has exclusive pCPUs: vCPUs of others are pinned to none."""
    return any(each.own and each.claim.source is Source.CHECKPOINT for each in found)


def _of_compute(each: Said) -> bool:
    return each.claim.source in (Source.CHECKPOINT, Source.CGROUP)


def _guest(found: Sequence[Said], *, isolated: bool) -> Iterator[tuple[CpuSet, str]]:
    """pCPUs of a vCPU that something else of the same guest uses."""
    if not _placed_alone(found):
        return
    shared: dict[tuple[CpuSet, str, str], list[str]] = defaultdict(list)
    for source in (Source.LIBVIRT, Source.AFFINITY):
        own = [each for each in found if each.own and each.claim.source is source]
        vcpus = [each for each in own if each.claim.kind is OwnerKind.VCPU]
        for one, other in combinations(vcpus, 2):
            if len(one.cpus) == len(other.cpus) == 1 and (both := one.cpus & other.cpus):
                shared[both, _who(one), _who(other)].append(_SOURCES[source])
        for each in own if isolated else ():
            if each.claim.kind not in (OwnerKind.EMULATOR, OwnerKind.IOTHREAD):
                continue
            beside = [vcpu for vcpu in vcpus if each.cpus & vcpu.cpus]
            if beside:
                both = CpuSet.union_of(each.cpus & vcpu.cpus for vcpu in beside)
                shared[both, _who(each), _all(beside)[0]].append(_SOURCES[source])
    for (both, first, second), sources in shared.items():
        yield both, f"{first} and {second} share it, by {' and '.join(dict.fromkeys(sources))}"


def _exclusive(found: Iterable[Said]) -> list[Said]:
    return [
        each
        for each in found
        if each.claim.source is Source.CHECKPOINT and each.claim.kind not in _POOL
    ]


def _who(each: Said) -> str:
    return who(each.claim)
