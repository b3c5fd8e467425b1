"""The simulated kernel keeps Linux's rules where pinning depends on them."""

from __future__ import annotations

import pytest

from clusters.contract.shape import NodeShape
from clusters.simulated.kernel import Kernel
from clusters.simulated.kernel_objects import KernelError

ROOT = "/sys/fs/cgroup"


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(NodeShape(2, 3, 2, 2), "node-1")


def test_topology_counts_threads_then_cores_then_sockets(kernel: Kernel) -> None:
    cpu = "/sys/devices/system/cpu/cpu7/topology"
    assert kernel.read(f"{cpu}/thread_siblings_list") == "6-7\n"
    assert kernel.read(f"{cpu}/physical_package_id") == "1\n"
    assert kernel.read("/sys/devices/system/node/node1/cpulist") == "6-11\n"
    assert len(kernel.glob("/sys/devices/system/cpu/cpu*/topology/core_id")) == 12


def test_a_cpuset_is_limited_by_the_one_above(kernel: Kernel) -> None:
    kernel.make_cgroup("/a/b")
    kernel.write(f"{ROOT}/a/cpuset.cpus", "0-3")
    kernel.write(f"{ROOT}/a/b/cpuset.cpus", "2-5")
    assert kernel.read(f"{ROOT}/a/b/cpuset.cpus.effective") == "2-3\n"
    kernel.write(f"{ROOT}/a/b/cpuset.cpus", "")
    assert kernel.read(f"{ROOT}/a/b/cpuset.cpus.effective") == "0-3\n"


def test_a_threads_wish_survives_cpuset_changes(kernel: Kernel) -> None:
    group = kernel.make_cgroup("/a")
    process = kernel.spawn("qemu", group)
    kernel.set_affinity(process.threads[0], frozenset({2}))
    status = f"/proc/{process.pid}/task/{process.pid}/status"
    assert "Cpus_allowed_list:\t2\n" in kernel.read(status)
    kernel.write(f"{ROOT}/a/cpuset.cpus", "4-5")
    assert "Cpus_allowed_list:\t4-5\n" in kernel.read(status)
    kernel.write(f"{ROOT}/a/cpuset.cpus", "2-5")
    assert "Cpus_allowed_list:\t2\n" in kernel.read(status)


def test_binding_outside_the_cpuset_is_refused(kernel: Kernel) -> None:
    kernel.make_cgroup("/a")
    kernel.write(f"{ROOT}/a/cpuset.cpus", "4-5")
    process = kernel.spawn("qemu", kernel.cgroup("/a"))
    with pytest.raises(KernelError, match="Invalid argument"):
        kernel.set_affinity(process.threads[0], frozenset({1}))


def test_threads_move_into_a_threaded_child_only(kernel: Kernel) -> None:
    process = kernel.spawn("qemu", kernel.make_cgroup("/a"))
    thread = kernel.add_thread(process, "CPU 0/KVM")
    kernel.make_cgroup("/a/housekeeping")
    with pytest.raises(KernelError):
        kernel.write(f"{ROOT}/a/housekeeping/cgroup.threads", str(thread.tid))
    kernel.write(f"{ROOT}/a/housekeeping/cgroup.type", "threaded")
    kernel.write(f"{ROOT}/a/cgroup.subtree_control", "+cpuset")
    kernel.write(f"{ROOT}/a/housekeeping/cpuset.cpus", "3")
    kernel.write(f"{ROOT}/a/housekeeping/cgroup.threads", str(thread.tid))
    assert kernel.read(f"{ROOT}/a/cgroup.threads") == f"{process.pid}\n"
    assert kernel.read(f"{ROOT}/a/cgroup.type") == "domain threaded\n"
    assert "Cpus_allowed_list:\t3\n" in kernel.read(f"/proc/{process.pid}/task/{thread.tid}/status")
    with pytest.raises(KernelError, match="busy"):
        kernel.write(f"{ROOT}/a/cgroup.subtree_control", "+memory")


def test_a_populated_cgroup_cannot_be_removed(kernel: Kernel) -> None:
    process = kernel.spawn("sleep", kernel.make_cgroup("/a"))
    with pytest.raises(KernelError, match="busy"):
        kernel.remove(f"{ROOT}/a")
    kernel.exit(process.pid)
    kernel.remove(f"{ROOT}/a")
    assert kernel.glob(f"{ROOT}/a") == []


def test_the_node_is_seen_through_its_inits_root(kernel: Kernel) -> None:
    kernel.write("/var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\n")
    path = "/proc/1/root/var/lib/kubelet/config.yaml"
    assert kernel.glob("/proc/1/root/var/lib/kubelet/*.yaml") == [path]
    assert kernel.read(path).startswith("kind:")
