"""What a watcher saw between two snapshots decides like what a snapshot shows; nothing else does.

The recorded life: the VMI's threads are pinned at 10:00:00, it is looked at then, and its end is
asked for at 10:00:20. Times of the lines are hundredths of a second since 10:00:00.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from conformance.checks.registry import registered
from conformance.collecting import bundle
from conformance.model.finding import Verdict
from conformance.model.watch import Life
from conformance.parsing.assemble import assemble
from reports import document as report
from tests.selfproof import recording as good
from tests.truth.evidence import Evidence, run

BASE = 500_000
"""Uptime of the node at 10:00:00."""
EPOCH = round(datetime.fromisoformat("2026-08-01T10:00:00Z").timestamp() * 1000)
LAST = 2000
MOUNT = good.CGROUPS

STATE = json.loads(good.node_files()[good.CHECKPOINT])
START = [
    (0, f"C 1 {MOUNT}{good.ROOT}"),
    (0, f"C 2 {MOUNT}{good.HOUSEKEEPING}"),
    (0, f"C 3 {MOUNT}{good.HANDLER_CGROUP}"),
    (0, f"C 4 {MOUNT}{good.OTHER_CGROUP}"),
    (0, "c @ 1 2-4"),
    (0, "c @ 2 4"),
    (0, f"c @ 3 {good.POOL}"),
    (0, "c @ 4 6-7"),
    (0, "T 154 1 CPU 0/KVM"),
    (0, "T 155 1 CPU 1/KVM"),
    (0, "T 150 2 qemu-system-x86"),
    (0, "T 153 2 IO iothread1"),
    (0, "a @ 154 2"),
    (0, "a @ 155 3"),
    (0, "a @ 150 4"),
    (0, "a @ 153 4"),
    (0, f"k @ {json.dumps(STATE)}"),
]
Line = tuple[int, str]


def log(*more: Line, start: list[Line] = START, until: int = LAST) -> str:
    """What a watcher has written: ten looks a second, and these lines at these times."""
    words = [(at, f"= @ {EPOCH + 10 * at} {EPOCH + 10 * at + 2}") for at in range(0, until, 200)]
    looks = [(at, f"l @ {100} 13 40") for at in range(1000, until + 1, 1000)]
    lines = sorted([*start, *more, *words, *looks], key=lambda line: line[0])
    told = "".join(f"{text.replace('@', str(BASE + at))}\n" for at, text in lines)
    return f"w 1 alone\n{told}! {EPOCH + 10 * until} it was stopped\n"


def judged(
    tmp_path: Path, *more: Line, start: list[Line] = START, text: str | None = None
) -> dict[str, report.Finding]:
    """The findings of the good VMI, with what was watched beside its snapshots."""
    evidence = Evidence(tmp_path / "evidence")
    written = log(*more, start=start) if text is None else text
    write(evidence.directory, written)
    return {each.requirement: each for each in evidence.judged().findings if each.case == "demo"}


def write(directory: Path, text: str) -> None:
    (directory / "watch").mkdir(exist_ok=True)
    (directory / "watch" / f"{good.NODE}.log").write_text(text)
    ending = json.dumps([good.UID, EPOCH + 10 * LAST])
    (directory / "endings.jsonl").write_text(f"{ending}\n")
    bundle.write_run(directory, {**run(), "watch": {good.NODE: len(text.encode())}})


def failed(findings: dict[str, report.Finding]) -> set[str]:
    return {name for name, each in findings.items() if each.verdict is report.Verdict.FAIL}


def undecided(findings: dict[str, report.Finding]) -> set[str]:
    return {name for name, e in findings.items() if e.verdict is report.Verdict.NOT_OBSERVED}


def test_a_quiet_life_is_kept_and_says_how_often_was_looked(tmp_path: Path) -> None:
    findings = judged(tmp_path)
    assert failed(findings) == undecided(findings) == set()
    for name in ("PIN-THREADS", "CPU-EXCLUSIVE", "EMU-ISOLATED"):
        (watched,) = [each for each in findings[name].compared if each.what == "watched"]
        assert watched.value.startswith("20.0 s from 10:00:00.00, 10.0 looks a second")
        assert watched.source == "watch/node-1.log"


def test_a_vcpu_that_leaves_its_pcpu_for_a_moment_is_broken(tmp_path: Path) -> None:
    findings = judged(tmp_path, (700, "a @ 155 9"), (730, "a @ 155 3"))
    assert failed(findings) == {"PIN-THREADS"}
    assert (
        "vCPU 1 may run on 3 alone, and its thread 'CPU 1/KVM' (155) was seen allowed on 9 at "
        "10:00:07.00 for 0.3 s (10.0 looks a second, at most 0.1 s apart, watch/node-1.log)"
    ) in findings["PIN-THREADS"].message


def test_a_vcpu_that_ran_elsewhere_between_two_looks_is_broken(tmp_path: Path) -> None:
    """Its affinity was never seen to be another one."""
    findings = judged(tmp_path, (100, "s @ 155 3"), (700, "s @ 155 9"), (800, "s @ 155 3"))
    assert failed(findings) == {"PIN-THREADS"}
    assert (
        "vCPU 1 may run on 3 alone, and its thread 'CPU 1/KVM' (155) was seen to have run on 9, "
        "told at 10:00:07.00"
    ) in findings["PIN-THREADS"].message


def test_a_vcpu_that_a_quota_holds_back_is_broken(tmp_path: Path) -> None:
    """Its quota was gone again at every look."""
    findings = judged(tmp_path, (100, "q @ 1 2"), (700, "q @ 1 7"))
    assert failed(findings) == {"CPU-QUOTA"}
    assert "5 times after 10:00:01.00" in findings["CPU-QUOTA"].message


def test_how_long_vcpus_waited_is_told(tmp_path: Path) -> None:
    findings = judged(tmp_path, (100, "d @ 154 10"), (700, "d @ 154 310"), (700, "d @ 155 20"))
    assert failed(findings) == undecided(findings) == set()
    (waited,) = [e for e in findings["PIN-THREADS"].compared if e.what.startswith("time that")]
    assert waited.value == "0.3 s by vCPU 0, 0.0 s by vCPU 1 in 20.0 s"


def test_a_cpuset_that_came_after_the_first_process_is_noted(tmp_path: Path) -> None:
    """Whoever asks how many CPUs there are when it starts is told another number."""
    own, others = f"C 1 {MOUNT}{good.ROOT}", "c @ 1 2-4"
    rest = [(at, text) for at, text in START if text not in {own, others}]
    seen = {0: "c @ 3 0-1", 100: "c @ 1 0-11", 330: others}
    start = [(0, own), *rest, *seen.items()]
    start = sorted(start, key=lambda line: line[0])
    exclusive = judged(tmp_path, start=start)["CPU-EXCLUSIVE"]
    assert exclusive.verdict is report.Verdict.PASS
    (note,) = exclusive.notes
    assert note.startswith("the cpuset of compute was 0-11 for 2.3 s before it was 2-4")
    (plain,) = [
        each
        for each in judged(tmp_path / "plain")["CPU-EXCLUSIVE"].compared
        if "first look" in each.what
    ]
    assert plain.value == "not watched from its beginning"


def test_a_second_owner_for_a_second_is_broken(tmp_path: Path) -> None:
    wide = f"c @ 3 {good.POOL},2"
    findings = judged(tmp_path, (700, wide), (800, f"c @ 3 {good.POOL}"))
    assert failed(findings) == {"CPU-EXCLUSIVE"}
    assert "was seen to be 0-1,5,8-11,2" not in findings["CPU-EXCLUSIVE"].message
    assert (
        "was seen to be 0-2,5,8-11, with pCPU 2 of compute, at 10:00:07.00 for 1.0 s"
        in findings["CPU-EXCLUSIVE"].message
    )
    assert "virt-handler" in findings["CPU-EXCLUSIVE"].message


def test_a_helper_of_qemu_that_comes_to_a_vcpu_is_broken(tmp_path: Path) -> None:
    findings = judged(tmp_path, (700, "a @ 150 2-4"), (720, "a @ 150 4"))
    assert failed(findings) == {"EMU-ISOLATED"}


def test_an_iothread_that_comes_to_a_vcpu_is_broken(tmp_path: Path) -> None:
    findings = judged(tmp_path, (700, "a @ 153 3"), (720, "a @ 153 4"))
    assert failed(findings) == {"IOT-ISOLATED"}


def test_compute_that_loses_its_cpus_for_a_moment_is_broken(tmp_path: Path) -> None:
    findings = judged(tmp_path, (700, "c @ 1 0-11"), (720, "c @ 1 2-4"))
    assert failed(findings) == {"CPU-EXCLUSIVE"}


def test_an_entry_of_somebody_else_is_broken(tmp_path: Path) -> None:
    entries = {**STATE["entries"], "another-uid": {"main": "3"}}
    other = json.dumps({"policyName": "static", "defaultCpuSet": "0-1", "entries": entries})
    findings = judged(tmp_path, (700, f"k @ {other}"), (720, f"k @ {json.dumps(STATE)}"))
    assert failed(findings) == {"CPU-EXCLUSIVE"}


def test_a_thread_that_is_moved_to_another_cgroup_is_the_same(tmp_path: Path) -> None:
    away = (600, "T 155 4 CPU 1/KVM"), (610, "a @ 155 6-7")
    back = (700, "T 155 1 CPU 1/KVM"), (710, "a @ 155 3")
    assert failed(judged(tmp_path / "vcpu", *away, *back)) == {"PIN-THREADS"}
    moved = (300, "T 150 1 qemu-system-x86"), (310, "a @ 150 3"), (700, "T 150 2 qemu-system-x86")
    assert failed(judged(tmp_path / "main", *moved, (710, "a @ 150 4"))) == {"EMU-ISOLATED"}


def state(*, default: str = STATE["defaultCpuSet"], own: str | None = "2-4") -> str:
    """The checkpoint with another pool, or another entry of compute."""
    entries = {**STATE["entries"], good.UID: {"compute": own}}
    if own is None:
        del entries[good.UID]
    return json.dumps({**STATE, "defaultCpuSet": default, "entries": entries})


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        (state(own=None), "gave compute no CPU instead of 2-4 at 10:00:07.00 for 0.5 s"),
        (state(own="2-3"), "gave compute 2-3 instead of 2-4 at 10:00:07.00 for 0.5 s"),
        (state(default="0-5,8-11"), "had 0-5,8-11 in the shared pool, with CPUs of compute (2-4),"),
    ],
)
def test_an_entry_that_is_gone_for_a_moment_is_broken(
    taken: str, told: str, tmp_path: Path
) -> None:
    findings = judged(tmp_path, (700, f"k @ {taken}"), (750, f"k @ {state()}"))
    assert failed(findings) == {"CPU-EXCLUSIVE"}
    assert told in findings["CPU-EXCLUSIVE"].message


@pytest.mark.parametrize("path", [good.POD_SLICE, "/kubepods.slice"])
def test_a_vcpu_that_a_quota_above_it_holds_back_is_broken(path: str, tmp_path: Path) -> None:
    lines = (0, f"C 8 {MOUNT}{path}"), (100, "q @ 8 2"), (700, "q @ 8 7")
    findings = judged(tmp_path, *lines)
    assert failed(findings) == {"CPU-QUOTA"}
    assert f"{path} 5 times after 10:00:01.00" in findings["CPU-QUOTA"].message


HARMLESS: dict[str, tuple[Line, ...]] = {
    "a vCPU that has not run since it was pinned": ((0, "s @ 155 4"), (300, "s @ 155 3")),
    "a throttled start": ((0, "q @ 1 7"), (700, "q @ 2 0")),
    "another guest is held back": ((100, "q @ 4 1"), (700, "q @ 4 7")),
    "the pool changes elsewhere": ((700, "c @ 3 0-1,5-11"), (800, f"c @ 3 {good.POOL}")),
    "everything after the end was asked for": (
        (LAST + 10, "c @ 3 0-11"),
        (LAST + 10, "a @ 155 0-11"),
    ),
    "the pool is given back in the look that sees the guest gone": (
        (1500, "c @ 3 0-11"),
        (1500, "a @ 154 -"),
        (1500, "a @ 155 -"),
    ),
    "a container that was never away": (
        (700, f"C 9 {MOUNT}/kubepods.slice/kubepods-podX.slice/cri-containerd-{'9' * 64}.scope"),
        (700, "c @ 9 0-11"),
        (1500, f"c @ 9 {good.POOL}"),
        (1600, "c @ 9 -"),
    ),
    "the entry goes with the guest": (
        (1500, f"k @ {state(own=None, default='0-5,8-11')}"),
        (1510, "a @ 154 -"),
        (1510, "a @ 155 -"),
    ),
    "the kubelet writes the same, and others": (
        (700, f"k @ {state(default='0-1')}"),
        (710, "k @ half of it {"),
        (720, f"k @ {state()}"),
    ),
    "a quota above all pods": ((0, f"C 8 {MOUNT}/pods.slice"), (0, "q @ 8 2"), (700, "q @ 8 7")),
    "a quota of another pod": (
        (0, f"C 8 {MOUNT}{good.OTHER_CGROUP.rpartition('/')[0]}"),
        (100, "q @ 8 2"),
        (700, "q @ 8 7"),
    ),
    "a cgroup that was gone before its cpuset was read": ((0, f"C 8 {MOUNT}{good.ROOT}x"),),
    "a thread of QEMU that a vCPU has begun": ((700, "T 199 1 worker"), (700, "a @ 199 3")),
    "another guest is pinned anew": (
        (700, "T 300 4 CPU 0/KVM"),
        (700, "a @ 300 6"),
        (800, "a @ 300 7"),
    ),
}


@pytest.mark.parametrize("lines", HARMLESS.values(), ids=HARMLESS)
def test_what_is_right_is_left_alone(lines: tuple[Line, ...], tmp_path: Path) -> None:
    findings = judged(tmp_path, *lines)
    assert failed(findings) == undecided(findings) == set()


def test_a_node_of_which_no_look_came_is_one_that_was_not_watched() -> None:
    snapshot = replace(assemble(good.running()), life=Life((), 0.0))
    finding = registered()["CPU-EXCLUSIVE"].judge(snapshot, good.EXPECTATION)
    assert finding.verdict is Verdict.PASS, finding.message


def test_a_start_accuses_nobody(tmp_path: Path) -> None:
    """Threads begin where their creator is, and the pool is reconciled after a while."""
    late = {"a @ 154 2": 300, "a @ 155 3": 320, f"c @ 3 {good.POOL}": 900}
    start = [(late.get(text, at), text) for at, text in START]
    start += [(0, "a @ 154 2-4"), (0, "a @ 155 2-4"), (0, "c @ 3 0-11")]
    findings = judged(tmp_path, start=sorted(start, key=lambda line: line[0]))
    assert failed(findings) == undecided(findings) == set()


def test_a_kubelet_that_is_late_with_a_former_pool_is_not_accused(tmp_path: Path) -> None:
    before = json.dumps({"policyName": "static", "defaultCpuSet": "0-5,8-11"})
    start = [(0, f"k @ {before}"), *((max(at, 1) if "k @" in t else at, t) for at, t in START)]
    findings = judged(tmp_path, (300, "c @ 3 0-5,8-11"), (700, f"c @ 3 {good.POOL}"), start=start)
    assert failed(findings) == set()
    assert undecided(findings) == {"CPU-EXCLUSIVE"}
    later = judged(
        tmp_path / "later", (1700, "c @ 3 0-5,8-11"), (1800, f"c @ 3 {good.POOL}"), start=start
    )
    assert failed(later) == {"CPU-EXCLUSIVE"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w 2 alone\n",
        "w 1 alone\nC 1 /etc/passwd\n",
        "w 1 alone\na 1 154 0-99999999999\n",
        log((700, "a @ 155 9"), (730, "a @ 155 3")).replace("= ", "? "),
        log((10, "nonsense"), (700, "a @ 155 9"), (730, "a @ 155 3")),
    ],
    ids=["empty", "another form", "a path", "too many CPUs", "no time", "nonsense"],
)
def test_what_was_not_watched_or_not_understood_changes_nothing(text: str, tmp_path: Path) -> None:
    findings = judged(tmp_path, text=text)
    assert failed(findings) == undecided(findings) == set()


def test_what_a_killed_run_had_watched_counts(tmp_path: Path) -> None:
    """It never came to say how much that was."""
    evidence = Evidence(tmp_path)
    write(tmp_path, log((700, "a @ 155 9"), (730, "a @ 155 3"))[:-20])
    bundle.write_run(tmp_path, {**run(), "watch": {good.NODE: 0}})
    found = evidence.judged()
    assert "PIN-THREADS" in failed({each.requirement: each for each in found.findings})
    assert found.problems == ()


def test_a_file_that_is_gone_or_shorter_is_a_problem(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    write(tmp_path, log())
    assert evidence.judged().problems == ()
    (tmp_path / "watch" / f"{good.NODE}.log").write_text(log()[:400])
    (problem,) = evidence.judged().problems
    assert problem.node == good.NODE
    assert "watch/node-1.log has 400 bytes" in problem.message


def test_no_link_or_pipe_is_followed(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "evidence")
    write(evidence.directory, log())
    path = evidence.directory / "watch" / f"{good.NODE}.log"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert evidence.judged().problems


def test_a_report_says_how_a_node_was_watched(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    assert evidence.judged().watches == ()
    write(tmp_path, log())
    (watch,) = evidence.judged().watches
    assert (watch.node, watch.looks, watch.gap, watch.why) == (good.NODE, 200, 0.13, "")
    assert (watch.seconds, watch.cost) == (20.0, 0.08)
    write(tmp_path, log().replace("it was stopped", "node node-1: the connection broke"))
    (watch,) = evidence.judged().watches
    assert watch.why == "node node-1: the connection broke"
    write(tmp_path, "")
    (watch,) = evidence.judged().watches
    assert (watch.looks, watch.why) == (0, "nothing of it was recorded")
