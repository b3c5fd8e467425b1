"""What stands out on a map: each way with its healthy twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from conformance.judging.maps import Maps
from conformance.model.evidence import RawSnapshot
from conformance.parsing.assemble import assemble
from reports.document import CpuMap, OwnerKind, Source
from tests.selfproof import mutations as change
from tests.selfproof import recording as good

Change = Callable[[RawSnapshot], RawSnapshot]


def drawn(raw: RawSnapshot) -> CpuMap:
    maps = Maps()
    maps.add(raw.case, [("snapshots/x.json", raw, assemble(raw))], matters=True)
    ((only,),) = (node.maps for node in maps.nodes())
    return only


def test_a_healthy_node_has_no_mark_and_every_source_speaks() -> None:
    only = drawn(good.running())
    assert only.marks == ()
    assert {claim.source for claim in only.claims} == set(Source)
    assert only.evidence == "evidence/snapshots/x.json"


def test_the_map_is_about_the_workload_that_its_claims_name() -> None:
    only = drawn(good.running())
    own = {claim.workload for claim in only.claims if claim.kind is OwnerKind.VCPU}
    assert own == {only.workload}


def test_healthy_after_deletion() -> None:
    assert drawn(good.deleted()).marks == ()


@pytest.mark.parametrize(
    "requirement",
    [
        *("CPU-EXCLUSIVE", "CPU-RESERVED", "PIN-THREADS"),
        *("EMU-ISOLATED", "IOT-ISOLATED", "SIDE-UNPINNED"),
    ],
)
def test_what_is_broken_about_pcpus_stands_out(requirement: str) -> None:
    """At least one mutation of each requirement about who runs where leaves a mark."""
    seen = []
    for mutation in change.PROOFS[requirement].breaks:
        raw = mutation.change(good.running())
        if raw.moment == "running":
            seen.append(bool(drawn(raw).marks))
    assert any(seen), requirement


def test_two_owners_by_the_checkpoint_are_marked_and_named() -> None:
    def steal(state: dict[str, dict[str, dict[str, str]]]) -> None:
        state["entries"][good.OTHER_UID] = {"compute": "2-4"}

    only = drawn(change.checkpoint(steal)(good.running()))
    assert any("the checkpoint gives it to" in mark.says for mark in only.marks)
    assert any("2" in mark.cpus for mark in only.marks)


def test_a_thread_that_roams_is_marked_with_both_sets() -> None:
    only = drawn(change.affinity(150, 155, "2-3")(good.running()))
    says = " ".join(mark.says for mark in only.marks)
    assert "may run on 2-3" in says


def test_every_moment_is_drawn_and_each_once() -> None:
    first = good.running()
    again = replace(first, began=f"{first.began}", ended=first.ended)
    deleted = good.deleted()
    maps = Maps()
    looks = [(f"{n}.json", raw, assemble(raw)) for n, raw in enumerate((first, again, deleted))]
    maps.add("demo", looks, matters=False)
    (node,) = maps.nodes()
    assert [each.moment for each in node.maps] == ["running", "deleted"]


def test_what_a_guest_uses_is_told_apart() -> None:
    kinds = {claim.kind for claim in drawn(good.running()).claims}
    assert {OwnerKind.VCPU, OwnerKind.EMULATOR, OwnerKind.EXCLUSIVE} <= kinds
