"""vCPUs that are not plugged in yet accuse nobody; those that were plugged in are judged."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.hotplug import (
    ASKED,
    CHANGE,
    FEW,
    GROWING,
    MORE,
    RESTART,
    TOO_MANY,
    answered,
    plugged,
)
from conformance.checks.registry import stories
from conformance.matrix.manifests import Wish, vmi
from conformance.matrix.oracle import expect
from conformance.model.evidence import RawDomain, RawSnapshot, Story
from conformance.model.finding import Finding, Verdict
from conformance.parsing import kubernetes
from conformance.parsing.assemble import assemble
from tests.selfproof import recording as good
from tests.selfproof.mutations import NO_LIBVIRT, console, edit_xml
from tests.truth.changes import (
    BROKEN,
    ELSEWHERE,
    KEPT,
    NONE,
    UNSEEN,
    everything,
    judged,
    pod_objects,
)

GROWABLE = replace(good.EXPECTATION, max_vcpus=8)
Edit = Callable[[Any], object]


# Room for more, of which nothing is pinned or runs (converter/compute/cpu.go).


def idle_pins(raw: RawSnapshot) -> RawSnapshot:
    """As a libvirt keeps them that was told of pins of vCPUs before it has plugged them in."""
    lines = "".join(f"<vcpupin vcpu='{vcpu}' cpuset='2-4'/>" for vcpu in range(2, 8))
    return edit_xml("<emulatorpin", f"{lines}<emulatorpin")(raw)


def test_pins_of_vcpus_that_are_not_enabled_bind_nobody() -> None:
    found = everything(idle_pins)
    assert {name for name, each in found.items() if each.verdict is not KEPT} <= ELSEWHERE
    assert judged("PLUG-BOOT", idle_pins, expectation=GROWABLE).verdict is KEPT


def test_pins_of_enabled_ones_still_do() -> None:
    wrong = edit_xml("vcpu='1' cpuset='3'", "vcpu='1' cpuset='2'")
    assert judged("PIN-XML", idle_pins, wrong).verdict is BROKEN


def test_arm_has_no_hotplug() -> None:
    arm = edit_xml("arch='x86_64'", "arch='aarch64'")
    assert judged("PLUG-BOOT", arm, expectation=GROWABLE).verdict is NONE


@pytest.mark.parametrize(
    ("wish", "most"),
    [
        (Wish(sockets=1, cores=2, max_sockets=3), 6),
        (Wish(limits_cpu=2, max_sockets=4), 4),
        (Wish(sockets=2, threads=2, max_sockets=2), 4),
        (Wish(sockets=2), None),
    ],
)
def test_room_is_what_the_vmi_says_itself(wish: Wish, most: int | None) -> None:
    assert expect(vmi("vm", wish), "current").max_vcpus == most


# What follows a change.


def looked(moment: str, sockets: int, *, boots: int, done: str = "", **more: Any) -> RawSnapshot:
    """A look at the VMI of the story, of which the guest has so many CPUs."""
    raw = good.running()
    assert raw.vmi is not None
    wish = Wish(sockets=boots, max_sockets=MORE, isolate=True)
    spec: Any = {"domain": {"cpu": {"sockets": sockets, "maxSockets": MORE}}}
    status = {**raw.vmi["status"], "currentCPUTopology": {"sockets": boots}}
    metadata = {**raw.vmi["metadata"], "name": GROWING}
    raw = replace(
        raw,
        scenario="hotplug",
        case="hotplug",
        moment=moment,
        manifest=vmi(GROWING, wish, profile="current"),
        vmi={"metadata": metadata, "spec": spec, "status": status},
        done=(f"{ASKED} {done}",) if done else (),
        owner={"metadata": {"name": GROWING}, "status": {"conditions": []}},
    )
    return replace(raw, **more)


def of_one(raw: RawSnapshot) -> RawSnapshot:
    """The good recording has two vCPUs; here it is as it was with one."""

    def edit(pods: list[Any]) -> None:
        for each in pods[0]["spec"]["containers"]:
            if each["name"] == "compute":
                for kind in ("requests", "limits"):
                    each["resources"][kind]["cpu"] = "2"

    return pod_objects(edit)(raw)


def told(raw: RawSnapshot, where: str, type_: str, **more: str) -> RawSnapshot:
    """With a condition of the VMI, or of its VirtualMachine."""
    obj: Any = copy.deepcopy(getattr(raw, where))
    obj["status"]["conditions"].append({"type": type_, "status": "True", **more})
    return replace(raw, **{where: obj})


def refusal(field: str = "spec.template.spec.domain.cpu.sockets") -> RawSnapshot:
    raw = looked("beyond", FEW, boots=FEW)
    cause = {"reason": "FieldValueInvalid", "message": "too many", "field": field}
    status = {
        "code": 422,
        "reason": "Invalid",
        "message": 'admission webhook "virtualmachine-validator.kubevirt.io" denied the request: '
        "Number of sockets in CPU topology is greater than the maximum sockets allowed",
        "details": {"causes": [cause]},
    }
    return RawSnapshot(
        *("hotplug", "hotplug", "beyond", raw.began, raw.ended, raw.manifest), rejection=status
    )


BEFORE = of_one(looked("before", FEW, boots=FEW))
FOLLOWED = looked("grown", MORE, boots=MORE, done=str(MORE))
"""As a migration leaves it: three pCPUs for two vCPUs and the emulator."""
WAITS = told(of_one(looked("grown", MORE, boots=FEW, done=str(MORE))), "vmi", CHANGE)
STAGED = told(
    of_one(looked("grown", FEW, boots=FEW, done=str(MORE))), "owner", RESTART, message="a field"
)


def tale(requirement: str, *snapshots: RawSnapshot) -> Finding:
    (check,) = [each for each in stories() if each.requirement == requirement]
    return check.judge(Story("hotplug", "current", tuple(map(assemble, snapshots))))


def test_what_a_migration_has_brought_is_kept() -> None:
    finding = tale("PLUG-LIVE", BEFORE, refusal(), FOLLOWED)
    assert finding.verdict is KEPT, finding.message
    assert "limit, CPUs, vCPUs, pins and guest followed" in finding.message


@pytest.mark.parametrize(
    ("grown", "words"), [(WAITS, "HotVCPUChange True"), (STAGED, "RestartRequired True: a field")]
)
def test_what_has_not_come_is_told(grown: RawSnapshot, words: str) -> None:
    finding = tale("PLUG-LIVE", BEFORE, refusal(), grown)
    assert finding.verdict is KEPT, finding.message
    assert words in finding.message
    assert any("no vCPU was plugged in" in note for note in finding.notes)


def domain_of(raw: RawSnapshot) -> RawDomain:
    assert raw.domain is not None
    return raw.domain


def pinned_wide(raw: RawSnapshot) -> RawSnapshot:
    live = {**domain_of(raw).vcpu_pins, "1": "2-4"}
    return replace(raw, domain=replace(domain_of(raw), vcpu_pins=live))


def entry_of_two(raw: RawSnapshot) -> RawSnapshot:
    state = json.loads(raw.files[good.CHECKPOINT])
    state["entries"][good.UID]["compute"] = "2-3"
    return replace(raw, files={**raw.files, good.CHECKPOINT: json.dumps(state)})


def guest_of_one(raw: RawSnapshot) -> RawSnapshot:
    return console(
        lambda report: report.update(online="0", nodes={"0": "0"}, cpus=report["cpus"][:1])
    )(raw)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of_one, "2000 thousandths of a CPU are the limit of compute instead of 3000"),
        (entry_of_two, "2 pCPUs are its own (2-3) instead of 3"),
        (edit_xml("id='1' enabled='yes'", "id='1' enabled='no'"), "1 vCPUs are enabled (0)"),
        (pinned_wide, "1 vCPUs are pinned to one pCPU each instead of 2"),
        (guest_of_one, "1 CPUs are online in the guest (0) instead of 2"),
    ],
)
def test_what_has_come_in_part_is_broken(
    change: Callable[[RawSnapshot], RawSnapshot], words: str
) -> None:
    finding = tale("PLUG-LIVE", BEFORE, refusal(), change(FOLLOWED))
    assert finding.verdict is BROKEN, finding.message
    assert words in finding.message


def test_what_nobody_has_come_to_or_could_be_read_is_not_observed() -> None:
    untold = of_one(looked("grown", FEW, boots=FEW, done=str(MORE)))
    asked = replace(FOLLOWED, done=())
    for grown in (untold, asked, replace(FOLLOWED, owner=None), NO_LIBVIRT(FOLLOWED)):
        assert tale("PLUG-LIVE", BEFORE, refusal(), grown).verdict is UNSEEN
    assert "KubeVirt has not come to it" in tale("PLUG-LIVE", BEFORE, untold).message


def test_more_than_the_maximum() -> None:
    assert tale("PLUG-MAX", BEFORE, refusal()).verdict is KEPT
    taken = of_one(looked("beyond", FEW, boots=FEW, done=str(TOO_MANY)))
    assert tale("PLUG-MAX", BEFORE, taken).verdict is BROKEN
    assert tale("PLUG-MAX", BEFORE, refusal("spec.template.spec.domain.cpu.cores")).verdict is (
        BROKEN
    )
    elsewhere = tale("PLUG-MAX", BEFORE, refusal("spec.template.spec.networks"))
    assert elsewhere.verdict is UNSEEN
    raw = refusal()
    status = {**(raw.rejection or {}), "code": 403, "message": 'User "x" cannot patch resource'}
    assert tale("PLUG-MAX", BEFORE, replace(raw, rejection=status)).verdict is UNSEEN
    assert tale("PLUG-MAX", BEFORE).verdict is Verdict.NOT_OBSERVED


def test_who_waits_for_what() -> None:
    waiting = kubernetes.vmi(WAITS.vmi or {})
    assert not plugged(waiting)
    assert answered(waiting, {}, migrates=False)
    assert not answered(waiting, {}, migrates=True)
    assert answered(waiting, {RESTART: "True"}, migrates=True)
    assert plugged(kubernetes.vmi(FOLLOWED.vmi or {}))
