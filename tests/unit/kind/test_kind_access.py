"""A launcher's libvirt from this host: through /proc, else as everywhere."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.access import AccessError, LibvirtView
from clusters.kind.access import HostLibvirt, launcher_socket
from clusters.kit import libvirt_client

ID = "0123456789abcdef" * 4
CGROUP = f"0::/docker/aa/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{ID}.scope/child\n"
LAUNCHER: dict[str, Any] = {
    "metadata": {"name": "virt-launcher-vm"},
    "status": {"containerStatuses": [{"name": "compute", "containerID": f"containerd://{ID}"}]},
}
VIEW = LibvirtView("<domain/>", {0: frozenset({2})}, frozenset({3}), {}, "virsh")


class Virsh:
    def view(self, namespace: str, vmi: str, launcher: Mapping[str, Any]) -> LibvirtView:
        return VIEW


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Process 7 is the launcher's; its socket is there and nobody listens."""
    for pid, cgroup in (("1", "0::/init.scope\n"), ("7", CGROUP)):
        (tmp_path / pid / "root/run/libvirt").mkdir(parents=True)
        (tmp_path / pid / "cgroup").write_text(cgroup)
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("7/root/run/libvirt/virtqemud-sock")
    return tmp_path


def libvirt(proc: Path) -> HostLibvirt:
    return HostLibvirt(Virsh(), proc)


def test_the_socket_is_found_by_the_containers_cgroup(proc: Path) -> None:
    assert launcher_socket(ID, proc) == proc / "7/root/run/libvirt/virtqemud-sock"
    assert launcher_socket("f" * 64, proc) is None


def test_an_absolute_link_in_the_launcher_leads_nowhere(proc: Path) -> None:
    (proc / "7/root/var").mkdir()
    (proc / "7/root/var/run").symlink_to("/run/of/this/host")
    assert launcher_socket(ID, proc) == proc / "7/root/run/libvirt/virtqemud-sock"


def test_a_socket_that_cannot_be_used_is_said_beside_the_other_way(proc: Path) -> None:
    view = libvirt(proc).view("ns", "vm", LAUNCHER)
    assert view.vcpu_pins == VIEW.vcpu_pins
    assert view.source.startswith("virsh (this host's /proc shows libvirt at ")
    assert "does not answer" in view.source
    (proc / "7/cgroup").write_text("0::/\n")
    view = libvirt(proc).view("ns", "vm", LAUNCHER)
    assert view.source == "virsh (this host's /proc shows no socket of it that this user may open)"


def test_both_kinds_of_libvirt_are_tried(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    class Connection:
        def __init__(self, path: Path, mode: str = "system") -> None:
            modes.append(mode)
            if mode == "session":
                raise AccessError("unexpected QEMU URI path '/session', try qemu:///system")

        def view(self, domain: str) -> LibvirtView:
            return LibvirtView(domain, {}, frozenset(), {}, "libvirt-python")

        def close(self) -> None:
            modes.append("closed")

    monkeypatch.setattr(libvirt_client, "LibvirtConnection", Connection)
    assert libvirt(proc).view("ns", "vm", LAUNCHER).xml == "ns_vm"
    assert modes == ["session", "system", "closed"]
