"""Evidence from anybody: files that are none, forms that are others, names that lead elsewhere.

One bad file costs what it is about, and is named; nothing of it is a failure of the cluster.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.provider import ClusterError, Handle
from clusters.host import rundir
from conformance.cli import main
from conformance.collecting import bundle, foreign
from conformance.exits import Exit
from conformance.judging.report import judge
from conformance.model.evidence import RawDomain
from reports.document import Outcome
from reports.write import write_all
from tests.selfproof import recording as good
from tests.truth.evidence import Evidence, run

Put = Callable[[Path], object]


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "evidence")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # paths of sockets are short


def elsewhere(path: Path) -> None:
    """What the file said, behind a link."""
    kept = path.parents[2] / "kept"
    kept.write_text('["secret"]')
    path.symlink_to(kept)


def huge(path: Path) -> None:
    """Larger than memory, and nothing on the disk."""
    with path.open("wb") as file:
        file.truncate(2**40)


NO_FILES: dict[str, Put] = {
    "pipe": os.mkfifo,
    "socket": a_socket,
    "directory": Path.mkdir,
    "link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link elsewhere": elsewhere,
    "broken link": lambda path: path.symlink_to("nowhere"),
    "huge": huge,
    "empty": Path.touch,
    "binary": lambda path: path.write_bytes(b"\xff\xfe\x00\x01"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "half": lambda path: path.write_text('{"a": [1, 2'),
}


def put(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(path.parent)
    NO_FILES[kind](path)


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", ["snapshots", "nodes", "hardware"])
def test_what_is_no_file_costs_the_moment_that_needs_it(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    before = evidence.verdicts()
    path = evidence.file(name)
    put(path, kind, monkeypatch)
    document = evidence.judged()
    assert document.conclusion.outcome is Outcome.INCONCLUSIVE
    found = {(each.case, each.requirement): each.verdict for each in document.findings}
    # What is about another moment stays, unless it shares the file.
    unlike = {key for key in before if found[key] != before[key]}
    assert unlike
    assert {found[key] for key in unlike} == {"not-observed"}
    assert ("refused", "ADM-REFUSE") not in unlike
    unseen = [each.message for each in document.findings if each.verdict == "not-observed"]
    assert any(path.name in message for message in unseen)


@pytest.mark.parametrize("kind", NO_FILES)
def test_without_a_record_there_is_one_clear_error(
    evidence: Evidence,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    put(evidence.file("run.json"), kind, monkeypatch)
    assert main(["judge", str(evidence.directory.parent)]) == Exit.USAGE
    said = capsys.readouterr()
    assert "run.json" in said.err
    assert len(said.err.splitlines()) == 1
    assert not list(evidence.directory.parent.glob("report.*"))


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", ["problems/abc.json", "faults.jsonl"])
def test_what_is_beside_the_cases_costs_no_case(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    before = evidence.verdicts()
    put(evidence.file(name), kind, monkeypatch)
    document = evidence.judged()
    assert {(each.case, each.requirement): each.verdict for each in document.findings} == before
    said = [problem.message for problem in document.problems]
    said += [fault.message for fault in document.faults]
    # An empty list of faults is one.
    assert any(name in message for message in said) != ((name, kind) == ("faults.jsonl", "empty"))


@pytest.mark.parametrize("name", ["snapshots", "nodes", "problems"])
def test_a_directory_that_is_a_link_is_not_followed(evidence: Evidence, name: str) -> None:
    path = evidence.directory / name
    (evidence.directory.parent / "other").mkdir()
    moved = evidence.directory.parent / "other" / name
    path.rename(moved) if path.exists() else moved.mkdir()
    path.symlink_to(moved)
    if name == "snapshots":
        with pytest.raises(bundle.BundleError, match="snapshots"):
            evidence.judged()
    else:
        assert evidence.judged().conclusion.outcome is Outcome.INCONCLUSIVE


NO_OBJECTS: tuple[Any, ...] = (
    None,
    True,
    7,
    -1.5,
    10**400,
    "x",
    "",
    [],
    ["x"],
    {},
    {"x": None},
    [[[[]]]],
)
RAW = "case scenario moment began ended manifest vmi pod node events rejection unreadable domain"
MEMBERS = (*RAW.split(), "console", "former", "not_observed", "torn", "done", "hardware", "on_node")


def put_member(member: str, value: object, data: dict[str, Any]) -> None:
    data[member] = value


@pytest.mark.parametrize("member", MEMBERS)
def test_other_types_in_a_snapshot_are_no_failure(evidence: Evidence, member: str) -> None:
    before = evidence.verdicts()
    kept = evidence.file("snapshots").read_text()
    for value in NO_OBJECTS:
        evidence.change("snapshots", partial(put_member, member, value))
        found = evidence.verdicts()
        assert found.keys() == before.keys()
        # A healthy run that lost something may show less, and nothing that was not there.
        assert {found[key] for key in found if found[key] != before[key]} <= {
            "not-observed",
            "not-applicable",
        }, value
        evidence.file("snapshots").write_text(kept)


@pytest.mark.parametrize("name", ["nodes", "hardware"])
@pytest.mark.parametrize("value", [*NO_OBJECTS, [[1], {}], [[], {"/x": 1}], [{}, []], [[], {}, 1]])
def test_other_types_in_what_is_shared_are_no_failure(
    evidence: Evidence, name: str, value: object
) -> None:
    evidence.change(name, lambda _data: {} if value is None else value)
    assert "fail" not in evidence.verdicts().values()


@pytest.mark.parametrize("member", sorted(run()))
@pytest.mark.parametrize("value", NO_OBJECTS)
def test_a_record_of_another_form_is_one_error_or_none(
    evidence: Evidence, member: str, value: object
) -> None:
    evidence.change("run.json", lambda data: data.update({member: value}))
    document, said = None, ""
    try:
        document = evidence.judged()
    except bundle.BundleError as error:
        said = str(error)
    if document is None:
        assert "run.json" in said
        assert len(said) < 400
    else:
        assert "fail" not in {each.verdict for each in document.findings}
        write_all(document, evidence.directory.parent)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"format": NaN}', "NaN"),
        ('{"format": 1e999}', "1e999"),
        ('{"format": -Infinity}', "Infinity"),
        ('{"format": ' + "1" * 5000 + "}", "not JSON"),
        ('{"format": true}', "true or false, not a whole number"),
        ("[]", "a list, not an object"),
    ],
)
def test_numbers_that_are_none_are_refused(evidence: Evidence, text: str, says: str) -> None:
    evidence.file("run.json").write_text(text)
    with pytest.raises(bundle.BundleError, match=says):
        evidence.judged()


def test_a_mark_of_byte_order_and_half_a_surrogate_pair_are_read(evidence: Evidence) -> None:
    before = evidence.verdicts()
    evidence.change(
        "snapshots", lambda data: data.update(console=data["console"] + "\ud800 \U0001f600")
    )
    path = evidence.file("snapshots")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert evidence.verdicts() == before
    (_, raw), _deleted = bundle.read(evidence.directory).snapshots["demo"]
    assert (raw.console or "").endswith("? \U0001f600")


def test_cases_that_cannot_be_told_apart_or_shown_are_refused(evidence: Evidence) -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"spec": deep}
    evidence.change("run.json", lambda data: data["cases"][0].update(manifest=deep))
    with pytest.raises(bundle.BundleError, match="nested too deeply"):
        evidence.judged()
    evidence.change("run.json", lambda data: data.update(cases=data["cases"][1:] * 2))
    with pytest.raises(bundle.BundleError, match="two cases of one id"):
        evidence.judged()


def test_a_scenario_and_a_profile_of_another_version_are_named(evidence: Evidence) -> None:
    evidence.change("run.json", lambda data: data.update(scenarios=["time-travel"]))
    document = evidence.judged()
    assert document.conclusion.outcome is Outcome.INCONCLUSIVE
    assert "time-travel" in document.problems[0].message
    evidence.change("run.json", lambda data: data.update(profile="v7"))
    with pytest.raises(bundle.BundleError, match="no profile 'v7'"):
        evidence.judged()


def test_a_recording_that_is_gone_is_not_passed_over(evidence: Evidence) -> None:
    """Two looks at a VMI, of which the one that shows the violation is taken away."""
    later = replace(good.running(), began="2026-08-01T10:01:00.000Z")
    bundle.write_snapshot(evidence.directory, later)
    bundle.write_run(evidence.directory, run())
    assert "not-observed" not in evidence.verdicts().values()
    path = evidence.directory / "snapshots"
    first, _second = sorted(path.glob("demo.running.*"))
    first.unlink()
    found = evidence.verdicts()
    assert found["demo", "PIN-XML"] == "not-observed"
    assert found["demo", "LIFE-RELEASED"] == "pass"


def misplaced() -> RawDomain:
    """The domain of the good run, with vCPU 0 on a CPU of somebody else."""
    xml = good.domain().xml
    broken = re.sub(r"(vcpu=['\"]0['\"] cpuset=['\"])\d+", r"\g<1>0", xml)
    assert broken != xml
    return replace(good.domain(), xml=broken)


def test_a_violation_survives_what_else_is_lost(evidence: Evidence) -> None:
    began = "2026-08-01T10:01:00.000Z"
    broken = replace(good.running(), began=began, domain=misplaced())
    bundle.write_snapshot(evidence.directory, broken)
    first, _second = sorted((evidence.directory / "snapshots").glob("demo.running.*"))
    first.write_text("{")
    assert evidence.verdicts()["demo", "PIN-XML"] == "fail"


# Formats


def test_evidence_says_its_format(evidence: Evidence) -> None:
    data = json.loads(evidence.file("run.json").read_text())
    assert data["format"] == bundle.FORMAT
    assert len(data["snapshots"]) == 3


def test_former_evidence_is_read(evidence: Evidence) -> None:
    before = evidence.verdicts()

    def former(data: dict[str, Any]) -> None:
        for member in ("format", "snapshots", "scenarios", "phases"):
            data.pop(member)

    evidence.change("run.json", former)
    evidence.change(
        "snapshots", lambda data: [data.pop(name) for name in ("done", "former")] and data
    )
    assert evidence.verdicts() == before


def test_newer_evidence_is_read_as_far_as_it_is_known_and_never_accused(
    evidence: Evidence,
) -> None:
    before = evidence.verdicts()
    evidence.change("run.json", lambda data: data.update(format=bundle.FORMAT + 1, weather="fair"))
    document = evidence.judged()
    assert document.conclusion.outcome is Outcome.INCONCLUSIVE
    assert f"format {bundle.FORMAT + 1}" in document.problems[0].message
    assert evidence.verdicts() == before
    # What this version would call broken may be told by what it does not know.
    evidence.change("snapshots", lambda data: data["domain"].update(xml=misplaced().xml))
    assert evidence.verdicts()["demo", "PIN-XML"] == "not-observed"
    evidence.change("run.json", lambda data: data.update(format=bundle.FORMAT))
    assert evidence.verdicts()["demo", "PIN-XML"] == "fail"


def test_a_snapshot_that_says_more_than_is_known_is_not_judged(evidence: Evidence) -> None:
    evidence.change("snapshots", lambda data: data.update(excuse="a newer kubelet may do so"))
    found = evidence.judged()
    about = [each for each in found.findings if each.case == "demo" and each.moment == "running"]
    assert {each.verdict for each in about} == {"not-observed"}
    assert all("excuse" in each.message for each in about)


# Names


@pytest.mark.parametrize(
    "case",
    [
        "../../x",
        "/etc/x",
        "..",
        ".",
        "a/b",
        "a\nb",
        "a\x1b[31mb",
        "a\0b",
        "x" * 4000,
        "é" * 200,
        "%2e",
    ],
)
def test_ids_lead_nowhere(tmp_path: Path, case: str) -> None:
    directory = tmp_path / "deep" / "evidence"
    path = bundle.write_snapshot(directory, replace(good.running(), case=case))
    bundle.write_log(directory, f"{case}.compute", "gives up")
    planned = [{"id": case, "title": "t", "manifest": good.MANIFEST}]
    bundle.write_run(directory, {**run(), "cases": planned})
    assert path.parent == directory / "snapshots"
    assert path.name.isprintable()
    assert {each.name for each in directory.iterdir()} == {
        "snapshots",
        "nodes",
        "hardware",
        "logs",
        "run.json",
    }
    assert [each.name for each in tmp_path.rglob("*") if each.parent == tmp_path] == ["deep"]
    found = bundle.read(directory).snapshots
    assert found[case][0][1].case == case
    assert len(list(found.values())) == 1
    document = judge(bundle.read(directory))
    assert {each.verdict for each in document.findings if each.moment == "running"} > {"pass"}
    write_all(document, directory.parent)


def test_names_that_are_no_evidence_are_not_taken_for_some(evidence: Evidence) -> None:
    before = evidence.verdicts()
    for name in (
        b"demo.running.\xff.json",
        b"demo.running.\x1b[2J.json",
        b"demo.json",
        b".a.b.c.json",
    ):
        Path(os.fsdecode(os.fsencode(evidence.directory / "snapshots") + b"/" + name)).write_text(
            "{"
        )
    assert evidence.verdicts() == before


# Writing


def test_reports_and_evidence_are_written_through_no_link(
    evidence: Evidence, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for name in ("report.html", "report.json", "junit.xml", "summary.md", "evidence/run.json"):
        path = tmp_path / name
        path.unlink(missing_ok=True)
        path.symlink_to(precious)
    bundle.write_run(evidence.directory, run())
    write_all(evidence.judged(), tmp_path)
    assert precious.read_text() == "kept"
    assert not (tmp_path / "report.html").is_symlink()
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("name", ["", "snapshots", "nodes", "problems", "logs"])
def test_evidence_goes_into_no_directory_that_is_a_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    directory = tmp_path / "evidence"
    if name:
        directory.mkdir()
    (directory / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):  # noqa: PT012 - whichever is first
        bundle.write_problem(directory, bundle.Problem("cleanup", "it stayed"))
        bundle.write_log(directory, "x", "y")
        bundle.write_snapshot(directory, good.running())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_list_of_faults_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / bundle.FAULTS).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        bundle.FaultLog(tmp_path).append("503")
    assert (tmp_path / "precious").read_text() == "kept"


def test_evidence_is_for_its_user_alone(evidence: Evidence) -> None:
    bundle.FaultLog(evidence.directory).append("503")
    for path in (evidence.directory, *evidence.directory.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_directory_that_cannot_be_written_to_is_said(
    evidence: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()
    assert main(["judge", str(tmp_path)]) == Exit.INCONCLUSIVE
    said = capsys.readouterr()
    assert "the reports cannot be written" in said.err
    assert "CONFORMANT" in said.out


def test_the_directory_of_clusters_is_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "cpu-conformance").symlink_to(tmp_path / "mine")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ClusterError, match="remove it"):
        rundir.base()


def test_a_handle_is_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / rundir.HANDLE).symlink_to(tmp_path / "precious")
    handle = Handle("simulated", "dev", "kubeconfig", str(tmp_path), {})
    rundir.write_handle(tmp_path, handle)
    assert (tmp_path / "precious").read_text() == "kept"
    assert Handle.load((tmp_path / rundir.HANDLE).read_text()) == handle


def test_bounds_are_above_what_a_run_records() -> None:
    assert foreign.LARGEST > 20 * 3 * foreign.MIB
