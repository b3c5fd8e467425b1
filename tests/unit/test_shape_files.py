"""Shapes in files: what they say of a node, and how those that cannot be are refused."""

from __future__ import annotations

import copy
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.contract.hardware import Hardware
from clusters.contract.shape import SHAPES, ClusterSpec, NodeSpec, TopologyManager
from clusters.contract.shape_file import ShapeError, nodes
from clusters.host.daemon import dump_spec, load_spec
from conformance import options

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests/shapes").glob("*.yaml"))
PAGE = (ROOT / "docs/shapes.md").read_text()
EXAMPLE, DEFAULT, POLICY_NONE = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
ONE = {
    "nodes": [
        {
            "packages": [{"cores": [{"count": 4, "threads": 2}]}],
            "kubelet": {"cpuManagerPolicy": "static", "reservedSystemCPUs": "0-1"},
        }
    ]
}


def cluster_of(shape: str, cluster: str = "simulated") -> ClusterSpec:
    parser = ArgumentParser()
    options.declare(parser.add_argument, (options.CLUSTER, *options.SPEC, options.PROFILE))
    given = vars(parser.parse_args(["--cluster", cluster, "--shape", shape]))
    return options.cluster_spec(given.__getitem__)


def changed(**fields: Any) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(ONE)
    document["nodes"][0] |= fields
    return document


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_taken_where_a_name_is_and_reaches_the_cluster(path: Path) -> None:
    spec = cluster_of(str(path))
    assert load_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize(
    ("document", "name"), [(DEFAULT, "default"), (POLICY_NONE, "policy-none")], ids=str
)
def test_named_shapes_can_be_written_down(document: object, name: str) -> None:
    expected = [NodeSpec(n.name, n.shape.hardware, n.cpu_manager) for n in SHAPES[name]]
    assert list(nodes(document)) == expected


def test_the_documented_example_means_what_it_says() -> None:
    (node,) = nodes(EXAMPLE)
    assert isinstance(node.shape, Hardware)
    by_id = {cpu.id: cpu for cpu in node.shape.cpus}
    assert node.shape.online == frozenset(range(23))
    assert [by_id[n].core for n in (0, 12, 11)] == [0, 0, 11]
    assert [by_id[n].cache for n in (0, 3, 6, 9)] == [0, 1, 2, 3]
    assert [by_id[n].package for n in (5, 6)] == [0, 1]
    assert [n.distances for n in node.shape.numa] == [(10, 21), (21, 10)]
    assert node.cpu_manager.options == {"full-pcpus-only"}
    assert node.topology_manager == TopologyManager("restricted", "pod")
    assert node.memory_manager_policy == "Static"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], r"the document: a mapping is wanted, not \[\]"),
        ({}, "the document: the field nodes is missing"),
        ({"nodes": []}, "nodes: a list with an element at the least"),
        (changed(sockets=2), r"nodes\[0\]: there is no field 'sockets' here, only packages"),
        (changed(name="A b"), r"nodes\[0\].name: no node can be called"),
        (
            {"nodes": ONE["nodes"] + [{**ONE["nodes"][0], "name": "node-1"}]},
            r"nodes\[1\]: a second",
        ),
        (changed(offline="9"), r"nodes\[0\].offline: there is no CPU 9"),
        (changed(offline="0-7"), r"nodes\[0\].offline: no CPU would be online"),
        (changed(offline="3-1"), r"nodes\[0\].offline: .*ends before it starts"),
        (changed(offline="x"), r"nodes\[0\].offline: ids of CPUs are wanted"),
        (changed(offline=True), r"nodes\[0\].offline: ids of CPUs are wanted"),
        (changed(numaNodes=3), r"nodes\[0\].numaNodes: 4 cores cannot be divided evenly among 3"),
        (changed(cpuNumbering="odd"), r"nodes\[0\].cpuNumbering: one of threads, cores is wanted"),
        (
            changed(packages=[{"dies": [{"l3Caches": [{"cores": [{"threads": 9}]}]}]}]),
            r"packages\[0\].dies\[0\].l3Caches\[0\].cores\[0\].threads: a whole number from 1 to 8",
        ),
        (
            changed(packages=[{"count": 2}]),
            r"packages\[0\]: one of dies, l3Caches, cores is wanted",
        ),
        (
            changed(packages=[{"cores": [{"cpus": "0-1"}, {"threads": 2}]}]),
            r"packages: either every core has cpus, or none has",
        ),
        (
            changed(packages=[{"cores": [{"cpus": "0-1"}, {"cpus": "1-2"}]}]),
            r"packages: CPU 1 is in two cores",
        ),
        (
            changed(packages=[{"count": 8000, "cores": [{"count": 8000, "threads": 8}]}]),
            r"packages: there are more than 8192 cores",
        ),
        (
            changed(packages=[{"id": 1, "cores": [{}]}, {"id": 1, "cores": [{}]}]),
            r"packages\[1\]: a second package has the id 1",
        ),
        (
            changed(numaNodes=[{"cpus": "0-5", "memoryMiB": 1024}]),
            r"nodes\[0\].numaNodes: CPU 6-7 is on no NUMA node",
        ),
        (
            changed(numaNodes=[{"cpus": "0-5", "memoryMiB": 1}, {"cpus": "5-7", "memoryMiB": 1}]),
            r"numaNodes\[1\].cpus: CPU 5 is on NUMA node 0 too",
        ),
        (
            changed(numaNodes=[{"cpus": "0-7", "memoryMiB": 1, "distances": [20]}]),
            r"numaNodes\[0\].distances: 10 is the distance of a NUMA node to itself",
        ),
        (changed(kubelet={}), r"nodes\[0\].kubelet: the field cpuManagerPolicy is missing"),
        (
            changed(kubelet={"cpuManagerPolicy": "static"}),
            r"nodes\[0\].kubelet: the static policy needs reservedSystemCPUs",
        ),
        (
            changed(kubelet={"cpuManagerPolicy": "static", "reservedSystemCPUs": "0,8"}),
            r"reservedSystemCPUs: CPU 8 is not online, or there is none",
        ),
        (
            changed(kubelet={"cpuManagerPolicy": "none", "cpuManagerPolicyOptions": {"a": "true"}}),
            r"cpuManagerPolicyOptions: only the static policy has options",
        ),
        (
            changed(kubelet={"cpuManagerPolicy": "none", "topologyManagerPolicy": "single"}),
            r"topologyManagerPolicy: one of none, best-effort, restricted, single-numa-node",
        ),
    ],
)
def test_what_is_no_shape_is_refused_with_the_path_of_the_field(
    document: object, said: str
) -> None:
    with pytest.raises(ShapeError, match=said):
        nodes(document)


def test_a_file_that_is_not_there_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--shape .*/none.yaml: it cannot be read"):
        cluster_of(str(tmp_path / "none.yaml"))
    (tmp_path / "bad.yaml").write_text("nodes: [")
    with pytest.raises(ValueError, match=r"--shape .*/bad.yaml: it cannot be read"):
        cluster_of(str(tmp_path / "bad.yaml"))


REFUSED = {
    "large": "255 CPUs at the most",
    "hybrid": "equally many threads, and it has cores of 1 and of 2",
    "hybrid-full-pcpus-only": "equally many threads",
    "offline-siblings": "no CPU that is offline, such as 3,5,11,13",
    "no-first-cpu": "no CPU that is offline",
    "dies-and-caches": "threads of a core neighbouring ids",
    "memory-only": "NUMA nodes the ids 0, 1, 2",
    "cpus-without-memory": "needs memory on each NUMA node, and 1 has none",
    "sparse": "the ids 0-11 without a hole",
    "no-package": "in which package it is",
    "mixed-nodes": ".*equally many threads",
}


@pytest.mark.parametrize("cluster", ["embedded", "virtual"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_qemu_cannot_make_is_refused_before_anything_starts(path: Path, cluster: str) -> None:
    if path.stem not in REFUSED:
        assert cluster_of(str(path), cluster).nodes
        return
    expected = f"--shape .*: --cluster {cluster} cannot make .*{REFUSED[path.stem]}"
    with pytest.raises(ValueError, match=expected):
        cluster_of(str(path), cluster)
