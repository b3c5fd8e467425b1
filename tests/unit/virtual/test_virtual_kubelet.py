"""What a kubelet is told: read by the harness's own parser, an independent witness."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from cryptography import x509

from clusters.contract.shape import SHAPES, CpuManager, NodeSpec
from clusters.virtual import kubelet, node_layout, pki
from conformance.collecting import node
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Kubelet
from conformance.parsing import kubelet as parsing

RESERVED = CpuManager("static", frozenset({0, 1, 7}))


def told(cpu_manager: CpuManager) -> Kubelet:
    return parsing.kubelet(
        yaml.safe_dump(kubelet.configuration(NodeSpec("node-1", cpu_manager=cpu_manager))),
        "config.yaml",
    )


def test_the_reserved_cpus_and_the_policy() -> None:
    found = told(RESERVED)
    assert (found.policy, found.reserved) == ("static", CpuSet({0, 1, 7}))
    assert not found.options


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_shape_of_a_run_can_be_told(shape: str) -> None:
    for asked in SHAPES[shape]:
        found = told(asked.cpu_manager)
        assert found.policy == asked.cpu_manager.policy
        assert dict(found.options) == dict.fromkeys(asked.cpu_manager.options, "true")


def test_no_options_without_the_static_policy() -> None:
    found = told(CpuManager("none", frozenset({0}), frozenset({"full-pcpus-only"})))
    assert (found.policy, dict(found.options)) == ("none", {})


def test_files_are_where_the_harness_reads_them() -> None:
    read = {f"{node_layout.KUBELET_ROOT}/{name}" for name in node.KUBELET}
    assert read == {node_layout.CHECKPOINT, node_layout.CONFIG}


def test_a_kubelet_is_its_node_to_the_api_server(tmp_path: Path) -> None:
    identities = pki.make(tmp_path, 12345)
    files = kubelet.files(NodeSpec("node-2"), 2, identities)
    certificate = x509.load_pem_x509_certificate(files[f"{node_layout.PKI}/kubelet.crt"])
    assert certificate.subject.rfc4514_string() == "CN=system:node:node-2,O=system:nodes"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == ["node-2", "10.10.0.2"]
    server = yaml.safe_load(files[node_layout.KUBECONFIG])["clusters"][0]["cluster"]["server"]
    assert server == "https://10.96.0.1:443"
    assert "--hostname-override=node-2" in kubelet.command("node-2", 2)
    assert "--node-ip=10.10.0.2" in kubelet.command("node-2", 2)


def test_a_node_knows_the_way_to_the_pods_of_every_other() -> None:
    script = kubelet.network_script(2, 3)
    assert "ip address add 10.10.0.2/24 dev eth1" in script
    routes = [line for line in script.splitlines() if line.startswith("ip route")]
    assert routes == [
        "ip route add 10.10.1.0/24 via 10.10.0.1",
        "ip route add 10.10.3.0/24 via 10.10.0.3",
    ]
    # One that is alone has no such device.
    assert "eth1" not in kubelet.network_script(1, 1)


def test_the_control_planes_files_are_private(tmp_path: Path) -> None:
    identities = pki.make(tmp_path / "pki", 12345)
    names = {path.name for path in (tmp_path / "pki").iterdir()}
    assert {"ca.crt", "server.crt", "server.key", "service-accounts.key"} < names
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "pki").iterdir()} == {0}
    admin = yaml.safe_load(Path(identities.path("admin.kubeconfig")).read_text())
    assert admin["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:12345"
