"""Recording: what is read of a node, and that evidence comes back as it was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

import pytest

from clusters.contract.access import Reading
from clusters.kit.api import Api, ApiError
from conformance.collecting import bundle, last_words
from conformance.collecting.node import NodeReader
from conformance.parsing import assemble
from tests.selfproof import recording as good


class RecordedNode:
    """A node whose files are those of the good recording; counts round trips.

    Args:
        seen_from: the cgroup namespace of whoever reads: paths of processes begin there.
    """

    def __init__(self, seen_from: str = "") -> None:
        self.texts = {**good.hardware(), **good.node_files()}
        self.texts |= {f"{good.CGROUPS}{good.ROOT}/cpu.stat": "usage_usec 7\nnr_throttled 0\n"}
        self.processes = {"1": "/init.scope", "2": "/"}
        for path, text in good.node_files().items():
            if path.endswith("/cgroup.threads"):
                where = path.removeprefix(good.CGROUPS).rpartition("/")[0]
                self.processes |= dict.fromkeys(text.split(), where)
        for pid, where in self.processes.items():
            self.texts[f"/proc/{pid}/cgroup"] = f"0::{seen_from}{where}\n"
        self.status("1", "init", "0-11", parent=0)
        self.status("2", "kthreadd", "0-11", parent=0)
        self.trips = 0
        self.asked: set[str] = set()

    def status(self, pid: str, name: str, cpus: str, *, parent: int = 1, place: str = "") -> None:
        self.texts[f"/proc/{pid}/status"] = (
            f"Name:\t{name}\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\n"
            f"Cpus_allowed_list:\t{cpus}\n"
        )
        if place:
            self.texts[f"/proc/{pid}/cgroup"] = f"0::{place}\n"

    def read(self, patterns: Sequence[str]) -> Reading:
        self.trips += 1
        self.asked = set(patterns)
        found = {
            path: text
            for path, text in self.texts.items()
            if any(self._matches(path, pattern) for pattern in patterns)
        }
        return Reading(found, {})

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Directories as well."""
        self.trips += 1
        parts = [path.split("/") for path in self.texts]
        paths = {"/".join(each[:length]) for each in parts for length in range(2, len(each) + 1)}
        return tuple(
            sorted(p for p in paths if any(self._matches(p, pattern) for pattern in patterns))
        )

    def _matches(self, path: str, pattern: str) -> bool:
        parts, wanted = path.split("/"), pattern.split("/")
        if parts[1] == "proc" and wanted[1] == "proc" and len(parts) == 6:
            # As in Linux, any thread can be reached as if it were a process.
            parts[2] = wanted[2] if wanted[2] == parts[4] else parts[2]
        return len(parts) == len(wanted) and all(map(fnmatch, parts, wanted))


FIRST = ("/proc/1/status", "/proc/1/cgroup")


def as_recorded(files: dict[str, str]) -> dict[str, str]:
    """Without what shows that the node's own processes were looked at."""
    kept = {path: text for path, text in files.items() if path not in FIRST}
    return {**kept, good.CONFIGZ: good.node_files()[good.CONFIGZ]}


def test_two_round_trips_show_all_that_is_judged() -> None:
    shell = RecordedNode()
    files, unreadable = NodeReader(shell, "/var/lib/kubelet").files()
    assert shell.trips == 2
    assert not unreadable
    assert files[f"{good.CGROUPS}{good.ROOT}/cpu.stat"] == "nr_throttled 0\n"
    raw = replace(good.running(), files=as_recorded(files))
    throttled = {f"{good.CGROUPS}{good.ROOT}/cpu.stat": "nr_throttled 0\n"}
    plain = replace(good.running(), files={**good.node_files(), **throttled})
    assert assemble(raw) == assemble(plain)


def test_whatever_the_root_is_called_and_however_deep_a_process_sits() -> None:
    shell = RecordedNode()
    deep = "/odd.slice/odd-kubepods.slice/odd-kubepods-podu.slice/crio-1.scope/a/b/c/d/e/f/g"
    shell.texts[f"{good.CGROUPS}{deep}/cgroup.threads"] = "900\n"
    shell.texts["/proc/900/cgroup"] = f"0::{deep}\n"
    shell.texts["/proc/900/task/900/status"] = "Name:\tdeep\n"
    left = "/odd.slice/odd-kubepods.slice/odd-kubepods-podv.slice/cpuset.cpus.effective"
    shell.texts[f"{good.CGROUPS}{left}"] = "0-11\n"
    files, _ = NodeReader(shell, "/var/lib/kubelet").files()
    assert {f"{good.CGROUPS}{deep}/cgroup.threads", f"{good.CGROUPS}{left}"} <= set(files)
    assert "/proc/900/task/900/status" in files


def test_a_reader_in_a_cgroup_namespace_of_its_own_finds_them_by_name() -> None:
    shell = RecordedNode(seen_from="/../..")
    files, _ = NodeReader(shell, "/var/lib/kubelet").files()
    assert assemble(replace(good.running(), files=as_recorded(files))).pod is not None
    threads = {path for path in good.node_files() if path.startswith("/proc/")}
    tids = {path.split("/")[4] for path in files if path.startswith("/proc/")}
    assert {path.split("/")[4] for path in threads} == tids
    assert "/proc/1/status" not in files


def test_of_processes_outside_of_pods_those_are_kept_that_are_pinned() -> None:
    shell = RecordedNode()
    shell.status("900", "stress", "3", place="/user.slice")
    shell.status("901", "sshd", "0-11", place="/system.slice/ssh.service")
    shell.status("902", "ksoftirqd/3", "3", parent=2, place="/")
    reader = NodeReader(shell, "/var/lib/kubelet")
    files, _ = reader.files()
    assert {path for path in files if path.count("/") == 3 and path.startswith("/proc")} == {
        *FIRST,
        "/proc/900/status",
        "/proc/900/cgroup",
    }
    reader.files()
    assert "/proc/902/status" not in shell.asked, "what is a kernel thread stays one"
    host = assemble(replace(good.running(), files=as_recorded(files) | files)).node
    assert host is not None
    assert host.host is not None
    assert [each.name for each in host.host] == ["stress"]


def test_of_kernel_threads_the_timers_of_guests_are_kept_whenever_they_are_looked_at() -> None:
    shell = RecordedNode()
    shell.status("901", "kvm-pit/80", "0-11", parent=2, place="/")
    shell.status("902", "ksoftirqd/3", "3", parent=2, place="/")
    shell.status("903", "kvm-pit/80", "3", place="/user.slice")  # somebody's joke
    reader = NodeReader(shell, "/var/lib/kubelet")
    for _look in range(2):
        files, _ = reader.files()
        node = assemble(replace(good.running(), files=as_recorded(files) | files)).node
        assert node is not None
        assert [each.pid for each in node.timers or ()] == [901]
    many = RecordedNode()
    many.texts |= {"/proc/5001/comm": "kvm-pit/80\n", "/proc/5002/comm": "kworker/0:1\n"}
    for number in range(5000, 6000):
        many.status(str(number), "kworker/0:1", "3", parent=2, place="/")
    many.status("5001", "kvm-pit/80", "2", parent=2, place="/")
    reader = NodeReader(many, "/var/lib/kubelet")
    for _look in range(2):
        files, _ = reader.files()
        assert "/proc/5001/status" in files
        assert not any(path.endswith("/comm") for path in files)


def test_of_too_many_processes_outside_of_pods_none_is_read() -> None:
    shell = RecordedNode()
    for number in range(1000, 2000):
        shell.status(str(number), "busy", "3", place="/system.slice/busy.service")
    files, _ = NodeReader(shell, "/var/lib/kubelet").files()
    assert not any(path.count("/") == 3 for path in files if path.startswith("/proc"))


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
        (lambda data: data.update(surprise=1), "surprise, which this version does not know"),
        (lambda data: data.pop("case"), "lacks case"),
        (lambda data: data.update(case="other"), "is about case other"),
        (lambda data: data.update(events=None), "events is null, not a list"),
        (lambda data: data.update(on_node="gone"), "gone.json is missing"),
        (lambda data: data.update(on_node="../run"), "names no file in nodes"),
        (lambda data: data["domain"].update(xml=1), "xml is a whole number, not text"),
    ],
)
def test_file_of_another_form_is_lost(
    tmp_path: Path, change: Callable[[Any], object], says: str
) -> None:
    written(tmp_path)
    path = next((tmp_path / "snapshots").glob("demo.running*"))
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    found = bundle.read(tmp_path).snapshots
    (_, lost), (_, deleted) = found["demo"]
    assert says in (lost.lost or "")
    assert path.name in (lost.lost or "")
    assert (lost.case, lost.moment) == ("demo", "running")
    assert deleted == good.deleted()
    assert found["refused"][0][1].lost is None


def test_directory_without_evidence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bundle.BundleError, match=r"run\.json is missing"):
        bundle.read(tmp_path)


class Talkative:
    """An API that has the log of each container but one."""

    def text(self, path: str, **query: str) -> str:
        assert path == "/api/v1/namespaces/ns/pods/virt-launcher-vm-x/log"
        if query["container"] == "secret":
            raise ApiError("Forbidden", 403)
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
