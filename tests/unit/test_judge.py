"""From recorded evidence to one verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.collecting.bundle import (
    Bundle,
    BundleError,
    Problem,
    read,
    write_run,
    write_snapshot,
)
from conformance.exits import Exit
from conformance.judging.maps import Maps
from conformance.judging.report import DETAILED_CASES, judge
from conformance.matrix.cases import case
from conformance.matrix.manifests import Wish
from conformance.model.evidence import RawSnapshot
from conformance.parsing.assemble import assemble
from reports import document as report
from reports.form import dump, load
from reports.write import write_all
from tests.selfproof import mutations as change
from tests.selfproof import recording as good

CAPABILITIES = ("smt", "numa", "guest-console", "libvirt", "node-files")


def bundle(
    *snapshots: RawSnapshot, problems: tuple[Problem, ...] = (), lacking: tuple[str, ...] = ()
) -> Bundle:
    """A run of two cases, one to be admitted and one to be refused."""
    run: Mapping[str, Any] = {
        "run": {
            "id": "r1",
            "tool_version": "0",
            "started": "2026-08-01T10:00:00Z",
            "finished": "2026-08-01T10:05:00Z",
            "seconds": 300.0,
        },
        "cluster": {"provider": "none", "stack": "a recording", "simulation": True},
        "profile": "v1",
        "moments": ["running", "refused", "deleted"],
        "matrix": "smoke",
        "setting": good.RECORDED_SETTING,
        "capabilities": {
            name: {"available": name not in lacking, "reason": "by construction"}
            for name in CAPABILITIES
        },
        "cases": [
            {"id": "demo", "title": "everything at once", "manifest": good.MANIFEST},
            {"id": "refused", "title": "isolation alone", "manifest": good.REFUSED},
        ],
    }
    by_case: dict[str, list[tuple[str, RawSnapshot]]] = defaultdict(list)
    for number, raw in enumerate(snapshots):
        by_case[raw.case].append((f"snapshots/{number}.json", raw))
    return Bundle(run, by_case, problems)


def everything(changed: Callable[[RawSnapshot], RawSnapshot] = lambda raw: raw) -> Bundle:
    return bundle(changed(good.running()), good.deleted(), good.refused())


def finding(document: report.Document, requirement: str) -> report.Finding:
    return next(found for found in document.findings if found.requirement == requirement)


def test_good_evidence_is_conformant() -> None:
    document = judge(everything())
    said = document.conclusion
    assert said.outcome is report.Outcome.CONFORMANT_AS_ASKED, said.reason
    assert said.exit_code == Exit.CONFORMANT
    other = [found for found in document.findings if found.verdict is not report.Verdict.PASS]
    assert [(found.requirement, found.verdict) for found in other] == [
        ("SMT-ALIGNED", report.Verdict.NOT_APPLICABLE)
    ]


def test_document_matches_its_schema_and_comes_back_whole() -> None:
    document = judge(everything())
    assert load(dump(document)) == document


def test_what_was_asked_is_told_and_a_part_of_a_matrix_is_no_whole() -> None:
    selection = {"keyword": "demo", "tests": [], "shape": "default", "left_out": 20}
    whole = everything()
    asked = judge(replace(whole, run={**whole.run, "selection": selection}))
    assert (asked.selection.keyword, asked.selection.left_out) == ("demo", 20)
    by_id = {each.id: each for each in asked.requirements}
    assert by_id["LIFE-RESTART"].standing is report.Standing.NOT_ASKED
    assert by_id["LIFE-RESTART"].why == "left out by -k 'demo'"
    assert asked.conclusion.applying == judge(whole).conclusion.applying


@pytest.mark.parametrize(
    "selection",
    [
        3,
        {},
        [],
        {"keyword": 1, "tests": [], "shape": "", "left_out": 0},
        {"keyword": "", "tests": [{}], "shape": "", "left_out": 0},
        {"keyword": "", "tests": [], "shape": "", "left_out": -1},
    ],
)
def test_a_selection_of_another_form_is_refused(selection: Any) -> None:
    whole = everything()
    with pytest.raises(BundleError, match="selection is not what was written"):
        judge(replace(whole, run={**whole.run, "selection": selection}))


def test_texts_of_evidence_break_no_report(tmp_path: Path) -> None:
    nasty = "</script>\x1b[2J\ud800\u2028|`<img src=x onerror=alert(1)>\x00" + "y" * 100_000
    whole = everything(lambda raw: replace(raw, torn=nasty))
    run = {**whole.run, "matrix": nasty, "cluster": {**whole.run["cluster"], "stack": nasty}}
    problem = Problem(nasty, nasty, nasty, nasty)
    document = judge(replace(whole, run=run, problems=(problem,), faults=(nasty,)))
    for path in write_all(document, tmp_path).values():
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert path.name in {"report.json", "metrics.prom"} or "<img" not in text
    assert load((tmp_path / "report.json").read_text()) == document


def test_judging_twice_says_the_same() -> None:
    assert dump(judge(everything())) == dump(judge(everything()))


def test_one_broken_requirement_is_named() -> None:
    document = judge(everything(change.affinity(150, 155, "2-3")))
    assert document.conclusion.exit_code == Exit.NOT_CONFORMANT
    assert "PIN-THREADS" in document.conclusion.reason
    found = finding(document, "PIN-THREADS")
    assert found.verdict is report.Verdict.FAIL
    assert found.evidence == "evidence/snapshots/0.json"
    assert (found.case, found.node) == ("demo", good.NODE)


def test_nothing_recorded_is_inconclusive() -> None:
    document = judge(bundle())
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE
    assert {found.verdict for found in document.findings} == {report.Verdict.NOT_OBSERVED}


@pytest.mark.parametrize("lacking", [(), ("hugepages",)])
def test_what_cannot_be_created_is_not_applicable(lacking: tuple[str, ...]) -> None:
    mapped = case("numa", "mapped", Wish(1, hugepages="2Mi", numa_passthrough=True))
    run = bundle(lacking=lacking).run
    planned = {"id": mapped.id, "title": mapped.title, "manifest": mapped.manifest}
    capabilities = run["capabilities"] | {"hugepages": {"available": not lacking, "reason": "why"}}
    run = {**run, "cases": [planned], "capabilities": capabilities}
    document = judge(Bundle(run, {}, ()))
    verdict = report.Verdict.NOT_APPLICABLE if lacking else report.Verdict.NOT_OBSERVED
    assert {found.verdict for found in document.findings} == {verdict}
    assert finding(document, "NUMA-MAPPED").verdict is verdict
    # Nor is it evidence that anything was kept.
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE
    if lacking:
        assert document.conclusion.reason == ("No mandatory requirement was seen to be kept.")
        standing = {each.id: each.standing for each in document.requirements}
        assert standing["NUMA-MAPPED"] is report.Standing.NOT_APPLICABLE
        assert standing["QOS-POD"] is report.Standing.NOT_ASKED
        assert document.cases[0].outcome == "not created: the cluster lacks hugepages: why"


def test_missing_moment_is_inconclusive() -> None:
    document = judge(bundle(good.running(), good.refused()))
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE
    assert "LIFE-RELEASED" in document.conclusion.reason


def test_torn_snapshot_is_never_judged() -> None:
    document = judge(everything(lambda raw: replace(raw, torn="the pod's uid changed")))
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE
    assert "the pod's uid changed" in finding(document, "CPU-EXCLUSIVE").message


def test_broken_cluster_is_inconclusive_whatever_was_seen() -> None:
    problem = Problem("running the suite", "node-1 died")
    document = judge(replace(everything(), problems=(problem,)))
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE
    assert "node-1 died" in document.conclusion.reason


def test_violation_counts_although_it_passed() -> None:
    violated = replace(change.affinity(150, 155, "2-3")(good.running()), began="1")
    document = judge(bundle(violated, good.running(), good.deleted(), good.refused()))
    assert finding(document, "PIN-THREADS").verdict is report.Verdict.FAIL


def test_what_settles_is_judged_at_the_end() -> None:
    early = change.set_path("node", "metadata", "labels", "cpumanager", value="false")
    document = judge(bundle(early(good.running()), good.running(), good.deleted(), good.refused()))
    assert document.conclusion.exit_code == Exit.CONFORMANT


def test_known_divergence_is_told_apart_with_its_reference() -> None:
    hardware = {
        path: f"{path.split('/cpu')[2].split('/')[0]}\n" if "siblings" in path else text
        for path, text in good.hardware().items()
    }
    document = judge(everything(lambda raw: replace(raw, hardware=hardware)))
    found = finding(document, "SMT-SIBLINGS")
    assert found.verdict is report.Verdict.KNOWN_DIVERGENCE
    assert "kubevirt#11749" in found.message
    assert document.conclusion.exit_code == Exit.CONFORMANT


def test_divergence_that_the_catalogue_does_not_know_is_a_failure() -> None:
    admitted = replace(good.refused(), rejection=None, vmi=good.running().vmi)
    document = judge(bundle(good.running(), good.deleted(), admitted))
    assert finding(document, "ADM-REFUSE").verdict is report.Verdict.FAIL


def test_interrupted_run_says_so() -> None:
    assert judge(everything(), interrupted=True).conclusion.exit_code == Exit.INTERRUPTED


def test_the_nodes_are_described_by_the_evidence() -> None:
    whole = everything()
    # As a former version recorded it, which knew more of a cluster.
    cluster = {**whole.run["cluster"], "nodes": {"node-1": "", "idle": ""}, "versions": {"x": "1"}}
    document = judge(replace(whole, run={**whole.run, "cluster": cluster}))
    assert document.cluster.nodes == {
        "node-1": (
            "12 CPUs, 6 cores, 2 sockets, 2 NUMA nodes, CPU manager policy static, "
            "reserved 0-1, kubelet v1.36.2"
        ),
        "idle": "",
    }


@pytest.mark.parametrize("mutation", change.PROOFS["CPU-EXCLUSIVE"].breaks, ids=lambda m: m.name)
def test_cpu_maps_are_drawn_of_broken_evidence_too(mutation: change.Mutation) -> None:
    (node,) = judge(everything(mutation.change)).nodes
    assert len(node.cpus) == 12
    assert node.maps


def test_report_of_very_many_cases_leaves_what_passed_to_the_evidence() -> None:
    few = everything(change.affinity(150, 155, "2-3"))
    unseen = [
        {"id": f"c{n}", "title": "t", "manifest": good.MANIFEST} for n in range(DETAILED_CASES)
    ]
    many = replace(few, run={**few.run, "cases": [*few.run["cases"], *unseen]})
    brief, detailed = judge(many), judge(few)
    said = [f for f in detailed.findings if f.verdict is not report.Verdict.NOT_APPLICABLE]
    assert all(found.compared for found in said)
    seen = [found for found in brief.findings if found.case in {"demo", "refused"}]
    assert {found.verdict for found in seen if found.compared} == {report.Verdict.FAIL}
    assert [replace(found, compared=()) for found in seen] == [
        replace(found, compared=()) for found in detailed.findings
    ]


def test_maps_have_a_room_and_those_that_matter_have_it_first() -> None:
    maps = Maps(room=24)
    for number in range(5):
        raw = replace(good.running(), case=f"c{number}")
        maps.add(raw.case, [("", raw, assemble(raw))], matters=number == 3)
    (node,) = maps.nodes()
    assert [cpu_map.case for cpu_map in node.maps] == ["c0", "c3"]
    assert node.left_out == 3


def test_maps_that_matter_do_not_leave_their_room_either() -> None:
    maps = Maps(room=30)
    for number in range(5):
        raw = replace(good.running(), case=f"c{number}")
        maps.add(raw.case, [("", raw, assemble(raw))], matters=number > 1)
    (node,) = maps.nodes()
    assert [cpu_map.case for cpu_map in node.maps] == ["c2", "c3"]


def test_broken_file_costs_its_moment_and_is_named(tmp_path: Path) -> None:
    for raw in (good.running(), good.deleted(), good.refused()):
        write_snapshot(tmp_path, raw)
    write_run(tmp_path, everything().run)
    (broken,) = (tmp_path / "snapshots").glob("demo.running.*")
    broken.write_text("{")
    document = judge(read(tmp_path))
    assert document.conclusion.exit_code == Exit.INCONCLUSIVE
    assert finding(document, "PIN-THREADS").verdict is report.Verdict.NOT_OBSERVED
    assert f"{broken.name} is not JSON" in finding(document, "PIN-THREADS").message
    assert finding(document, "LIFE-RELEASED").verdict is report.Verdict.PASS
    assert finding(document, "ADM-REFUSE").verdict is report.Verdict.PASS


def test_what_may_never_be_is_not_mended_by_a_later_look() -> None:
    stolen = change.checkpoint(
        lambda state: state["entries"].update({good.OTHER_UID: {"compute": "2-4"}})
    )(good.running())
    later = replace(good.running(), began="2026-08-01T10:00:30.000Z")
    document = judge(bundle(stolen, later, good.deleted(), good.refused()))
    found = finding(document, "CPU-EXCLUSIVE")
    assert found.verdict is report.Verdict.FAIL
    assert "is also given to compute" in found.message


def test_what_settles_is_judged_on_the_last_look() -> None:
    early = change.cpuset(good.HOOK_CGROUP, "0-1,4-5,8-11")(good.running())
    later = replace(good.running(), began="2026-08-01T10:00:30.000Z")
    document = judge(bundle(early, later, good.deleted(), good.refused()))
    assert finding(document, "CPU-EXCLUSIVE").verdict is report.Verdict.PASS
