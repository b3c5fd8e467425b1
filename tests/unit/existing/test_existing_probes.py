"""Nodes that are read by a command or through pods of our own, and kubelets that live elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusters import providers
from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError
from clusters.contract.shape import ClusterSpec
from clusters.existing.points import State
from clusters.existing.preflight import preflight
from clusters.existing.probes import CommandShell
from clusters.existing.provider import PROVIDER
from clusters.kit.api import Api
from clusters.kit.waiting import wait
from tests.unit.existing.conftest import FakeApi, node

NODE = {
    "metadata": {"name": "n1"},
    "status": {
        "addresses": [
            {"type": "Hostname", "address": "n1.example"},
            {"type": "InternalIP", "address": "10.0.0.7"},
        ]
    },
}


def test_a_command_gets_one_line_for_the_nodes_shell(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("first")
    (tmp_path / "c").write_text("second")
    shell = CommandShell("sh -c", NODE)
    assert shell.read([f"{tmp_path}/*"]).files == {
        f"{tmp_path}/a b": "first",
        f"{tmp_path}/c": "second",
    }
    assert shell.list([f"{tmp_path}/c"]) == (f"{tmp_path}/c",)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "sh -c 'echo no key >&2; exit 255' {node} {address}",
            r"node n1: .* n1 10\.0\.0\.7` ended with 255: no key",
        ),
        ("no-such-program root@{address}", "cannot be run: No such file"),
    ],
)
def test_a_command_that_reaches_no_shell_says_why(template: str, said: str) -> None:
    shell = CommandShell(template, NODE)
    with pytest.raises(AccessError, match=said):
        shell.read(["/sys/devices/system/cpu/online"])


def test_preflight_looks_through_the_command(api: FakeApi) -> None:
    api.exec_refusal = 403
    found = preflight(api.kubeconfig, node_ssh="false", kubelet_root="/nowhere")
    (gap,) = found.gaps
    assert (gap.subject, gap.state) == ("node access", State.GAP)
    assert "`false` ended with 1" in gap.found
    assert "without asking anything" in gap.mend
    found = preflight(api.kubeconfig, node_ssh="sh -c", kubelet_root="/nowhere")
    assert found.ready
    assert any("/nowhere/cpu_manager_state" in point.found for point in found.points)


def test_the_checkpoint_is_looked_for_below_the_kubelets_root(
    api: FakeApi, node_root: Path, tmp_path: Path
) -> None:
    """Not below the default one, where a former kubelet may have left one."""
    stale = node_root / "var/lib/kubelet/cpu_manager_state"
    stale.write_text('{"policyName":"none"}')
    real = node_root / "data/kubelet"
    real.mkdir(parents=True)
    (real / "cpu_manager_state").write_text('{"policyName":"static"}')
    assert not preflight(api.kubeconfig).ready
    assert preflight(api.kubeconfig, kubelet_root="/data/kubelet").ready
    (tmp_path / "run").mkdir()
    spec = ClusterSpec(options={"kubeconfig": api.kubeconfig, "kubelet_root": "/data/kubelet"})
    handle = PROVIDER.up("x", spec, tmp_path / "run", progress=lambda _: None, detached=True)
    access = PROVIDER.connect(handle)
    assert access.kubelet_root == "/data/kubelet"
    access.close()


def test_probes_need_the_right_to_create_pods(api: FakeApi) -> None:
    api.refused = {("create", "pods")}
    assert preflight(api.kubeconfig).ready
    (gap,) = preflight(api.kubeconfig, probe_image="probe").gaps
    assert "may not create pods" in gap.found


def namespaces(kubeconfig: str) -> set[str]:
    api = Api(kubeconfig)
    names = {item["metadata"]["name"] for item in api.get("/api/v1/namespaces")["items"]}
    api.close()
    return names


def await_end_of_probes(kubeconfig: str, before: set[str]) -> None:
    """Deleting a namespace is the cluster's work; it takes the time that it takes."""

    def left() -> str | None:
        return ", ".join(namespaces(kubeconfig) - before) or None

    wait("the end of the probes' namespaces", left, 60.0, print)


def test_probes_show_the_nodes_and_go_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    simulated = providers.provider("simulated")
    there = simulated.up(
        "there", ClusterSpec(), tmp_path / "c", progress=lambda _: None, detached=False
    )
    try:
        before = namespaces(there.kubeconfig)
        (tmp_path / "run").mkdir()
        # The stack knows programs by the names of images; this one has the node's tools.
        image = "registry.example/virt-handler:probe"
        spec = ClusterSpec(options={"kubeconfig": there.kubeconfig, "probe_image": image})
        said: list[str] = []
        handle = PROVIDER.up("p", spec, tmp_path / "run", progress=said.append, detached=False)
        assert namespaces(there.kubeconfig) - before == {"conformance-probe-p"}
        assert any("a probe shows the node's files on node-1" in line for line in said)
        access = PROVIDER.connect(handle)
        assert access.description.endswith("1 nodes read through probes")
        files = access.node_shell("node-1").read(["/var/lib/kubelet/cpu_manager_state"]).files
        (checkpoint,) = files.values()
        assert json.loads(checkpoint)["policyName"] == "static"
        access.close()
        PROVIDER.down(handle)
        PROVIDER.down(handle)
        await_end_of_probes(there.kubeconfig, before)

        spec = ClusterSpec(options={"kubeconfig": there.kubeconfig, "probe_image": "unknown:1"})
        (tmp_path / "bad").mkdir()
        with pytest.raises(ClusterError, match=r"probe on node node-1 does not run .*ImagePull"):
            PROVIDER.up("bad", spec, tmp_path / "bad", progress=said.append, detached=False)
        await_end_of_probes(there.kubeconfig, before)
    finally:
        simulated.down(there)


def test_a_node_without_an_address_is_called_by_its_name() -> None:
    with pytest.raises(AccessError, match=r"`sh -c 'exit 3' n1` ended with 3"):
        CommandShell("sh -c 'exit 3' {address}", node()).read(["/sys"])
