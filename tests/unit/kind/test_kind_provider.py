"""The provider against commands that record and answer as docker and kind do."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clusters import providers
from clusters.contract import cpuset
from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError, Handle
from clusters.contract.shape import SHAPES
from clusters.host import processes, rundir
from clusters.kind import provider
from clusters.kind.provider import OWNER
from clusters.reference.apiserver.resources import KUBEVIRT, NODE
from clusters.virtual_node import accel
from conformance.model.evidence import Kubelet
from conformance.parsing.kubelet import kubelet
from tests.unit.kind.conftest import Host, write_topology
from tests.unit.kind.standins import KUBELET
from tests.unit.kind.test_kind_tools import archive

ROOT = Path(__file__).parents[3]
ONE = ("conform-one-control-plane", "conform-one-worker")


def kubelet_of(host: Host, node: str) -> Kubelet:
    """The configuration that the kubelet of a node got."""
    return kubelet((host.directory / "state/nodes" / node / KUBELET).read_text(), node)


def test_up_down_and_in_between(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.directory / "dev/kvm").touch()
    monkeypatch.setattr(accel, "guest_problem", lambda: None)
    host.register(*ONE)
    handle = host.up()
    found_again = Handle.load(Path(handle.directory, rundir.HANDLE).read_text())
    assert found_again == handle
    assert OWNER not in handle.details
    assert stat.S_IMODE(Path(handle.kubeconfig).stat().st_mode) == 0o600
    assert Path(handle.kubeconfig).parent == Path(handle.directory)
    assert host.provider.alive(found_again) is None

    assert list(host.nodes) == list(ONE)
    assert host.cpuset(ONE[0]) == "0,4"
    assert host.cpuset(ONE[1]) == "1-3,5-7"
    worker = kubelet_of(host, ONE[1])
    assert worker.policy == "static"
    assert worker.reserved is not None
    assert set(worker.reserved) == {0, 4, 1, 5}
    mounted = {mount["hostPath"] for mount in host.nodes[ONE[1]]["extraMounts"]}
    assert "/dev/kvm" in mounted
    assert "/dev/vhost-net" not in mounted

    access = host.provider.connect(found_again)
    assert access.nodes == ONE
    assert access.description.startswith("KubeVirt of an unknown version on Kubernetes v1.")
    assert "own the CPUs 0-7 of this host; guests run on KVM" in access.description
    read = access.node_shell(ONE[1]).read(["/sys/fs/cgroup/cpuset.*", "/sys/nothing"])
    assert read.files == {"/sys/fs/cgroup/cpuset.cpus.effective": "1-3,5-7\n"}
    assert access.node_shell(ONE[1]).list(["/sys/fs/cgroup/*"]) == (
        "/sys/fs/cgroup/cpuset.cpus.effective",
    )
    with pytest.raises(AccessError, match="there is no node nobody"):
        access.node_shell("nobody")
    assert access.capabilities()["node-files"].reason == "docker exec"
    assert access.capabilities()["disruption"].available
    access.collect_logs(str(host.directory / "logs"))
    assert (host.directory / "logs/kind" / ONE[1] / "kubelet.log").exists()
    access.close()

    host.provider.down(handle)
    host.provider.down(handle)
    assert not host.nodes
    assert not Path(handle.directory).exists()


def test_every_worker_has_its_own_cpus_and_options(host: Host) -> None:
    write_topology(host.directory / "two", sockets=2, cores=4, threads=2, numa=2)
    (host.directory / "sys").rename(host.directory / "old")
    (host.directory / "two").rename(host.directory / "sys")
    host.set(info={"ServerVersion": "28", "NCPU": 16, "CgroupVersion": "2"})
    names = (*ONE, "conform-one-worker2")
    host.register(*names)
    host.up(workers=2, nodes=SHAPES["full-pcpus-only"])
    owned = [cpuset.parse(host.cpuset(node)) for node in names]
    assert sum(map(len, owned)) == len(frozenset().union(*owned)) == 16
    for node, cpus in zip(names[1:], owned[1:], strict=True):
        told = kubelet_of(host, node)
        assert told.options == {"full-pcpus-only": "true"}
        assert told.reserved is not None
        assert set(range(16)) - set(told.reserved) < cpus


def test_kind_is_told_to_touch_nobody_elses_kubeconfig(host: Host) -> None:
    host.register(*ONE)
    handle = host.up()
    (create,) = host.calls("kind", "create")
    assert create[create.index("--kubeconfig") + 1] == handle.kubeconfig
    host.provider.down(handle)
    (delete,) = host.calls("kind", "delete")
    assert delete[delete.index("--kubeconfig") + 1] == handle.kubeconfig


def test_images_are_loaded_and_that_of_the_nodes_into_the_engine(host: Host) -> None:
    host.register(*ONE)
    directory = host.directory / "images"
    directory.mkdir()
    node = archive(directory / "a.tar", "manifest.json", [{"RepoTags": ["kindest/node:v1.35.0"]}])
    other = archive(directory / "b.tar", "manifest.json", [{"RepoTags": ["x/virt-api:v1"]}])
    host.up(images=str(directory))
    assert host.calls("docker", "load") == [["load", "--input", str(node)]]
    (create,) = host.calls("kind", "create")
    assert create[create.index("--image") + 1] == "kindest/node:v1.35.0"
    assert host.calls("kind", "load") == [
        ["load", "image-archive", str(other), "--name", "conform-one"]
    ]


def test_two_clusters_at_once_share_no_cpu(host: Host) -> None:
    write_topology(host.directory / "large", sockets=2, cores=12, threads=2, numa=2)
    (host.directory / "sys").rename(host.directory / "old")
    (host.directory / "large").rename(host.directory / "sys")
    host.set(info={"ServerVersion": "28", "NCPU": 48, "CgroupVersion": "2"})
    two = tuple(name.replace("one", "two") for name in ONE)
    host.register(*ONE, *two)
    first, second = host.up("one"), host.up("two")
    assert not cpuset.parse(first.details["cpus"]) & cpuset.parse(second.details["cpus"])
    host.provider.down(first)
    assert list(host.nodes) == list(two)
    assert host.provider.alive(second) is None


def test_a_second_cluster_for_which_no_cpus_are_left_is_refused(host: Host) -> None:
    host.register(*ONE)
    host.up()
    with pytest.raises(ClusterError, match="other kind clusters own 4 of 4: end others"):
        host.up("two")
    assert list(host.nodes) == list(ONE)
    assert [handle.name for handle in rundir.handles()] == ["one"]


def test_a_cluster_of_the_same_name_that_is_not_ours_is_left_alone(host: Host) -> None:
    host.register(*ONE)
    handle = host.up()
    rundir.remove(Path(handle.directory))
    with pytest.raises(ClusterError, match="has a kind cluster conform-one already"):
        host.up()
    assert list(host.nodes) == list(ONE)


def test_kind_fails_its_words_are_shown_and_logs_are_kept(host: Host) -> None:
    host.set(create="fail")
    with pytest.raises(ClusterError) as failed:
        host.up()
    text = str(failed.value)
    assert "`kind create cluster` failed:" in text
    assert "Command Output: docker: Error response from daemon: failed to create shim" in text
    logs = Path(text.rpartition("kept in ")[2])
    assert (logs / ONE[1] / "kubelet.log").read_text() == "what the kubelet said\n"
    assert not host.nodes
    assert not list(rundir.handles())


def test_what_cannot_be_deleted_is_named(host: Host) -> None:
    host.set(create="fail", delete="fail")
    with pytest.raises(ClusterError) as failed:
        host.up()
    assert "failed to create shim task" in str(failed.value)
    assert "the kind cluster conform-one may still be there" in str(failed.value)
    assert "`kind delete cluster --name conform-one`" in str(failed.value)


def test_a_creation_that_only_warned_is_no_success(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "NODES_SECONDS", 0.0)
    host.set(create="warn")
    host.register(ONE[0])
    host.register(ONE[1], ready=False)
    with pytest.raises(ClusterError, match="conform-one-worker is not Ready: no network plugin"):
        host.up()
    assert not host.nodes


def test_nodes_that_come_late_are_waited_for(host: Host) -> None:
    host.register(ONE[0])
    host.up(then=lambda line: host.register(ONE[1]) if "has not joined" in line else None)
    assert "node conform-one-worker has not joined" in host.said


def test_kubevirt_is_deployed_and_its_labels_are_waited_for(host: Host) -> None:
    host.register(*ONE)
    source = host.directory / "operator.yaml"
    source.write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubevirt"}}')

    def operator(line: str) -> None:
        if "not looked at by its operator" in line:
            available = {"type": "Available", "status": "True"}
            host.world.mutate(
                KUBEVIRT,
                "kubevirt",
                "kubevirt",
                conditions=[available],
                observedKubeVirtVersion="v1.8.4",
            )
        if "has labelled 0 of 1 workers" in line:
            labels = dict.fromkeys(("kubevirt.io/schedulable", "kubevirt.io/cpumanager"), "true")
            host.world.do(
                lambda: host.world.store.mutate(
                    NODE, ONE[1], "", lambda node: node["metadata"].update(labels=labels)
                )
            )

    handle = host.up(kubevirt=str(source), then=operator)
    assert handle.details["kubevirt"] == "v1.8.4"
    answer = host.world.request(
        "GET", "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"
    )
    developer = answer.json["spec"]["configuration"]["developerConfiguration"]
    # This host has no /dev/kvm.
    assert developer["useEmulation"] is True
    access = host.provider.connect(handle)
    assert access.description.startswith("KubeVirt v1.8.4 on Kubernetes")
    assert "guests are emulated: this host has no /dev/kvm" in access.description
    access.close()


def test_a_kubevirt_that_fails_takes_the_cluster_with_it(host: Host, tmp_path: Path) -> None:
    source = tmp_path / "operator.yaml"
    source.write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "No Name"}}')
    host.register(*ONE)
    with pytest.raises(ClusterError, match="Namespace No Name is refused") as failed:
        host.up(kubevirt=str(source))
    assert "logs of the nodes are kept in" in str(failed.value)
    assert not host.nodes


def test_manifests_that_are_not_there_are_told_of_before_nodes_are_made(host: Host) -> None:
    with pytest.raises(ClusterError, match=r"nothing\.yaml is not there") as failed:
        host.up(kubevirt="nothing.yaml")
    assert "logs of the nodes" not in str(failed.value)
    assert not any("kind creates" in line for line in host.said)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"update": "Requested CPUs are not available"}, "Requested CPUs are not available"),
        ({"deaf": True}, "was told to keep node conform-one-control-plane on CPUs 0,4, and its"),
    ],
)
def test_a_node_that_is_not_confined_is_no_node(
    host: Host, settings: dict[str, object], message: str
) -> None:
    host.set(**settings)
    with pytest.raises(ClusterError, match=message):
        host.up()
    assert not host.nodes


def test_a_kubelet_that_was_not_told_is_noticed(host: Host) -> None:
    host.set(old=True)
    host.register(*ONE)
    with pytest.raises(ClusterError, match=r"has policy None and reserves CPUs none .*not 0-1,4-5"):
        host.up()
    assert not host.nodes


def test_without_an_engine_nothing_is_begun(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.set(info={"ServerErrors": ["Cannot connect to the Docker daemon"]})
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "docker")
    with pytest.raises(ClusterError, match="kind needs a container engine that answers"):
        host.up()
    assert not host.calls("kind")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"nodes": SHAPES["no-smt"]}, "kind nodes have the CPUs of this host"),
        ({"nodes": SHAPES["two-nodes"]}, "the number of nodes by --workers"),
        ({"nodes": SHAPES["policy-none"]}, "kind nodes have the CPUs of this host"),
        ({"workers": 0}, "give --workers 1 or more"),
        ({"profile": "v1alpha2", "kubevirt": None}, "is of profile v1, not v1alpha2"),
    ],
)
def test_what_kind_cannot_be_is_refused(host: Host, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        host.up(**spec)


def orphaned(handle: Handle) -> Handle:
    return replace(handle, details={**handle.details, OWNER: processes.identity(0)})


def test_a_dead_node_or_owner_is_noticed_and_swept(host: Host) -> None:
    host.register(*ONE)
    handle = host.up(detached=False)
    assert handle.details[OWNER]
    assert host.provider.alive(handle) is None
    host.set(stopped=[ONE[1]])
    assert host.provider.alive(handle) == "of the kind cluster one conform-one-worker does not run"
    host.set(stopped=[])
    dead = Handle(
        **{**handle.__dict__, "details": {**handle.details, OWNER: processes.identity(0)}}
    )
    assert host.provider.alive(dead) == "the run that made the kind cluster one has ended"
    rundir.write_handle(Path(handle.directory), dead)
    providers.sweep(host.said.append)
    assert not host.nodes
    assert not list(rundir.handles())


def test_an_engine_that_is_away_keeps_nobody_else_from_beginning(host: Host) -> None:
    host.register(*ONE)
    handle = host.up(detached=False)
    (host.directory / "bin/docker").write_text("#!/bin/sh\necho away >&2; exit 1\n")
    assert "away" in str(host.provider.alive(handle))
    host.set(delete="fail")
    said = list(host.said)
    providers.sweep(host.said.append)
    assert host.said == said, "it may only be slow, and its run goes on"
    dead = Handle(
        **{**handle.__dict__, "details": {**handle.details, OWNER: processes.identity(0)}}
    )
    rundir.write_handle(Path(handle.directory), dead)
    providers.sweep(host.said.append)
    assert "the kind cluster conform-one may still be there" in host.said[-1]
    assert [found.name for found in rundir.handles()] == ["one"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_leaves_nothing(host: Host, number: signal.Signals) -> None:
    host.set(create="hang", info={"ServerVersion": "28", "NCPU": 8, "CgroupVersion": "2"})
    script = (
        "import sys; from pathlib import Path; from clusters import providers; "
        "from clusters.kind import provider; from conformance import cli; "
        f"provider.PROVIDER = provider.KindProvider(Path({str(host.directory / 'sys')!r})); "
        "sys.exit(cli.main(['up', '--cluster', 'kind', '--kubevirt', 'none', 'one']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    hangs = host.directory / "state/hangs"
    deadline = time.monotonic() + 60
    while not hangs.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert host.nodes
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not host.nodes
    assert not list(rundir.handles())
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(hangs.read_text()), 0)
        pytest.fail("kind still creates the cluster")


def test_it_can_be_chosen() -> None:
    assert "kind" in providers.DESCRIPTIONS
    assert isinstance(providers.provider("kind"), provider.KindProvider)
