"""Recording: what is read of a node, and that evidence comes back as it was written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

import pytest

from clusters.access import Reading
from conformance.collecting import bundle, last_words
from conformance.collecting.api import Api, ApiError
from conformance.collecting.node import NodeReader
from conformance.parsing import assemble
from tests.selfproof import recording as good


class RecordedNode:
    """A node whose files are those of the good recording; counts round trips."""

    def __init__(self) -> None:
        self.texts = {**good.hardware(), **good.node_files()}
        self.trips = 0

    def read(self, patterns: Sequence[str]) -> Reading:
        self.trips += 1
        found = {
            path: text
            for path, text in self.texts.items()
            if any(self._matches(path, pattern) for pattern in patterns)
        }
        return Reading(found, {})

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(self.read(patterns).files))

    def _matches(self, path: str, pattern: str) -> bool:
        parts = path.split("/")
        if parts[1] == "proc":
            # As in Linux, any thread can be reached as if it were a process.
            path = f"/proc/{parts[4]}/task/{parts[4]}/{parts[5]}"
            parts = path.split("/")
        wanted = pattern.split("/")
        return len(parts) == len(wanted) and all(map(fnmatch, parts, wanted))


def test_two_round_trips_show_all_that_is_judged() -> None:
    shell = RecordedNode()
    files, unreadable = NodeReader(shell, "/var/lib/kubelet").files()
    assert shell.trips == 2
    assert not unreadable
    raw = replace(good.running(), files={**files, good.CONFIGZ: good.node_files()[good.CONFIGZ]})
    assert assemble(raw) == assemble(good.running())


def test_hardware_is_read_once() -> None:
    shell = RecordedNode()
    reader = NodeReader(shell, "/var/lib/kubelet")
    assert reader.hardware() is reader.hardware()
    assert shell.trips == 1
    assert set(reader.hardware()) == set(good.hardware())


def written(directory: Path) -> bundle.Bundle:
    bundle.write_run(directory, {"profile": "v1"})
    for raw in (good.running(), good.deleted(), good.refused()):
        bundle.write_snapshot(directory, raw)
    bundle.write_problem(directory, bundle.Problem("cleanup", "it stayed", case="demo"))
    return bundle.read(directory)


def test_evidence_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert {case: [raw for _name, raw in taken] for case, taken in found.snapshots.items()} == {
        "demo": [good.running(), good.deleted()],
        "refused": [good.refused()],
    }
    assert found.run == {"profile": "v1"}
    assert found.problems == (bundle.Problem("cleanup", "it stayed", case="demo"),)


def test_snapshots_share_the_files_of_the_hardware(tmp_path: Path) -> None:
    (_, running), (_, deleted) = written(tmp_path).snapshots["demo"]
    assert running.hardware is deleted.hardware


def test_snapshots_that_saw_the_same_on_the_node_share_it(tmp_path: Path) -> None:
    bundle.write_run(tmp_path, {})
    for case in ("one", "two"):
        bundle.write_snapshot(tmp_path, replace(good.running(), case=case))
    bundle.write_snapshot(tmp_path, replace(good.deleted(), case="three"))
    found = bundle.read(tmp_path).snapshots
    (_, one), (_, two), (_, three) = (found[case][0] for case in ("one", "two", "three"))
    assert one.files is two.files
    assert one.pods is two.pods
    assert three.files == good.deleted().files
    assert len(list((tmp_path / "nodes").iterdir())) == 2


def test_two_snapshots_of_one_moment_are_both_kept(tmp_path: Path) -> None:
    bundle.write_run(tmp_path, {})
    for began in ("2026-08-01T10:00:00.000Z", "2026-08-01T10:00:00.001Z"):
        bundle.write_snapshot(tmp_path, replace(good.running(), began=began))
    assert len(bundle.read(tmp_path).snapshots["demo"]) == 2


def test_unfinished_file_is_not_evidence(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "snapshots" / ".half.json.123").write_text("{")
    assert set(bundle.read(tmp_path).snapshots) == {"demo", "refused"}
    assert len(bundle.read(tmp_path).snapshots["demo"]) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(surprise=1), "surprise"),
        (lambda data: data.pop("case"), "case"),
        (lambda data: data.update(case="other"), "is about case other"),
        (lambda data: data.update(events=None), "no snapshot"),
        (lambda data: data.update(on_node="gone"), r"gone\.json is missing"),
    ],
)
def test_file_of_another_form_is_named(tmp_path: Path, change: object, says: str) -> None:
    written(tmp_path)
    path = next((tmp_path / "snapshots").glob("demo.running*"))
    data = json.loads(path.read_text())
    change(data)  # type: ignore[operator]
    path.write_text(json.dumps(data))
    found = bundle.read(tmp_path)
    with pytest.raises(bundle.BundleError, match=says) as error:
        found.snapshots["demo"]
    assert path.name in str(error.value)
    assert found.snapshots["refused"]


def test_directory_without_evidence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bundle.BundleError, match=r"run\.json is missing"):
        bundle.read(tmp_path)


class Talkative:
    """An API that has the log of each container but one."""

    def text(self, path: str, **query: str) -> str:
        assert path == "/api/v1/namespaces/ns/pods/virt-launcher-vm-x/log"
        if query["container"] == "secret":
            raise ApiError(403, {"reason": "Forbidden"})
        return f"{query['container']} gives up\n"


def test_what_a_launcher_said_last_is_kept(tmp_path: Path) -> None:
    ended = {"terminated": {"exitCode": 1}}
    waits = {"waiting": {"reason": "PodInitializing"}}
    pod = {
        "metadata": {"namespace": "ns", "name": "virt-launcher-vm-x"},
        "status": {
            "initContainerStatuses": [{"name": "kernel-boot", "state": ended}],
            "containerStatuses": [
                {"name": "compute", "state": ended},
                {"name": "secret", "state": ended},
                {"name": "late", "state": waits},
                {"name": "unseen"},
            ],
        },
    }
    last_words.keep(cast(Api, Talkative()), pod, tmp_path, "isolate")
    kept = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert kept == {
        "isolate.kernel-boot.log": "kernel-boot gives up\n",
        "isolate.compute.log": "compute gives up\n",
    }
