"""Saboteurs of nodes and of containers beside compute: labels, selectors, where sidecars run."""

from __future__ import annotations

from typing import Any

from conformance.model.cpuset import CpuSet
from conformance.model.vocabulary import CPU_MANAGER_LABELS
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene


@spoils("NODE-LABEL", "NODE-SELECT", alone=True, bug="kubevirt#14078")
def label_says_false(scene: Scene) -> Scene:
    """The node's label says that it has no CPU manager, and its kubelet has."""
    return scene.labelled("false")


@spoils("NODE-LABEL", "NODE-SELECT", alone=True, bug="kubevirtci#1648")
def label_is_missing(scene: Scene) -> Scene:
    """The node has no label of a CPU manager, and its kubelet has one."""
    return scene.labelled(None)


@spoils("NODE-LABEL", "CPU-EXCLUSIVE", "CPU-POOL", "CPU-RESERVED", "SIDE-UNPINNED", "CPU-COUNT")
def policy_is_none(scene: Scene) -> Scene:
    """The node's label says true, and its kubelet's policy is none."""
    running = scene.kubelet(lambda config: config.update(cpuManagerPolicy="none"))
    return running.checkpoint(
        lambda state: state.update(policyName="none", defaultCpuSet="", entries={})
    )


@spoils("NODE-LABEL", alone=True)
def configured_policy_is_none(scene: Scene) -> Scene:
    """The node's label says true, and its kubelet is configured with the policy none."""
    return scene.kubelet(lambda config: config.update(cpuManagerPolicy="none"))


@spoils("NODE-SELECT", alone=True)
def selects_nothing(scene: Scene) -> Scene:
    """The launcher pod does not select the label."""

    def edit(pod: Any) -> None:
        for key in CPU_MANAGER_LABELS:
            pod["spec"].get("nodeSelector", {}).pop(key, None)

    return scene.pod(edit)


@spoils("NODE-SELECT", alone=True)
def selects_another_value(scene: Scene) -> Scene:
    """The launcher pod selects nodes without a CPU manager."""

    def edit(pod: Any) -> None:
        selector = pod["spec"].get("nodeSelector", {})
        for key in [key for key in CPU_MANAGER_LABELS if key in selector]:
            selector[key] = "false"

    return scene.pod(edit)


@spoils("NODE-SELECT", "NODE-LABEL", alone=True)
def runs_on_an_unlabelled_node(scene: Scene) -> Scene:
    """The launcher pod selects the label and runs on a node that lacks it."""
    return scene.labelled(None)


# Sidecars


@spoils("SIDE-UNPINNED", alone=True)
def confined_to_one_cpu(scene: Scene) -> Scene:
    """The cgroup of a sidecar has a single CPU of the shared pool."""
    return scene.cpuset(scene.sidecar.cgroup, sorted(scene.state.default)[:1])


@spoils("SIDE-UNPINNED", "CPU-EXCLUSIVE", "CPU-POOL", alone=True)
def beside_the_vcpus(scene: Scene) -> Scene:
    """The cgroup of a sidecar has the pCPUs of compute."""
    return scene.cpuset(scene.sidecar.cgroup, scene.owned | scene.state.default)


@spoils("SIDE-UNPINNED", "CPU-POOL")
def has_cpus_of_its_own(scene: Scene) -> Scene:
    """The kubelet gave a sidecar a pCPU of its own, by checkpoint and cgroup."""
    cpu = CpuSet(sorted(scene.pool)[:1])
    uid, name = scene.launcher.uid, scene.sidecar.name
    if (uid, name) in scene.state.entries:
        raise NothingToSpoilError("a sidecar in the shared pool")

    def edit(state: Any) -> None:
        state["entries"].setdefault(uid, {})[name] = str(cpu)
        state["defaultCpuSet"] = str(scene.state.default - cpu)

    return scene.checkpoint(edit).cpuset(scene.sidecar.cgroup, cpu)


@spoils("SIDE-UNPINNED", "CPU-EXCLUSIVE", alone=True)
def thread_beside_the_vcpus(scene: Scene) -> Scene:
    """A thread of a sidecar may run on a pCPU of compute, although its cgroup says the pool."""
    return scene.affinity(scene.sidecar.threads[0], scene.owned)
