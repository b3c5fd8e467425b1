"""What an administrator does on a kind node, through a stand-in for the engine."""

from __future__ import annotations

import pytest

from clusters.contract.access import AccessError, NodeControl
from clusters.contract.shape import SHAPES
from tests.unit.kind import standins
from tests.unit.kind.conftest import Host
from tests.unit.kind.test_kind_provider import ONE, kubelet_of

WORKER = ONE[1]


@pytest.fixture
def control(host: Host) -> NodeControl:
    host.register(*ONE)
    handle = host.up(nodes=SHAPES["full-pcpus-only"])
    access = host.provider.connect(handle)
    assert access.capabilities()["kubelet-control"].reason == "systemctl through docker exec"
    assert access.control is not None
    return access.control


def test_a_kubelet_is_restarted(host: Host, control: NodeControl) -> None:
    assert control.restart_kubelet(WORKER) == "the kubelet was process 100, then 101"
    assert control.restart_kubelet(WORKER) == "the kubelet was process 101, then 102"
    assert kubelet_of(host, WORKER).policy == "static"


def test_a_policy_is_changed_and_changed_back(host: Host, control: NodeControl) -> None:
    told = kubelet_of(host, WORKER)
    checkpoint = host.directory / "state/nodes" / WORKER / "var/lib/kubelet/cpu_manager_state"
    for policy in ("none", "static"):
        checkpoint.write_text("{}")
        assert "was process" in control.set_cpu_manager_policy(WORKER, policy)
        assert not checkpoint.exists()
        now = kubelet_of(host, WORKER)
        assert (now.policy, now.reserved) == (policy, told.reserved)
        assert bool(now.options) == (policy == "static"), "none refuses to start with options"
    assert kubelet_of(host, WORKER) == told
    config = host.directory / "state/nodes" / WORKER / standins.KUBELET
    assert "cgroupRoot" in config.read_text(), "what kubeadm wrote stays"


def test_a_kubelet_that_does_not_come_back_is_said(host: Host, control: NodeControl) -> None:
    (host.directory / "state/nodes" / WORKER / "broken").touch()
    with pytest.raises(AccessError, match=r"docker exec` says: Job for kubelet.service failed"):
        control.restart_kubelet(WORKER)
    with pytest.raises(AccessError, match=f"there is no worker {ONE[0]}, only {WORKER}"):
        control.restart_kubelet(ONE[0])
