"""Threads whose names are not known, lists of threads that are not whole, how containers end."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from conformance.model.evidence import RawSnapshot
from conformance.parsing import assemble, kubernetes
from tests.selfproof import recording as good
from tests.selfproof.mutations import affinity, members, without
from tests.truth.changes import BROKEN, KEPT, UNSEEN, judged, unreadable

OF_VCPUS = ("PIN-THREADS", "PIN-CGROUP", "EMU-HOUSEKEEPING", "EMU-ISOLATED")


def called(accelerator: str, number: str = r"{}") -> Any:
    def change(raw: RawSnapshot) -> RawSnapshot:
        files = {
            path: text.replace("CPU 0/KVM", f"{number.format('CPU 0')}/{accelerator}").replace(
                "CPU 1/KVM", f"{number.format('CPU 1')}/{accelerator}"
            )
            for path, text in raw.files.items()
        }
        return replace(raw, files=files)

    return change


@pytest.mark.parametrize("requirement", OF_VCPUS)
@pytest.mark.parametrize("accelerator", ["HVF", "MSHV", "XYZ"])
def test_a_vcpu_of_an_unknown_accelerator_is_not_judged(requirement: str, accelerator: str) -> None:
    finding = judged(requirement, called(accelerator))
    assert finding.verdict is UNSEEN
    assert f"CPU 0/{accelerator}" in finding.message


@pytest.mark.parametrize("requirement", ["PIN-THREADS", "PIN-CGROUP", "EMU-HOUSEKEEPING"])
def test_a_qemu_without_named_threads_has_not_none(requirement: str) -> None:
    assert judged(requirement, called("KVM", "qemu-system-x86")).verdict is UNSEEN
    assert judged(requirement, called("TCG", "ALL CPUs")).verdict is UNSEEN


def domain(**changes: Any) -> Any:
    """libvirt answers something else."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        assert raw.domain is not None
        return replace(raw, domain=replace(raw.domain, **changes))

    return change


def test_a_pin_of_a_vcpu_that_the_domain_has_not_takes_nothing_from_others() -> None:
    """libvirt knows a pin of each vCPU that may be plugged in, by default every CPU."""
    found = good.running().domain
    assert found is not None
    pluggable = domain(vcpu_pins={**found.vcpu_pins, "2": "0-11", "3": "0-11"})
    shared = domain(vcpu_pins={**found.vcpu_pins, "1": "4"})
    for requirement in ("EMU-ISOLATED", "IOT-ISOLATED", "PIN-LIVE"):
        assert judged(requirement, pluggable).verdict is KEPT, requirement
        assert judged(requirement, shared).verdict is BROKEN, requirement


def test_an_emulator_that_is_pinned_and_has_no_pin_in_the_domain_is_told() -> None:
    """Where neither has one, libvirt says every CPU; that it is not isolated is another promise."""
    found = good.running().domain
    assert found is not None
    unpinned = re.sub(r"<emulatorpin [^>]*/>", "", found.xml)
    assert unpinned != found.xml
    finding = judged("PIN-LIVE", domain(xml=unpinned))
    assert finding.verdict is BROKEN
    assert "the emulator is pinned to 4" in finding.message
    everywhere = domain(xml=unpinned, emulator_pin="0-11")
    assert judged("PIN-LIVE", everywhere).verdict is KEPT
    assert judged("EMU-ISOLATED", everywhere).verdict is BROKEN


def test_a_known_vcpu_that_leaves_its_pcpu_is_seen_all_the_same() -> None:
    assert judged("PIN-THREADS", affinity(150, 155, "2-4")).verdict is BROKEN
    gone = [members({good.ROOT: (154, 170)}), without("/task/155/")]
    assert judged("PIN-THREADS", *gone).verdict is BROKEN


def test_a_thread_that_could_not_be_read_is_not_missing() -> None:
    hidden = unreadable(good.status_path(150, 155), "Permission denied")
    for requirement in OF_VCPUS:
        finding = judged(requirement, hidden)
        assert finding.verdict is UNSEEN, requirement
        assert "Permission denied" in finding.message
    vanished = without("/task/151/")
    assert judged("EMU-ISOLATED", vanished).verdict is KEPT


def test_a_housekeeping_that_could_not_be_read_is_not_missing() -> None:
    hidden = unreadable(f"{good.CGROUPS}{good.HOUSEKEEPING}/cpuset.cpus.effective")
    assert judged("EMU-HOUSEKEEPING", hidden).verdict is UNSEEN


def test_threads_in_a_cgroup_that_was_not_read_are_not_missing() -> None:
    """Evidence of former versions has nothing of what crun and KubeVirt make two levels down."""
    finding = judged("EMU-HOUSEKEEPING", without("/housekeeping/"))
    assert finding.verdict is UNSEEN
    assert "qemu-system-x86 (150) is in none of the cgroups" in finding.message


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "ended with 137 (OOMKilled)"),
        (
            {"terminated": {"exitCode": 1, "reason": "Error", "message": "no room\n"}},
            "ended with 1 (Error): no room",
        ),
        ({"terminated": {"exitCode": 2}}, "ended with 2"),
    ],
)
def test_n04_why_a_container_ended_is_told(state: Any, said: str) -> None:
    pod = good.launcher()
    pod["status"]["containerStatuses"][0]["state"] = state
    assert said in (kubernetes.pod(pod).reason or "")
    waits = {"waiting": {"reason": "CrashLoopBackOff"}}
    pod["status"]["containerStatuses"][0] |= {"state": waits, "lastState": state}
    assert f"CrashLoopBackOff after it {said}" in (kubernetes.pod(pod).reason or "")


def test_what_runs_on_although_the_api_calls_it_ended_runs() -> None:
    pods = list(good.running().pods)
    handler = good.handler_pod()
    handler["status"]["containerStatuses"] = [
        good.state("virt-handler", good.HANDLER, running=False)
    ]
    raw = replace(good.running(), pods=(*pods[:2], handler))
    wide = affinity(400, 400, "0-11")
    assert judged("CPU-EXCLUSIVE", raw=raw).verdict is KEPT
    assert judged("CPU-EXCLUSIVE", wide, raw=raw).verdict is BROKEN
    assert assemble(raw).pods[2].containers[0].threads
