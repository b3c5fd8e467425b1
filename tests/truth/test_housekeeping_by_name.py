"""What runs in a compute container, by name: who may run where, and what a finding calls it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.registry import registered
from conformance.checks.threads import called
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import RawSnapshot, Thread
from conformance.parsing.assemble import assemble
from tests.selfproof import recording as good
from tests.selfproof.mutations import Change
from tests.truth.changes import BROKEN, KEPT, NONE, UNSEEN, judged

OF_QEMU = {
    "vhost-4242": "vhost worker",
    "live_migration": "migration of QEMU",
    "multifdsend_0": "migration of QEMU",
    "mig/src/main": "migration of QEMU",
    "worker": "thread pool of QEMU",
    "iou-wrk-150": "io_uring worker of QEMU",
    "call_rcu": "RCU of QEMU",
}
"""Threads of QEMU by name; a vhost worker is one since Linux 6.4."""
BESIDE_QEMU = {"swtpm": "TPM of the guest", "passt.avx2": "network of the guest"}
PROCESSES = {**BESIDE_QEMU, "vhost-4242": "vhost worker", "kvm-nx-lpage-re": "huge page recovery"}
"""Processes in the container; the last two are of the kernel, before Linux 6.4 and 6.13."""
UNISOLATED = replace(good.EXPECTATION, isolate_emulator=False, emulator_cpus=0)


def runs(name: str, cpus: str, *, pid: int, parent: int, where: str) -> Change:
    """Adds a thread of a process, or a process of its own, in a cgroup of compute."""
    tid = 190
    text = (
        f"Name:\t{name}\nTgid:\t{pid or tid}\nPid:\t{tid}\nPPid:\t{parent}\n"
        f"NSpid:\t{tid}\t{60}\nCpus_allowed_list:\t{cpus}\n"
    )
    members = f"{good.CGROUPS}{where}/cgroup.threads"

    def change(raw: RawSnapshot) -> RawSnapshot:
        added = {
            good.status_path(pid or tid, tid): text,
            members: raw.files[members] + f"{tid}\n",
        }
        return replace(raw, files={**raw.files, **added})

    return change


@pytest.mark.parametrize(("name", "role"), OF_QEMU.items())
def test_a_thread_of_qemu_on_the_pcpu_of_a_vcpu(name: str, role: str) -> None:
    here = runs(name, "3", pid=150, parent=100, where=good.HOUSEKEEPING)
    finding = judged("EMU-ISOLATED", here)
    assert finding.verdict is BROKEN
    assert f"{name} ({role}, 190) may run on 3" in finding.message
    assert "on pCPU 3 of vCPU 1" in finding.message
    twin = runs(name, "4", pid=150, parent=100, where=good.HOUSEKEEPING)
    for requirement in ("EMU-ISOLATED", "EMU-HOUSEKEEPING"):
        assert judged(requirement, twin).verdict is KEPT


@pytest.mark.parametrize(("name", "role"), PROCESSES.items())
def test_a_process_in_the_root_of_compute(name: str, role: str) -> None:
    parent = 101 if name in BESIDE_QEMU else 2
    finding = judged("EMU-HOUSEKEEPING", runs(name, "2-4", pid=0, parent=parent, where=good.ROOT))
    assert finding.verdict is BROKEN
    assert f"{name} ({role}" in finding.message
    twin = runs(name, "4", pid=0, parent=parent, where=good.HOUSEKEEPING)
    assert judged("EMU-HOUSEKEEPING", twin).verdict is KEPT


def test_a_process_that_somebody_started_in_compute_is_remarked_on() -> None:
    finding = judged("EMU-HOUSEKEEPING", runs("sh", "2-4", pid=0, parent=99, where=good.ROOT))
    assert finding.verdict is KEPT
    assert "sh (190) was started in compute from outside" in finding.notes


@pytest.mark.parametrize("requirement", ["EMU-ISOLATED", "EMU-HOUSEKEEPING"])
def test_without_isolation_nothing_is_promised_of_them(requirement: str) -> None:
    assert not registered()[requirement].applies(UNISOLATED)


def test_what_is_not_known_is_called_by_its_name() -> None:
    thread = Thread(1, 2, "something", CpuSet([1]), "/")
    assert called(thread) == "something (2)"


# The timer of the guest, which is in no cgroup of it.


def timers(*cpus: str, of: int = 80) -> Change:
    """So many timers of guests whose QEMU has this number."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        files = {path: text for path, text in raw.files.items() if f"/{good.PIT}/" not in path}
        for pid, allowed in enumerate(cpus, start=good.PIT):
            files[f"/proc/{pid}/status"] = (
                f"Name:\tkvm-pit/{of}\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t2\nNSpid:\t{pid}\n"
                f"Cpus_allowed_list:\t{allowed}\n"
            )
            files[f"/proc/{pid}/cgroup"] = "0::/\n"
        return replace(raw, files=files)

    return change


@pytest.mark.parametrize("expectation", [good.EXPECTATION, UNISOLATED])
def test_the_timer_is_beside_vcpu_0_isolated_or_not(expectation: object) -> None:
    assert expectation in (good.EXPECTATION, UNISOLATED)
    wanted = UNISOLATED if expectation is UNISOLATED else good.EXPECTATION
    assert judged("EMU-PIT", expectation=wanted).verdict is KEPT
    finding = judged("EMU-PIT", timers("4"), expectation=wanted)
    assert finding.verdict is BROKEN
    assert "kvm-pit/80 (timer of KVM, 160) may run on 4" in finding.message


@pytest.mark.parametrize(("cpus", "of"), [((), 80), (("0-11",), 81)])
def test_a_guest_without_a_timer_is_asked_nothing(cpus: tuple[str, ...], of: int) -> None:
    assert judged("EMU-PIT", timers(*cpus, of=of)).verdict is NONE


def test_of_two_timers_of_one_name_nobody_knows_whose_they_are() -> None:
    assert judged("EMU-PIT", timers("2", "0-11")).verdict is UNSEEN


def test_the_timer_is_no_process_of_the_node_and_no_thread_of_the_emulator() -> None:
    node = assemble(timers("2")(good.running())).node
    assert node is not None
    assert node.host == ()
    assert not judged("CPU-EXCLUSIVE", timers("2")).notes
    inside = runs("kvm-pit/80", "2", pid=0, parent=2, where=good.ROOT)
    for requirement in ("EMU-ISOLATED", "EMU-HOUSEKEEPING"):
        assert judged(requirement, inside).verdict is KEPT
