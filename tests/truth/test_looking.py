"""How a workload is looked at: what changes meanwhile, which pod is its own, whose console."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clusters.contract.access import AccessError, ClusterAccess, Reading
from clusters.kit.api import Api, ApiError, TransientError
from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.collecting.snapshot import NODES, Collector
from conformance.judging.decide import judge
from conformance.judging.terms import Terms
from conformance.model.finding import Verdict
from conformance.parsing import assemble
from tests.selfproof import recording as good
from tests.unit.test_collecting import RecordedNode

Json = dict[str, Any]
NAMESPACE = "ns"


class Cluster:
    """The good recording as an API, a node, a libvirt and a console."""

    kubelet_root = "/var/lib/kubelet"
    nodes = (good.NODE,)

    def __init__(self) -> None:
        raw = good.running()
        assert raw.vmi
        self.vmi: Json = copy.deepcopy(dict(raw.vmi))
        self.own: list[Json] = [copy.deepcopy(good.launcher())]
        self.node: Json = copy.deepcopy(good.node())
        self.refused: dict[str, Exception] = {}
        self.keys = 0
        self.on_read: Callable[[], None] = lambda: None
        self.shell = RecordedNode()
        self.guest_console = SimpleNamespace(text=self._text)
        self.libvirt = SimpleNamespace(view=self._view)
        self.faults: list[str] = []

    # the API

    def find(self, path: str, **_query: str) -> Json | None:
        if "virtualmachineinstances" in path:
            return copy.deepcopy(self.vmi)
        if path.endswith("/configz"):
            return None
        return copy.deepcopy(self.node)

    def items(self, path: str, **query: str) -> list[Json]:
        if "nodeName" in query.get("fieldSelector", ""):
            if error := self.refused.get("pods"):
                raise error
            return copy.deepcopy([*self.own, good.other_pod(), good.handler_pod()])
        if path.endswith("/nodes"):
            return [copy.deepcopy(self.node)]
        return copy.deepcopy(self.own) if path.endswith("/pods") else []

    # the node, its libvirt, a console

    def node_shell(self, node: str) -> Any:
        if node != good.NODE:
            raise AccessError(f"there is no node {node}")
        return SimpleNamespace(read=self._read)

    def _read(self, patterns: Sequence[str]) -> Reading:
        self.on_read()
        return self.shell.read(patterns)

    def _view(self, *_about: object) -> Any:
        raise AccessError("no libvirt here")

    def _text(self, *_about: object) -> str:
        self.keys += 1
        return ""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def collector(cluster: Cluster, own: str | None = None) -> Collector:
    return Collector(cast(Api, cluster), cast(ClusterAccess, cluster), "v1", own=own)


def look(cluster: Cluster, own: str | None = None) -> Any:
    return collector(cluster, own).running("demo", dict(good.MANIFEST), NAMESPACE, "running")


def verdict(raw: Any, requirement: str) -> Verdict:
    terms = Terms("v1", {}, setting=good.SETTING)
    (check,) = (each for each in terms.checks() if each[0].id == requirement)
    return judge(terms, *check, assemble(raw), terms.expect(raw.manifest)).verdict


def test_a_look_at_what_stays_is_whole(cluster: Cluster) -> None:
    assert look(cluster).torn is None


def test_the_libvirt_of_a_launcher_that_runs_is_asked_and_no_other(cluster: Cluster) -> None:
    assert look(cluster).not_observed["domain"] == "no libvirt here"
    ends(cluster)
    assert "no launcher pod of" in look(cluster).not_observed["domain"]
    cluster.own[0]["status"]["phase"] = "Running"
    is_deleted(cluster)
    assert "no launcher pod of" in look(cluster).not_observed["domain"]


def goes_on(cluster: Cluster) -> None:
    cluster.vmi["status"]["phase"] = "Running"


def moves(cluster: Cluster) -> None:
    cluster.vmi["status"]["nodeName"] = "elsewhere"


def begins_to_migrate(cluster: Cluster) -> None:
    cluster.vmi["status"]["migrationState"] = {"startTimestamp": "2026-08-01T10:00:00Z"}


def is_deleted(cluster: Cluster) -> None:
    cluster.own[0]["metadata"]["deletionTimestamp"] = "2026-08-01T10:00:00Z"


def restarts(cluster: Cluster) -> None:
    cluster.own[0]["status"]["containerStatuses"][0]["restartCount"] = 3


def ends(cluster: Cluster) -> None:
    cluster.own[0]["status"]["phase"] = "Succeeded"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (goes_on, "the VMI's phase was Scheduling, then Running"),
        (moves, "the VMI's node"),
        (begins_to_migrate, "the VMI's migration"),
        (is_deleted, "the pod's deletion"),
        (restarts, "restarts"),
        (ends, "the pod's phase"),
    ],
)
def test_c23_what_changes_while_it_is_looked_at_is_torn(
    cluster: Cluster, change: Callable[[Cluster], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.collecting.snapshot.TORN_TRIES", 1)
    cluster.vmi["status"]["phase"] = "Scheduling"
    cluster.on_read = lambda: change(cluster)
    raw = look(cluster)
    assert says in (raw.torn or "")
    assert verdict(raw, "RUN-STARTED") is Verdict.NOT_OBSERVED


def test_c23_what_has_come_to_rest_is_looked_at_again(cluster: Cluster) -> None:
    cluster.vmi["status"]["phase"] = "Scheduling"
    cluster.on_read = lambda: goes_on(cluster)
    raw = look(cluster)
    assert raw.torn is None
    assert raw.vmi["status"]["phase"] == "Running"


def second(node: str, created: str = "2099-01-01T00:00:00Z", **status: Any) -> Json:
    """The launcher pod of a migration."""
    pod = copy.deepcopy(good.launcher())
    pod["metadata"] |= {"uid": "younger", "name": "younger", "creationTimestamp": created}
    pod["spec"]["nodeName"] = node
    pod["status"] |= status
    return pod


def test_c17_the_launcher_is_the_one_where_the_vmi_is(cluster: Cluster) -> None:
    cluster.own.append(second("node-2", phase="Pending"))
    assert look(cluster).pod["metadata"]["uid"] == good.launcher()["metadata"]["uid"]
    waiting = second("node-2", phase="Pending")
    waiting["spec"].pop("nodeName")
    cluster.own[1:] = [waiting]
    assert look(cluster).pod["metadata"]["uid"] == good.launcher()["metadata"]["uid"]


def test_c17_twin_after_the_migration_it_is_the_other(cluster: Cluster) -> None:
    cluster.own.append(second("node-2"))
    cluster.vmi["status"]["nodeName"] = "node-2"
    assert look(cluster).pod["metadata"]["uid"] == "younger"


def test_of_two_on_one_node_it_is_the_one_that_lives(cluster: Cluster) -> None:
    cluster.own.append(second(good.NODE, created="2000-01-01T00:00:00Z", phase="Failed"))
    assert look(cluster).pod["metadata"]["uid"] != "younger"


def test_c24_nobody_elses_console_is_opened(cluster: Cluster) -> None:
    raw = look(cluster)
    assert cluster.keys == 0
    assert raw.console is None
    assert "nobody else's console" in raw.not_observed["console"]
    assert verdict(raw, "GUEST-VCPUS") is Verdict.NOT_OBSERVED
    assert collector(cluster).console(dict(good.MANIFEST), NAMESPACE) is None
    assert collector(cluster, "another").console(dict(good.MANIFEST), NAMESPACE) is None
    assert cluster.keys == 0


def test_c24_twin_the_runs_own_consoles_are(cluster: Cluster) -> None:
    look(cluster, NAMESPACE)
    assert cluster.keys == 1


@pytest.mark.parametrize(
    "error",
    [ApiError("pods", 403), TransientError("500 oops")],
    ids=["refused", "fails"],
)
def test_c10_pods_that_cannot_be_listed_are_not_observed(
    cluster: Cluster, error: Exception
) -> None:
    cluster.refused["pods"] = error
    raw = look(cluster)
    assert str(error) in raw.not_observed["pods"]
    assert raw.pods == ()
    assert verdict(raw, "CPU-EXCLUSIVE") is Verdict.NOT_OBSERVED


def test_what_the_harness_does_not_understand_costs_a_layer_and_says_where(
    cluster: Cluster,
) -> None:
    cluster.refused["pods"] = ZeroDivisionError("by our own fault")
    raw = look(cluster)
    assert "the harness itself broke: ZeroDivisionError" in raw.not_observed["pods"]
    assert "test_looking.py" in raw.not_observed["pods"] or ".py:" in raw.not_observed["pods"]


def test_c18_labels_are_looked_at_on_every_node(cluster: Cluster) -> None:
    (raw,) = collector(cluster).labels()
    assert (raw.case, raw.moment, raw.node) == (NODES, "nodes", cluster.node)
    assert any(path.endswith("cpu_manager_state") for path in raw.files)
    assert not [path for path in raw.files if "cgroup" in path or re.match("/proc/(?!sys/)", path)]
    cluster.node["metadata"]["name"] = "elsewhere"
    (raw,) = collector(cluster).labels()
    assert "none that may be looked into" in raw.not_observed["files"]
