"""Saboteurs of restarts: of a container, and of a kubelet."""

from __future__ import annotations

from typing import Any

from conformance.proving.of_scenarios import elsewhere
from conformance.proving.saboteur import spoils
from conformance.proving.scene import Scene


@spoils(
    "LIFE-RESTART",
    "CPU-EXCLUSIVE",
    scenario="container-restart",
    moment="after",
    subject="own",
    bug="kubernetes#90303",
)
def comes_back_elsewhere(scene: Scene) -> Scene:
    """The restarted container has other CPUs than before, by every source."""
    return scene.renumbered(elsewhere(scene))


@spoils(
    "LIFE-RESTART",
    "CPU-COUNT",
    "CPU-EXCLUSIVE",
    "CPU-POOL",
    scenario="container-restart",
    moment="after",
    subject="own",
    alone=True,
    bug="kubernetes#91668",
)
def comes_back_unlisted(scene: Scene) -> Scene:
    """The checkpoint has no entry of the restarted container, which keeps its cgroup's CPUs."""
    return scene.entry(None)


@spoils(
    *("LIFE-RESTART", "CPU-COUNT", "CPU-EXCLUSIVE", "CPU-POOL", "PIN-XML", "PIN-THREADS"),
    scenario="container-restart",
    moment="after",
    subject="own",
    alone=True,
)
def comes_back_anywhere(scene: Scene) -> Scene:
    """The cgroup of the restarted container has every CPU of the node."""
    return scene.cpuset(scene.compute.cgroup, scene.host.online)


@spoils(
    "LIFE-KUBELET",
    "CPU-COUNT",
    "CPU-EXCLUSIVE",
    "CPU-POOL",
    scenario="kubelet-restart-pods",
    moment="after",
    subject="own",
)
def restart_forgets(scene: Scene) -> Scene:
    """The restarted kubelet has forgotten what it gave away."""
    return scene.entry(None).default(scene.state.default | scene.owned)


@spoils(
    "LIFE-KUBELET",
    "CPU-EXCLUSIVE",
    scenario="kubelet-restart-pods",
    moment="after",
    subject="own",
    bug="kubernetes#129078",
)
def restart_gives_others(scene: Scene) -> Scene:
    """The restarted kubelet has moved a running container, by every source."""
    return scene.renumbered(elsewhere(scene))


@spoils(
    "LIFE-KUBELET",
    scenario="kubelet-restart-pods",
    moment="after",
    subject="own",
    alone=True,
    bug="kubevirt#11843",
)
def restart_starts_containers_anew(scene: Scene) -> Scene:
    """A container was started anew after the kubelet's restart."""

    def edit(pod: Any) -> None:
        pod["status"]["containerStatuses"][0]["restartCount"] += 1

    return scene.pod(edit)


@spoils(
    "LIFE-KUBELET",
    "CPU-POOL",
    scenario="kubelet-restart-pods",
    moment="after",
    subject="own",
    alone=True,
)
def restart_loses_a_part_of_the_pool(scene: Scene) -> Scene:
    """The shared pool has lost a CPU over the restart."""
    left = scene.state.default - sorted(scene.pool)[:1]
    return scene.default(left).in_step(left)
