"""Saboteurs of what takes several moments to show: waiting, neighbours that come and go."""

from __future__ import annotations

from typing import Any

from conformance.checks.capacity import SCHEDULED_LATER
from conformance.model.cpuset import CpuSet
from conformance.model.vocabulary import COMPUTE
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene

NODE = ""
"""The subject of a recording that is of a node alone."""
STRANGER = "99999999-0000-4000-8000-000000000000"
"""UID of a pod that is not there."""


def bound(scene: Scene, node: str | None = None) -> Scene:
    """The pod was given a node."""

    def edit(pod: Any) -> None:
        pod["spec"]["nodeName"] = node or "node-1"
        pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]

    return scene.pod(edit)


def because(scene: Scene, message: str) -> Scene:
    """The pod waits for another reason."""

    def edit(found: Any) -> None:
        for each in found["status"].get("conditions", ()):
            if each["type"] == "PodScheduled":
                each["message"] = message

    return scene.vmi(edit).pod(edit)


TAINT = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."

# Waiting for CPUs


@spoils("LIFE-PENDING", scenario="node-full", moment="full", subject="second", alone=True)
def is_scheduled_on_a_full_node(scene: Scene) -> Scene:
    """The second VMI is given a node on which nothing is free."""
    return bound(scene)


@spoils("LIFE-PENDING", scenario="node-full", moment="full", subject="second", alone=True)
def waits_for_something_else(scene: Scene) -> Scene:
    """The second VMI waits, and the reason names no CPUs."""
    return because(scene, TAINT)


@spoils(
    "LIFE-PENDING",
    "LIFE-REUSED",
    "RUN-STARTED",
    scenario="node-full",
    moment="freed",
    subject="second",
)
def fails_when_there_is_room(scene: Scene) -> Scene:
    """The second VMI fails when the first has given its CPUs back."""
    return scene.failed()


@spoils(
    "LIFE-PENDING",
    "LIFE-REUSED",
    "RUN-STARTED",
    scenario="node-full",
    moment="freed",
    subject="second",
)
def is_forgotten(scene: Scene) -> Scene:
    """The second VMI waits on when there is room, and a later pod is scheduled."""
    waiting = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    waiting["message"] = "0/1 nodes are available: 1 Insufficient cpu."

    def pod(found: Any) -> None:
        found["spec"].pop("nodeName", None)
        found["status"].update(phase="Pending", conditions=[waiting], containerStatuses=[])

    def vmi(found: Any) -> None:
        found["status"].update(phase="Scheduling", conditions=[waiting])
        found["status"].pop("nodeName", None)

    noted = (*scene.raw.done, f"{SCHEDULED_LATER}: probe, 2 s after")
    return scene.pod(pod).vmi(vmi).but(done=noted)


# CPUs given again


@spoils(
    "LIFE-REUSED",
    "CPU-EXCLUSIVE",
    "CPU-POOL",
    "CPU-RESERVED",
    scenario="node-full",
    moment="freed",
    subject="second",
    alone=True,
)
def second_is_not_alone(scene: Scene) -> Scene:
    """The shared pool holds the CPUs of the second VMI."""
    return scene.default(scene.state.default | scene.owned)


@spoils(
    "LIFE-REUSED",
    "CPU-COUNT",
    "CPU-EXCLUSIVE",
    "CPU-POOL",
    scenario="node-full",
    moment="freed",
    subject="second",
)
def second_gets_nothing(scene: Scene) -> Scene:
    """The second VMI runs without CPUs of its own, and those of the first are back."""
    return scene.entry(None).default(scene.state.default | scene.owned)


@spoils(
    "LIFE-REUSED",
    "CPU-POOL",
    scenario="node-full",
    moment="freed",
    subject="second",
    alone=True,
    bug="kubernetes#112228",
)
def freed_cpus_leak(scene: Scene) -> Scene:
    """The second VMI gets other CPUs than the first had, and those are in no set."""
    places = elsewhere(scene)
    left = scene.state.default - places.values()
    return scene.renumbered(places).default(left).in_step(left)


# Sidecars in the node's capacity


@spoils(
    "SIDE-CAPACITY",
    "SIDE-RESOURCES",
    "QOS-CONTAINERS",
    scenario="sidecar-edge",
    moment="measured",
    subject="measure",
    alone=True,
)
def sidecars_cost_nothing(scene: Scene) -> Scene:
    """The containers beside compute request nothing."""

    def edit(pod: Any) -> None:
        for kind in ("containers", "initContainers"):
            for each in pod["spec"].get(kind, ()):
                if each["name"] != COMPUTE:
                    each["resources"] = {}

    return scene.pod(edit)


@spoils("SIDE-CAPACITY", scenario="sidecar-edge", moment="short", subject="edge", alone=True)
def is_scheduled_without_room_for_its_sidecar(scene: Scene) -> Scene:
    """The VMI is given a node that has room for compute alone."""
    return bound(scene)


@spoils("SIDE-CAPACITY", scenario="sidecar-edge", moment="short", subject="edge", alone=True)
def edge_waits_for_something_else(scene: Scene) -> Scene:
    """The VMI waits, and the reason names no CPUs."""
    return because(scene, TAINT)


@spoils("SIDE-CAPACITY", "RUN-STARTED", scenario="sidecar-edge", moment="exact", subject="edge")
def fails_where_it_fits(scene: Scene) -> Scene:
    """The VMI fails where all of its pod has room, exactly."""
    return scene.failed()


def elsewhere(scene: Scene) -> dict[int, int]:
    """Each CPU of compute, with one of the shared pool to change it for."""
    free = sorted(scene.pool)
    if len(free) < len(scene.owned):
        raise NothingToSpoilError("enough CPUs in the shared pool")
    return dict(zip(sorted(scene.owned), free, strict=False))


# Beside each other

_BESIDE = "shared-beside-dedicated"


@spoils(
    "LIFE-SHARED",
    "CPU-POOL",
    "CPU-EXCLUSIVE",
    scenario=_BESIDE,
    moment="beside",
    subject="early",
    alone=True,
)
def shared_stays(scene: Scene) -> Scene:
    """The shared VMI keeps every CPU of the node when a dedicated one comes."""
    return scene.cpuset(scene.compute.cgroup, scene.host.online)


@spoils(
    "LIFE-SHARED", "CPU-EXCLUSIVE", scenario=_BESIDE, moment="joined", subject="late", alone=True
)
def shared_comes_with_a_thread(scene: Scene) -> Scene:
    """A thread of a shared VMI that comes later may run on the dedicated VMI's CPUs."""
    return scene.affinity(scene.compute.threads[0], scene.host.online)


@spoils("LIFE-SHARED", "CPU-POOL", scenario=_BESIDE, moment="after", subject="early", alone=True)
def shared_is_not_let_back(scene: Scene) -> Scene:
    """The shared VMI does not have the CPUs back when the dedicated one has gone."""
    if scene.state.given:
        raise NothingToSpoilError("a node on which nobody owns CPUs")
    few = sorted(scene.state.default)[:1]
    for thread in scene.compute.threads:
        scene = scene.affinity(thread, few)
    return scene.cpuset(scene.compute.cgroup, few)


@spoils("LIFE-CHURN", scenario="coming-and-going", moment="sample", subject=NODE, alone=True)
def two_owners(scene: Scene) -> Scene:
    """The checkpoint gives the CPUs of one VMI to another one too."""

    def edit(state: Any) -> None:
        entries = [names for names in state["entries"].values() if COMPUTE in names]
        if len(entries) < 2:
            return
        entries[1][COMPUTE] = entries[0][COMPUTE]

    return scene.checkpoint(edit)


@spoils("LIFE-CHURN", scenario="coming-and-going", moment="sample", subject=NODE, alone=True)
def owned_and_shared(scene: Scene) -> Scene:
    """CPUs that a VMI owns are in the shared pool as well."""
    return scene.default(scene.host.online)


@spoils(
    "LIFE-CHURN",
    "CPU-POOL",
    scenario="coming-and-going",
    moment="after",
    subject=NODE,
    alone=True,
    bug="kubernetes#112228",
)
def somebodys_entry_stays(scene: Scene) -> Scene:
    """The checkpoint keeps an entry of a VMI that has gone."""
    return _left(scene)


@spoils(
    "LIFE-ABORTED",
    "CPU-POOL",
    scenario="deleted-while-starting",
    moment="after",
    subject=NODE,
    alone=True,
)
def aborted_keeps_its_entry(scene: Scene) -> Scene:
    """The checkpoint keeps an entry of a VMI that was deleted while it started."""
    return _left(scene)


@spoils("LIFE-ABORTED", scenario="deleted-while-starting", moment="after", subject=NODE, alone=True)
def aborted_keeps_its_cgroup(scene: Scene) -> Scene:
    """A cgroup of a pod is left whose VMI was deleted while it started."""
    pod = f"/kubepods.slice/kubepods-pod{STRANGER.replace('-', '_')}.slice"
    return scene.cpuset(pod, scene.state.default)


@spoils("LIFE-ABORTED", scenario="deleted-while-starting", moment="after", subject=NODE, alone=True)
def aborted_keeps_a_container(scene: Scene) -> Scene:
    """The cgroup of a container is left whose VMI was deleted while it started."""
    pod = f"/kubepods.slice/kubepods-pod{STRANGER.replace('-', '_')}.slice"
    scope = f"{pod}/cri-containerd-{'8' * 64}.scope"
    return scene.cpuset(scope, scene.state.default).group(scope, "cgroup.threads", "")


def _left(scene: Scene) -> Scene:
    cpus = CpuSet(sorted(scene.pool)[-1:])

    def edit(state: Any) -> None:
        state["entries"][STRANGER] = {COMPUTE: str(cpus)}
        state["defaultCpuSet"] = str(scene.state.default - cpus)

    return scene.checkpoint(edit)


# Even parity


@spoils(
    *("EMU-PARITY", "QOS-INTEGER", "QOS-CONTAINERS", "CPU-COUNT"),
    scenario="even-parity",
    moment="even",
    subject="even",
    alone=True,
)
def limit_stays_odd(scene: Scene) -> Scene:
    """The launcher pod of the VMI with two vCPUs is limited to three CPUs."""
    odd = {"cpu": "3"}
    return scene.container(
        COMPUTE,
        lambda found: [found["resources"][kind].update(odd) for kind in ("requests", "limits")],
    )


@spoils(
    *("EMU-PARITY", "CPU-COUNT", "CPU-EXCLUSIVE", "CPU-POOL", "SMT-ALIGNED"),
    scenario="even-parity",
    moment="even",
    subject="even",
    alone=True,
)
def three_cpus_are_owned(scene: Scene) -> Scene:
    """The checkpoint gives three pCPUs to the VMI with two vCPUs."""
    return scene.entry(sorted(scene.owned)[:3])


@spoils(
    *("EMU-PARITY", "RUN-STARTED"),
    scenario="even-parity",
    moment="odd",
    subject="odd",
    bug="kubevirt#10593",
)
def kubelet_rejects_it(scene: Scene) -> Scene:
    """The kubelet rejects the launcher pod, for an odd number of CPUs."""

    def edit(pod: Any) -> None:
        pod["status"].update(phase="Failed", reason="UnexpectedAdmissionError", message="rejected")

    return scene.pod(edit).failed()
