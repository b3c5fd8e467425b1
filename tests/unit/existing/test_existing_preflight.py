"""Preflight names every gap at once, and how to mend it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from clusters.existing.node_points import cpu_request
from clusters.existing.points import Point, State
from clusters.existing.preflight import Preflight, preflight
from tests.unit.existing.conftest import FakeApi, handler_pod, kubevirt_cr, node


def about(found: Preflight, subject: str) -> list[Point]:
    return [point for point in found.points if point.subject == subject]


def test_a_healthy_cluster_is_ready(api: FakeApi) -> None:
    found = preflight(api.kubeconfig)
    assert found.ready
    assert {point.state for point in found.points} == {State.OK}
    assert (found.kubernetes, found.kubevirt) == ("v1.36.0", "v1.9.0")
    assert {point.subject for point in found.points} == {
        "reachable", "rights", "KubeVirt", "gates", "nodes", "free CPUs", "node access",
    }  # fmt: skip


def test_all_gaps_at_once(api: FakeApi) -> None:
    api.objects["/api/v1/nodes"] = {"items": [node(labels=False)]}
    api.objects["/apis/kubevirt.io/v1/kubevirts"] = {
        "items": [kubevirt_cr(gates=(), Available="False")]
    }
    api.refused = {("create", "virtualmachineinstances"), ("get", "pods/exec")}
    found = preflight(api.kubeconfig)
    assert not found.ready
    assert [point.subject for point in found.gaps] == [
        "rights", "rights", "KubeVirt", "gates", "nodes",
    ]  # fmt: skip
    assert all(point.mend for point in found.gaps)


def test_nothing_answers(api: FakeApi) -> None:
    found = preflight(api.write_kubeconfig("http://127.0.0.1:1", "secret"))
    (gap,) = found.points
    assert gap.state is State.GAP
    assert "nothing answers at http://127.0.0.1:1 (" in gap.found
    assert "is the cluster up" in gap.found


def test_an_expired_token(api: FakeApi) -> None:
    found = preflight(api.write_kubeconfig(f"http://127.0.0.1:{api.port}", "expired"))
    (gap,) = found.gaps
    assert gap.subject == "credentials"
    assert "log in again" in gap.found


def test_refused_rights_say_what_they_are_for(api: FakeApi) -> None:
    api.refused = {("list", "pods"), ("get", "pods"), ("get", "nodes/proxy")}
    limited, gap = about(preflight(api.kubeconfig), "rights")
    assert limited.state is State.LIMITED
    assert "may not get nodes/proxy" in limited.found
    assert gap.state is State.GAP
    assert "may not get and list pods in every namespace" in gap.found
    assert "rbac/run" in gap.mend


def test_no_rights_at_all_is_no_crash(api: FakeApi) -> None:
    for path in ("/api/v1/nodes", "/api/v1/pods", "/apis/kubevirt.io/v1/kubevirts"):
        api.objects[path] = 403
    found = preflight(api.kubeconfig)
    assert {"nodes", "KubeVirt"} == {point.subject for point in found.gaps}


def test_kubevirt_absent(api: FakeApi) -> None:
    api.objects["/apis/kubevirt.io/v1/kubevirts"] = 404
    (gap,) = about(preflight(api.kubeconfig), "KubeVirt")
    assert (gap.state, gap.mend.split(";")[0]) == (State.GAP, "install KubeVirt")


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"Degraded": "True"}, "KubeVirt v1.9.0 is degraded: .*Degraded is True"),
        ({"Available": "False"}, "not available .*Available is False"),
    ],
)
def test_kubevirt_unwell(api: FakeApi, conditions: dict[str, str], said: str) -> None:
    api.objects["/apis/kubevirt.io/v1/kubevirts"] = {"items": [kubevirt_cr(**conditions)]}
    (gap,) = about(preflight(api.kubeconfig), "KubeVirt")
    assert gap.state is State.GAP
    assert re.search(said, gap.found)


def test_a_labelled_node_proves_the_gate_of_the_cpu_manager(api: FakeApi) -> None:
    """Where a gate has become a matter of course nobody lists it any more."""
    api.objects["/apis/kubevirt.io/v1/kubevirts"] = {"items": [kubevirt_cr(gates=())]}
    cpu_manager, sidecar = about(preflight(api.kubeconfig), "gates")
    assert (cpu_manager.state, sidecar.state) == (State.OK, State.LIMITED)


@pytest.mark.parametrize("spec", [{"unschedulable": True}, None])
def test_a_node_that_takes_nothing_does_not_count(
    api: FakeApi, spec: dict[str, Any] | None
) -> None:
    broken = node(**(spec or {}))
    if spec is None:
        broken["status"]["conditions"][0]["status"] = "Unknown"
    api.objects["/api/v1/nodes"] = {"items": [broken]}
    assert about(preflight(api.kubeconfig), "nodes")[0].state is State.GAP


def test_free_cpus_are_what_nobody_requests(api: FakeApi) -> None:
    busy = handler_pod()
    busy["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "7500m"
    done = handler_pod(name="done")
    done["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "9"
    done["status"]["phase"] = "Succeeded"
    api.objects["/api/v1/pods"] = {"items": [busy, done]}
    (point,) = about(preflight(api.kubeconfig, wanted_cpus=2), "free CPUs")
    assert (point.state, "2 on n1" in point.found) == (State.OK, True)
    (point,) = about(preflight(api.kubeconfig, wanted_cpus=3), "free CPUs")
    assert point.state is State.GAP
    assert "takes 3" in point.found


def test_what_a_pod_requests() -> None:
    def container(cpu: str, **more: str) -> dict[str, object]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    sidecar = container("200m", restartPolicy="Always")
    assert cpu_request({"containers": [container("1"), container("500m")]}) * 1000 == 1500
    spec = {"containers": [container("1")], "initContainers": [sidecar, container("3")]}
    assert cpu_request(spec) * 1000 == 3200
    assert cpu_request({"containers": [{}], "overhead": {"cpu": "250m"}}) * 1000 == 250


def test_a_node_without_virt_handler(api: FakeApi) -> None:
    api.objects["/api/v1/nodes"] = {"items": [node("n1"), node("n10")]}
    fine, gap = about(preflight(api.kubeconfig), "node access")
    assert fine.found.endswith("on n1")
    assert "node n10 cannot be read: there is no virt-handler pod" in gap.found


def test_an_exec_that_is_refused(api: FakeApi) -> None:
    api.exec_refusal = 403
    (gap,) = about(preflight(api.kubeconfig), "node access")
    assert "you may not exec" in gap.found


STATE = "var/lib/kubelet/cpu_manager_state"
OTHERS = "is not its kubelet's: its policy is none, and the kubelet's is static (configz)"
ELSEWHERE = "though the kubelet's policy is static (configz): its root is elsewhere"
WRONG = "bears a label of the CPU manager, but its kubelet's policy is none"


@pytest.mark.parametrize(
    ("checkpoint", "kubelet", "state", "said"),
    [
        ('{"policyName":"none"}', "static", State.GAP, OTHERS),
        ('{"policyName":"none"}', "none", State.LIMITED, f"{WRONG} (/{STATE} and configz)"),
        (None, "static", State.LIMITED, ELSEWHERE),
        (None, "none", State.LIMITED, f"{WRONG} (configz)"),
        ("[]", "static", State.GAP, "is unknown"),
    ],
)
def test_a_wrong_root_is_told_from_a_wrong_label(
    api: FakeApi, node_root: Path, checkpoint: str | None, kubelet: str, state: State, said: str
) -> None:
    (node_root / STATE).unlink()
    if checkpoint is not None:
        (node_root / STATE).write_text(checkpoint)
    configz = {"kubeletconfig": {"cpuManagerPolicy": kubelet}}
    api.objects["/api/v1/nodes/n1/proxy/configz"] = configz
    (point,) = about(preflight(api.kubeconfig), "node access")
    assert point.state is state
    assert said in point.found
    assert ("--kubelet-root" in point.mend) is (kubelet == "static")


@pytest.mark.parametrize(
    ("path", "text", "state", "said"),
    [
        ("sys/fs/cgroup/cgroup.controllers", None, State.LIMITED, "cgroup v1"),
        ("var/lib/kubelet/cpu_manager_state", None, State.LIMITED, "root may be elsewhere"),
        ("var/lib/kubelet/cpu_manager_state", '{"policyName":"none"}', State.GAP, "is none; the"),
        ("var/lib/kubelet/cpu_manager_state", "[]", State.GAP, "is unknown"),
        ("sys/devices/system/cpu/online", None, State.GAP, "is not there"),
    ],
)
def test_what_is_amiss_on_a_node(
    api: FakeApi, node_root: Path, path: str, text: str | None, state: State, said: str
) -> None:
    (node_root / path).unlink()
    if text is not None:
        (node_root / path).write_text(text)
    (point,) = about(preflight(api.kubeconfig), "node access")
    assert (point.state, said in point.found) == (state, True)
