"""Clusters of other releases and configurations: kept as they are, broken where they really are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clusters.existing.node_points import labelled
from clusters.existing.points import State
from conformance import editions
from conformance.matrix.manifests import Wish, vmi
from conformance.matrix.oracle import expect
from conformance.model.release import Release
from conformance.parsing.setting import setting
from reports.document import Verdict
from tests.selfproof.mutations import set_path
from tests.truth.changes import BROKEN, KEPT, UNSEEN, judged, pod_objects
from tests.truth.recordings import Recording

Json = dict[str, Any]
BOTH = '"cpumanager": "true", '
NEW = '"kubevirt.io/cpumanager": "true"'
EVEN_PARITY = "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity"
LABELS = {"NODE-LABEL", "NODE-SELECT"}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def only_the_old_label(recording: Recording) -> None:
    """Nodes, and what launchers select, as every release before 1.8 has them."""
    assert recording.rewrite((BOTH, ""), (NEW, '"cpumanager": "true"'))


def only_the_new_label(recording: Recording) -> None:
    assert recording.rewrite((BOTH, ""))


@pytest.mark.parametrize("release", ["v1.0.0", "v1.3.1", "v1.6.6", "v1.7.4", "v1.7.0-rc.1"])
def test_c04_releases_before_1_8_have_one_label(recording: Recording, release: str) -> None:
    only_the_old_label(recording)
    recording.kubevirt(release)
    assert not LABELS & (recording.failed() | recording.by_verdict(Verdict.NOT_OBSERVED))


@pytest.mark.parametrize("release", ["v1.8.0", "v1.8.4", "v1.9.0"])
def test_c04_twin_a_release_of_two_labels_that_writes_one_is_broken(
    recording: Recording, release: str
) -> None:
    only_the_old_label(recording)
    recording.kubevirt(release)
    assert recording.failed() >= LABELS


@pytest.mark.parametrize("release", ["v4.19.3", "v4.99.0-0.1752", "sha256:6f3b", "v1.8.0-beta.0"])
def test_c04_the_numbers_of_a_vendor_say_nothing_of_labels(
    recording: Recording, release: str
) -> None:
    """OpenShift Virtualization 4.19 is of KubeVirt 1.5, and writes the old label alone."""
    only_the_old_label(recording)
    recording.kubevirt(release)
    assert not LABELS & recording.failed()
    assert recording.by_verdict(Verdict.NOT_OBSERVED) >= LABELS


@pytest.mark.parametrize("release", ["v1.9.0-beta.0-845-gdeadbeef", "v1.9.0-alpha.0.12+gabcdef0"])
def test_c03_a_build_of_the_main_branch_may_be_of_any_later_release(
    recording: Recording, release: str
) -> None:
    only_the_new_label(recording)
    recording.kubevirt(release)
    assert not LABELS & recording.failed()
    assert recording.rewrite((NEW, NEW.replace("true", "false")))
    assert "NODE-LABEL" in recording.failed()


def test_a_build_of_the_main_branch_may_have_what_came_later() -> None:
    build, branch = Release.parse("v1.4.0-beta.0-99-gabc"), Release.parse("v1.4.0-rc.1-3-gabc")
    assert editions.lacking(("supplemental-pool",), build, None) is None
    assert editions.lacking(("supplemental-pool",), branch, None) is not None


@pytest.mark.parametrize("release", ["v1.10.0", "v1.11.2", "v2.0.0", "v1.10.0-alpha.0"])
def test_c03_later_releases_have_the_other_label(recording: Recording, release: str) -> None:
    only_the_new_label(recording)
    recording.kubevirt(release)
    assert not LABELS & recording.failed()


@pytest.mark.parametrize("release", ["v1.9.0", "v1.8.4"])
def test_c03_twin_a_release_of_two_labels_lacks_one(recording: Recording, release: str) -> None:
    only_the_new_label(recording)
    recording.kubevirt(release)
    assert "NODE-LABEL" in recording.failed()


def test_labels_of_an_unknown_release_are_not_decided(recording: Recording) -> None:
    only_the_new_label(recording)
    recording.kubevirt("devel")
    assert not LABELS & recording.failed()
    assert "NODE-LABEL" in recording.by_verdict(Verdict.NOT_OBSERVED)


def test_a_label_that_no_release_would_have_is_wrong_of_an_unknown_one_too(
    recording: Recording,
) -> None:
    assert recording.rewrite((BOTH, '"cpumanager": "false", '), (NEW, NEW.replace("true", "false")))
    recording.use(None)
    assert "NODE-LABEL" in recording.failed()


def test_c05_even_parity_of_the_cr_asks_for_two_emulator_cpus(recording: Recording) -> None:
    """One vCPU and one emulator CPU are even; beside two vCPUs two make the sum even."""
    recording.kubevirt("v1.9.0", annotations={EVEN_PARITY: ""}, gates=["AlignCPUs"])
    asked = setting(recording.run["setting"])
    assert asked.even_parity
    assert expect(vmi("a", Wish(cores=2, isolate=True)), "v1", asked).emulator_cpus == 2
    assert expect(vmi("a", Wish(cores=1, isolate=True)), "v1", asked).emulator_cpus == 1
    assert not recording.failed()


@pytest.mark.parametrize(
    ("annotations", "gates"), [({EVEN_PARITY: ""}, []), ({}, ["AlignCPUs"]), ({}, [])]
)
def test_c05_twin_an_annotation_that_nobody_asked_for_is_no_excuse(
    recording: Recording, annotations: dict[str, str], gates: list[str]
) -> None:
    """The stored VMI carries the annotation; neither its manifest nor the CR asks for it."""
    recording.kubevirt("v1.9.0", annotations=annotations, gates=gates)
    asked = setting(recording.run["setting"])
    assert expect(vmi("a", Wish(cores=2, isolate=True)), "v1", asked).emulator_cpus == 1


SIDECAR = '"cpu": "200m", "memory": "64M"'
CHEAP = '"cpu": "50m", "memory": "32Mi"'
CONFIGURED = [
    {"type": "sidecar", "resources": {"limits": {"cpu": "50m", "memory": "32Mi"}}},
    {"type": "container-disk", "resources": {"limits": {"cpu": "1"}}},
]


def test_c06_sidecars_cost_what_the_cr_says(recording: Recording) -> None:
    assert recording.rewrite((SIDECAR, CHEAP))
    recording.kubevirt("v1.9.0", supportContainerResources=CONFIGURED)
    assert not recording.failed()
    assert "SIDE-RESOURCES" in recording.by_verdict(Verdict.PASS)


def test_c06_twin_without_the_cr_or_beside_it_they_cost_something_else(
    recording: Recording,
) -> None:
    assert recording.rewrite((SIDECAR, CHEAP))
    assert recording.failed() == {"SIDE-RESOURCES"}
    other = [{"type": "sidecar", "resources": {"limits": {"cpu": "60m", "memory": "32Mi"}}}]
    recording.kubevirt("v1.9.0", supportContainerResources=other)
    assert recording.failed() == {"SIDE-RESOURCES"}


def test_sidecars_of_an_unread_cr_are_not_decided(recording: Recording) -> None:
    assert recording.rewrite((SIDECAR, CHEAP))
    recording.use(None)
    assert not recording.failed()
    assert "SIDE-RESOURCES" in recording.by_verdict(Verdict.NOT_OBSERVED)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("v1.8.4", "v1.9.0"),
        ("v1.9.0-rc.2", "v1.9.0"),
        ("v1.9.0-alpha.0-12-gabcdef", "v1.9.0"),
        ("v1.9.0", "v1.9.0-12-gabcdef0"),
        ("1.32.9", "v1.33.0-gke.100"),
        ("v1.36.2+k3s1", "1.37"),
    ],
)
def test_releases_have_an_order(earlier: str, later: str) -> None:
    one, other = Release.parse(earlier), Release.parse(later)
    assert one is not None
    assert other is not None
    assert one < other or (one == other and "-12-" in later)


@pytest.mark.parametrize(
    "text", ["", "devel", "v0.0.0-master+$Format:%h$", "latest", "1", "v1.x", "v4.19.3"]
)
def test_what_tells_no_release_is_none(text: str) -> None:
    assert Release.parse(text) is None


def test_what_is_newer_than_the_tables_is_said() -> None:
    newer = editions.beyond(Release.parse("v1.12.0"), Release.parse("v1.40.1"))
    assert len(newer) == 2
    assert "KubeVirt v1.12.0 is newer" in newer[0]
    assert not editions.beyond(Release.parse("v1.9.0"), None)


@pytest.mark.parametrize(
    ("labels", "state"),
    [
        ({"cpumanager": "true"}, State.OK),
        ({"kubevirt.io/cpumanager": "true"}, State.OK),
        ({"cpumanager": "false", "kubevirt.io/cpumanager": "false"}, State.GAP),
        ({}, State.GAP),
    ],
)
def test_c04_a_run_begins_on_nodes_of_every_release(labels: dict[str, str], state: State) -> None:
    node = {
        "metadata": {"name": "n", "labels": {**labels, "kubevirt.io/schedulable": "true"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert labelled([node]).state is state


def test_a_node_object_without_any_label_tells_nothing_of_the_cpu_manager() -> None:
    """Every kubelet labels its node with its name: such an object did not come whole."""
    bare = set_path("node", "metadata", "labels", value={})
    assert judged("NODE-LABEL", bare).verdict is UNSEEN
    others = set_path("node", "metadata", "labels", value={"kubernetes.io/hostname": "node-1"})
    assert judged("NODE-LABEL", others).verdict is BROKEN


ASKS: Json = {
    "matchExpressions": [{"key": "kubevirt.io/cpumanager", "operator": "In", "values": ["true"]}]
}
LINUX: Json = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["l"]}]}
NAMED: Json = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}


@pytest.mark.parametrize(
    ("terms", "verdict"),
    [
        ([ASKS], KEPT),
        ([ASKS, {}], KEPT),
        ([{"matchExpressions": []}, ASKS], KEPT),
        ([ASKS, LINUX], BROKEN),
        ([ASKS, NAMED], BROKEN),
        ([{}], BROKEN),
    ],
)
def test_an_affinity_promises_what_each_of_its_terms_asks_for(
    terms: list[Json], verdict: object
) -> None:
    """Terms are alternatives, and an empty one matches no node."""

    def select(pods: list[Any]) -> None:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        pods[0]["spec"] |= {"nodeSelector": {}, "affinity": {"nodeAffinity": required}}

    assert judged("NODE-SELECT", pod_objects(select)).verdict is verdict
