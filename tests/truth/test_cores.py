"""Cores and threads of nodes of every kind, and whole cores that were to be had."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.checks.registry import registered
from conformance.checks.turned_away import turned_away
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import RawSnapshot
from conformance.model.topology import Topology
from conformance.model.watch import Given, Life, Seen, Watch
from conformance.parsing import assemble, guest
from conformance.parsing.domain import domain
from conformance.parsing.topology import topology
from tests.selfproof import recording as good
from tests.selfproof.mutations import both, checkpoint, cpuset, lost, without
from tests.truth.changes import BROKEN, KEPT, NONE, UNSEEN, configz, judged, pod_objects
from tests.unit.test_parsing import DOMAIN

VECTORS = Path(__file__).parents[1] / "recorded/kubelet-allocation.json"
SYS = "/sys/devices/system"


def hardware(*cores: tuple[int, ...], nodes: dict[int, str] | None = None) -> dict[str, str]:
    """Files of a node with these cores in one package."""
    online = CpuSet(cpu for core in cores for cpu in core)
    files = {f"{SYS}/cpu/online": f"{online}\n"}
    for number, core in enumerate(cores):
        for cpu in core:
            directory = f"{SYS}/cpu/cpu{cpu}/topology"
            files[f"{directory}/core_id"] = f"{number}\n"
            files[f"{directory}/physical_package_id"] = "-1\n"
            files[f"{directory}/thread_siblings_list"] = f"{CpuSet(core)}\n"
    return files | {f"{SYS}/node/node{n}/cpulist": f"{cpus}\n" for n, cpus in (nodes or {}).items()}


def host(*cores: tuple[int, ...], nodes: dict[int, str] | None = None) -> Topology:
    return topology(hardware(*cores, nodes=nodes))


def test_machines_of_every_kind_are_read() -> None:
    large = host(*((n, n + 288) for n in range(288)))
    assert (len(large.cpus), large.cpus_per_core, large.uniform) == (576, 2, True)
    memory_only = host((0, 1), (2, 3), nodes={0: "0-3", 1: ""})
    assert memory_only.numa_nodes == {0: CpuSet(range(4))}
    sparse = host((0, 8), (3, 11))
    assert sparse.online == CpuSet({0, 3, 8, 11})
    assert sparse.sockets == {-1}
    mixed = host((0, 1), (2,), (3,))
    assert (mixed.threads_per_core, mixed.cpus_per_core, mixed.uniform) == (2, 1, False)
    offline = host((0, 1), (2, 3), (4,))
    assert (offline.cpus_per_core, offline.uniform) == (1, False)


MIXED = hardware(*((n, n + 1) for n in range(0, 8, 2)), *((n,) for n in range(8, 12)))
WHOLE = configz(reservedSystemCPUs="0-1", cpuManagerPolicyOptions={"full-pcpus-only": "true"})


def on(files: dict[str, str]) -> Any:
    return lambda raw: replace(raw, hardware=files)


def rejected(raw: RawSnapshot) -> RawSnapshot:
    return good.turned_away()


def test_whole_cores_are_counted_as_the_kubelet_counts_them() -> None:
    """Four cores of two threads and four of one are one CPU a core: three are not rejected."""
    assert judged("SMT-ALIGNED", WHOLE, on(MIXED)).verdict is NONE
    assert judged("SMT-ALIGNED", WHOLE).verdict is BROKEN
    assert judged("SMT-ALIGNED", rejected).verdict is KEPT
    snapshot = assemble(on(MIXED)(good.turned_away()))
    assert turned_away(snapshot, good.EXPECTATION) is None


def given(cpus: str, pins: tuple[str, str], emulator: str, pool: str) -> Any:
    """Compute owns these CPUs, by every witness that SMT-SIBLINGS asks."""
    return both(
        lambda raw: replace(
            raw,
            domain=replace(
                good.domain(), vcpu_pins=dict(zip("01", pins, strict=True)), emulator_pin=emulator
            ),
        ),
        checkpoint(
            lambda state: (
                state["entries"].update({good.UID: {"compute": cpus}}),
                state.update(defaultCpuSet=pool),
            )
        ),
        cpuset(good.ROOT, cpus),
    )


APART = given("2,4,8", ("2", "4"), "8", "0-1,3,5,9-11")


def test_c19_threads_of_two_cores_although_a_core_was_free() -> None:
    finding = judged("SMT-SIBLINGS", APART)
    assert finding.verdict is BROKEN
    assert "2-3 and 4-5" in finding.message


def test_c19_a_core_that_is_free_elsewhere_may_have_been_given_back_since() -> None:
    """Others have the other threads of its cores: whoever had core 10-11 may have gone."""
    elsewhere = given("2,4,8", ("2", "4"), "8", "0-1,10-11")
    assert judged("SMT-SIBLINGS", elsewhere).verdict is UNSEEN


@pytest.mark.parametrize(
    "pool",
    ["0-1", "0-1,9", "0-1,11"],
    ids=["nothing", "a thread", "another thread"],
)
def test_c19_no_core_was_free(pool: str) -> None:
    """CPUs 0-1 are a whole core of the pool, and reserved."""
    taken = given("2,4,6", ("2", "4"), "6", pool)
    assert judged("SMT-SIBLINGS", taken).verdict is NONE


def test_c19_what_else_may_explain_it() -> None:
    spread = configz(
        reservedSystemCPUs="0-1",
        cpuManagerPolicyOptions={"distribute-cpus-across-cores": "true"},
    )
    assert judged("SMT-SIBLINGS", APART, spread).verdict is NONE
    near = configz(reservedSystemCPUs="0-1", topologyManagerPolicy="single-numa-node")
    assert judged("SMT-SIBLINGS", given("2,4", ("2", "4"), "4", "0-1,8-11"), near).verdict is NONE
    assert judged("SMT-SIBLINGS", given("2,4", ("2", "4"), "4", "0-1,3,5,8-11")).verdict is BROKEN
    assert judged("SMT-SIBLINGS", APART, without("/configz")).verdict is UNSEEN


def going(pods: list[Any]) -> None:
    pods[1]["metadata"]["deletionTimestamp"] = "2026-08-01T10:00:00Z"


def late(pods: list[Any]) -> None:
    pods[0]["status"]["containerStatuses"][0]["state"] = {
        "running": {"startedAt": "2026-08-01T08:00:00Z"}
    }


@pytest.mark.parametrize("change", [going, late])
def test_c19_others_may_have_given_it_back_since(change: Any) -> None:
    assert judged("SMT-SIBLINGS", APART, pod_objects(change)).verdict is UNSEEN


def started(pods: list[Any]) -> None:
    pods[0]["status"]["containerStatuses"][0]["state"] = {
        "running": {"startedAt": "2026-08-01T09:58:00Z"}
    }


@pytest.mark.parametrize(
    ("when", "verdict"),
    [("2026-08-01T09:59:00.000+00:00", UNSEEN), ("2026-08-01T09:57:59.000+00:00", BROKEN)],
)
def test_c19_another_vmi_of_the_run_gave_a_core_back(when: str, verdict: Any) -> None:
    def gone(raw: RawSnapshot) -> RawSnapshot:
        return replace(raw, given_back=(f"{when} 10-11",))

    assert judged("SMT-SIBLINGS", APART, pod_objects(started), gone).verdict is verdict


def test_c19_kubelets_take_whole_cores_first() -> None:
    """The rule of the check, by the answers of a real kubelet."""
    compared = 0
    for vector in json.loads(VECTORS.read_text()):
        cores: dict[int, set[int]] = defaultdict(set)
        for cpu, core, *_ in vector["cpus"]:
            cores[core].add(cpu)
        (threads, *others) = {len(core) for core in cores.values()}
        if vector["option"] != "default" or "result" not in vector or others or threads == 1:
            continue
        free, taken = CpuSet.parse(vector["available"]), CpuSet.parse(vector["result"])
        could = min(vector["request"] // threads, sum(core <= free for core in cores.values()))
        assert sum(core <= taken for core in cores.values()) == could
        compared += 1
    assert compared > 100


def test_n03_dies_and_clusters_are_read_as_they_are() -> None:
    xml = DOMAIN.replace("sockets='8'", "sockets='8' dies='2' clusters='3'")
    found = domain(xml, "virsh").topology
    assert found is not None
    assert (found.sockets, found.dies, found.clusters) == (8, 2, 3)


def two_dies(*, siblings: tuple[str, str]) -> str:
    """A guest of one socket and two dies, each with a core 0 of two threads."""
    report = good.guest() | {"cores_per_socket": 2, "online": "0-3", "nodes": {"0": "0-3"}}
    report["cpus"] = [
        {"cpu": cpu, "socket": 0, "core": 0, "siblings": siblings[cpu // 2], "node": 0}
        for cpu in range(4)
    ]
    return good.guest_line(report) + "\n"


def test_n03_ids_of_cores_begin_anew_in_each_die() -> None:
    wanted = replace(good.EXPECTATION, cores=2, vcpus=4)

    def console(*siblings: str) -> Any:
        text = two_dies(siblings=(siblings[0], siblings[-1]))
        return lambda raw: replace(raw, console=text)

    kept = judged("GUEST-TOPOLOGY", console("0-1", "2-3"), expectation=wanted)
    assert kept.verdict is KEPT, kept.message
    assert guest.guest(two_dies(siblings=("0-1", "2-3")), "console") is not None
    for wrong in (("0-3",), ("0-1", "0,2-3")):
        finding = judged("GUEST-TOPOLOGY", console(*wrong), expectation=wanted)
        assert finding.verdict is BROKEN


def test_c19_without_its_witnesses_nothing_is_said() -> None:
    assert judged("SMT-SIBLINGS", APART, lost("console", "closed", console=None)).verdict is UNSEEN


FOURS = hardware(*((n, n + 1, n + 2, n + 3) for n in range(0, 12, 4)))


def test_a_pair_of_guest_siblings_may_share_a_core_of_four_threads() -> None:
    near = given("4-7", ("4", "5"), "6", "0-3,8-11")
    assert judged("SMT-SIBLINGS", on(FOURS), near).verdict is KEPT
    apart = given("4-8", ("4", "8"), "5", "0-3,9-11")
    assert judged("SMT-SIBLINGS", on(FOURS), apart).verdict is BROKEN


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        ("0-5,8-11", BROKEN),
        ("0-5,8-9,11", BROKEN),
        ("0-2,4,8", NONE),
        # Core 8-9 was free, and somebody else had it before compute was given its CPUs.
        ("0-2,4,8-9", NONE),
    ],
)
def test_c19_what_was_free_just_before_decides(before: str, verdict: Any) -> None:
    """Everybody who crowded the node has left by now without a trace."""
    state = Given(CpuSet.parse("0-1,3,5,10-11"), {(good.UID, "compute"): CpuSet.parse("2,4,8")})
    looks = (Seen(1.0, Given(CpuSet.parse(before), {})), Seen(2.0, state))
    life = Life((Watch("watch/node-1.log", 0.0, 9.0, checkpoints=looks),), 9.0)
    snapshot = replace(assemble(APART(good.running())), life=life)
    finding = registered()["SMT-SIBLINGS"].judge(snapshot, good.EXPECTATION)
    assert finding.verdict is verdict
    assert (", by watch/node-1.log at " in finding.message) is (verdict is BROKEN)
