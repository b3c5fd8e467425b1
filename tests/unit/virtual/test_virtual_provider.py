"""The provider without a machine: what it refuses, and what it says it cannot show."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from clusters import providers
from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError, Handle
from clusters.contract.shape import ClusterSpec
from clusters.host import daemon
from clusters.virtual import node_image
from clusters.virtual.access import VirtualAccess
from clusters.virtual.binaries import Binaries
from clusters.virtual.node_layout import IMAGES, KUBELET
from conformance.cli import main
from conformance.exits import Exit
from conformance.matrix.manifests import Images

BINARIES = Binaries(Path("/opt/k8s"), Path("/usr/bin/etcd"))


def test_it_is_known_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no such directory"):
        providers.provider("virtual").up(
            "x",
            ClusterSpec(options={"kubernetes": "/none"}),
            tmp_path,
            progress=print,
            detached=True,
        )
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_what_is_missing(
    runtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["up", "--cluster", "virtual", "--kubernetes", str(tmp_path / "none")])
    assert code == Exit.INCONCLUSIVE
    assert "there is no such directory" in capsys.readouterr().err
    assert not list((runtime / "cpu-conformance").iterdir())


def test_the_request_comes_through(tmp_path: Path) -> None:
    spec = ClusterSpec(
        options={
            "kubernetes": "/opt/k8s",
            "images": "/srv/images",
            "kubevirt": "/srv/kubevirt.yaml",
        }
    )
    assert daemon.load_spec(daemon.dump_spec(spec)) == spec


def test_the_image_that_pods_run_is_made_on_the_node() -> None:
    assert Images().sidecar == node_image.SIDECAR
    assert node_image.extra_files(BINARIES, None)[KUBELET] == Path("/opt/k8s/kubelet")


def test_it_waits_for_the_process_that_it_started() -> None:
    # Not for one whose number the shell that prepares the node would put there: a pod that
    # shares the process ids of the node would start another one each moment.
    files = node_image.extra_files(BINARIES, None)
    config = files[f"{IMAGES}/config.json"]
    assert isinstance(config, bytes)
    assert "& wait $!;" in json.loads(config)["config"]["Cmd"][-1]


def test_image_archives_are_put_on_the_node(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(__file__, "manifest")
    files = node_image.extra_files(BINARIES, str(tmp_path))
    assert [files[f"{IMAGES}/{number}.tar"] for number in (0, 1)] == [
        tmp_path / "a.tar",
        tmp_path / "b.tar",
    ]


@pytest.mark.parametrize(("where", "message"), [("none", "is no image archive"), (".", "no .*tar")])
def test_images_that_are_none_are_refused(tmp_path: Path, where: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        node_image.extra_files(BINARIES, str(tmp_path / where))


def test_what_needs_a_kubevirt_is_lacking_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / daemon.REQUEST).write_text(daemon.dump_spec(ClusterSpec()))
    details = {
        "nodes": "node-1",
        "acceleration": "tcg",
        "kubernetes": "v1.34.2",
        "kubelet": "v1.34.2",
        "runtime": "containerd://1.7.24",
    }
    access = VirtualAccess(Handle("virtual", "x", str(tmp_path), "", details))
    assert access.description.startswith("Kubernetes v1.34.2 on virtual nodes")
    assert access.description.endswith("without KubeVirt")
    with pytest.raises(AccessError, match="no KubeVirt is deployed"):
        access.libvirt.view("ns", "vmi", {})
    with pytest.raises(AccessError, match="no KubeVirt is deployed"):
        access.guest_console.text("ns", "vmi", bool)
    with pytest.raises(AccessError, match="there is no node node-9, only node-1"):
        access.node_shell("node-9")
    with pytest.raises(AccessError, match="there is no node node-9, only node-1"):
        access.control.restart_kubelet("node-9")
