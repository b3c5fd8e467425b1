"""A VMI that somebody migrates while it is looked at is nobody's failure, and no pass either."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import registered
from conformance.judging.decide import decide, judge, unsettled
from conformance.judging.terms import Terms
from conformance.model.evidence import RawSnapshot
from conformance.model.finding import Finding, Verdict
from conformance.parsing import assemble
from tests.selfproof import recording as good

Json = dict[str, Any]
BEGAN = datetime(2026, 8, 1, 10, tzinfo=UTC)
TERMS = Terms("current", {}, setting=good.SETTING)
HANDED_OVER = {
    "migrationUid": "m",
    "sourceNode": good.NODE,
    "targetNode": "node-2",
    "targetPod": "virt-launcher-demo-new",
}
COPYING = {**HANDED_OVER, "startTimestamp": "2026-08-01T09:59:30Z"}
ARRIVED = {**COPYING, "endTimestamp": "2026-08-01T09:59:59Z"}
OVER = {**ARRIVED, "completed": True}
FAILED = {**ARRIVED, "failed": True, "failureReason": "no progress"}


def with_state(raw: RawSnapshot, state: Mapping[str, Any] | None) -> RawSnapshot:
    vmi: Json = copy.deepcopy(dict(raw.vmi or {}))
    if state is not None:
        vmi["status"]["migrationState"] = dict(state)
    return replace(raw, vmi=vmi)


def half_there(raw: RawSnapshot) -> RawSnapshot:
    """What may be seen of a QEMU that starts or ends: a vCPU thread that is not pinned."""
    (path,) = {path for path, text in raw.files.items() if "/task/" in path and "CPU 0/" in text}
    text = re.sub("Cpus_allowed_list:.*", "Cpus_allowed_list:\t2-4", raw.files[path])
    return replace(raw, files={**raw.files, path: text})


def findings(raw: RawSnapshot) -> list[Finding]:
    expectation = TERMS.expect(raw.manifest)
    facts = assemble(raw)
    return [
        judge(TERMS, requirement, check, facts, expectation)
        for requirement, check in TERMS.applicable(expectation)
        if check.moment == raw.moment
    ]


@pytest.mark.parametrize(
    "state", [HANDED_OVER, COPYING, ARRIVED], ids=["handed", "copies", "there"]
)
@pytest.mark.parametrize("change", [lambda raw: raw, half_there], ids=["whole", "half"])
def test_nothing_is_told_of_a_vmi_that_migrates(state: Json, change: Any) -> None:
    told = findings(change(with_state(good.running(), state)))
    assert told
    assert {each.verdict for each in told} == {Verdict.NOT_OBSERVED}
    assert all("a migration from node node-1 to node-2 was under way" in f.message for f in told)


@pytest.mark.parametrize("state", [None, OVER, FAILED], ids=["none", "over", "failed"])
def test_twin_one_that_rests_is_judged(state: Json | None) -> None:
    raw = with_state(good.running(), state)
    assert Verdict.PASS in {each.verdict for each in findings(raw)}
    assert Verdict.FAIL in {each.verdict for each in findings(half_there(raw))}
    assert not [each for each in findings(raw) if each.verdict is Verdict.FAIL]


def test_one_that_migrates_is_looked_at_again() -> None:
    moving = assemble(with_state(good.running(), COPYING))
    expectation = TERMS.expect(good.MANIFEST)
    assert "PIN-THREADS" in unsettled(TERMS, [moving], expectation, "running")
    after = assemble(with_state(good.running(), OVER))
    assert "PIN-THREADS" not in unsettled(TERMS, [moving, after], expectation, "running")


def unswept(after: float, state: Mapping[str, Any] | None, uid: str = good.UID) -> RawSnapshot:
    """The emulator's threads are not in the housekeeping cgroup, so long after the first look."""
    raw = with_state(good.running(), state)
    path = f"{good.CGROUPS}{good.HOUSEKEEPING}/cgroup.threads"
    moved = raw.files[path].split()
    root = f"{good.CGROUPS}{good.ROOT}/cgroup.threads"
    both = "".join(f"{each}\n" for each in [*raw.files[root].split(), *moved])
    text = json.dumps([{**raw.files, path: "", root: both}, raw.pod, raw.pods])
    files, pod, pods = json.loads(
        text.replace(good.UID, uid).replace(good.UID.replace("-", "_"), uid.replace("-", "_"))
    )
    began = (BEGAN + timedelta(seconds=after)).isoformat()
    return replace(raw, began=began, clock=began, files=files, pod=pod, pods=tuple(pods))


def swept(*looks: RawSnapshot) -> Verdict:
    check = registered()["EMU-HOUSEKEEPING"]
    wanted = TERMS.catalogue.requirement("EMU-HOUSEKEEPING")
    facts = [assemble(each) for each in looks]
    return decide(TERMS, wanted, check, facts, TERMS.expect(good.MANIFEST))[1].verdict


OTHER_POD = "0b0b0b0b-1111-4222-8333-444455556666"


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        ((unswept(0, OVER),), Verdict.NOT_OBSERVED),
        ((unswept(0, OVER), unswept(20, OVER)), Verdict.NOT_OBSERVED),
        ((unswept(0, OVER), unswept(61, OVER)), Verdict.FAIL),
        # What was wrong on the source says nothing of how long the target has had.
        ((unswept(-90, None, OTHER_POD), unswept(5, OVER)), Verdict.NOT_OBSERVED),
        ((unswept(0, None), unswept(3, None)), Verdict.FAIL),
    ],
    ids=["at-once", "soon", "stays", "moved-between", "twin-without"],
)
def test_who_comes_by_migration_is_swept_when_it_is_there(
    looks: tuple[RawSnapshot, ...], verdict: Verdict
) -> None:
    """virt-handler of the target takes over a VMI that is Running already."""
    assert swept(*looks) is verdict


def test_a_look_on_the_way_takes_nothing_back() -> None:
    """What was kept when it was looked at is so, although its last look came while it migrates."""
    moving = with_state(good.running(), COPYING)
    assert swept(good.running(), moving) is Verdict.PASS
    assert swept(unswept(0, None), unswept(3, None), moving) is Verdict.FAIL
    assert swept(moving) is Verdict.NOT_OBSERVED
