"""The embedded stack, whole, on simulated nodes: what a user does and what comes of it."""

from __future__ import annotations

from clusters.embedded import cpuset
from clusters.embedded.apiserver.resources import VMI
from tests.unit.embedded_cluster import SimulatedCluster, dedicated, on_cluster


def test_a_dedicated_vmi_is_pinned_and_leaves_nothing_behind() -> None:
    async def test(cluster: SimulatedCluster) -> None:
        before = cluster.pod_cgroups()
        await cluster.run(dedicated(sockets=2, isolateEmulatorThread=True))
        pod = cluster.launcher_pod()
        assert pod["status"]["qosClass"] == "Guaranteed"
        owned = cluster.checkpoint().entries[pod["metadata"]["uid"]]["compute"]
        assert owned == cluster.cpus_of(pod, "compute") == frozenset({2, 3, 4})
        view = cluster.machine.domain_view_now(
            cluster.stack.handlers["node-1"].launcher(cluster.vmi()).container_id, "default_vm"
        )
        assert view.vcpu_pins == {0: frozenset({2}), 1: frozenset({3})}
        assert view.emulator_pin == frozenset({4})
        root = cluster.cgroup_of(pod, "compute")
        kernel = cluster.machine.kernel
        left = kernel.read(f"/sys/fs/cgroup{root}/cgroup.threads").split()
        assert [kernel.read(f"/proc/{t}/comm") for t in left] == ["CPU 0/KVM\n", "CPU 1/KVM\n"]
        assert kernel.read(f"/sys/fs/cgroup{root}/housekeeping/cpuset.cpus.effective") == "4\n"
        assert cluster.checkpoint().default == frozenset(range(12)) - owned

        cluster.delete_vmi()
        await cluster.until_gone(VMI, "vm")
        assert cluster.checkpoint().entries == {}
        assert cpuset.render(cluster.checkpoint().default) == "0-11"
        assert cluster.pod_cgroups() == before

    on_cluster(test)
