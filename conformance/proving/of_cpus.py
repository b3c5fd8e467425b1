"""Saboteurs of who owns which pCPU: the kubelet's checkpoint, cgroups, the shared pool, quotas."""

from __future__ import annotations

from typing import Any

from conformance.model.cpuset import CpuSet
from conformance.model.vocabulary import COMPUTE, DELETED
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene

_WHAT_SITS_THERE = (
    *("PIN-XML", "PIN-THREADS", "PIN-CGROUP", "EMU-ISOLATED"),
    *("IOT-WITHIN", "IOT-POOL", "IOT-SPREAD"),
)
"""What is compared with the cgroup of compute."""

# How many


@spoils("CPU-COUNT", alone=True)
def limit_of_one_more(scene: Scene) -> Scene:
    """Compute requests and is limited to one CPU more than the VMI needs."""
    return _limited(scene, +1)


@spoils("CPU-COUNT", bug="kubevirt#10839")
def one_too_many_everywhere(scene: Scene) -> Scene:
    """The launcher asks for one CPU too many and is given it, by every source."""
    more = scene.owned | _first(scene.pool)
    left = scene.state.default - more
    given = _limited(scene, +1).entry(more).default(left)
    return given.cpuset(scene.compute.cgroup, more).in_step(left)


@spoils("CPU-COUNT", "CPU-EXCLUSIVE", *_WHAT_SITS_THERE, alone=True)
def cgroup_lacks_one(scene: Scene) -> Scene:
    """The cgroup of compute has one pCPU less than the checkpoint gives it."""
    lacking = scene.owned - _first(_unused(scene))
    return scene.cpuset(scene.compute.cgroup, lacking)


@spoils("CPU-COUNT", "CPU-EXCLUSIVE", "CPU-POOL", "SIDE-UNPINNED", alone=True)
def checkpoint_gives_one_more(scene: Scene) -> Scene:
    """The checkpoint gives compute one pCPU more than its cgroup has."""
    more = _first(scene.pool)
    return scene.entry(scene.owned | more).default(scene.state.default - more)


def _limited(scene: Scene, more: int) -> Scene:
    number = str(len(scene.owned) + more)

    def edit(each: Any) -> None:
        for kind in ("requests", "limits"):
            each["resources"][kind]["cpu"] = number

    return scene.container(scene.compute.name, edit)


def _first(cpus: CpuSet) -> CpuSet:
    return CpuSet(sorted(cpus)[:1])


def _unused(scene: Scene) -> CpuSet:
    """CPUs of compute on which no vCPU is."""
    free = scene.owned - CpuSet.union_of(each.affinity for each in scene.vcpus.values())
    return free or CpuSet(sorted(scene.owned)[-1:])


# Alone


@spoils("CPU-EXCLUSIVE", alone=True)
def neighbours_thread(scene: Scene) -> Scene:
    """A thread of another pod may run on every CPU, although its cgroup says the shared pool."""
    _pod, other = scene.neighbour
    return scene.affinity(other.threads[0], scene.host.online)


@spoils("CPU-EXCLUSIVE", "CPU-POOL", alone=True, bug="kubernetes#85764")
def neighbours_cgroup(scene: Scene) -> Scene:
    """The cgroup of another pod's container has a pCPU of compute."""
    _pod, other = scene.neighbour
    return scene.cpuset(other.cgroup, (other.cpuset or CpuSet()) | _first(scene.owned))


@spoils("CPU-EXCLUSIVE", "CPU-POOL", "SIDE-UNPINNED", "LIFE-CHURN", alone=True)
def given_twice(scene: Scene) -> Scene:
    """The checkpoint gives a pCPU of compute to another pod as well."""
    pod, other = scene.neighbour
    uid, name = pod.static_uid or pod.uid, other.name
    cpus = str(_first(scene.owned))
    return scene.checkpoint(lambda state: state["entries"].setdefault(uid, {}).update({name: cpus}))


@spoils("CPU-EXCLUSIVE", alone=True)
def process_that_the_api_does_not_show(scene: Scene) -> Scene:
    """A container that the API does not show runs on a pCPU of compute, under another pod."""
    _pod, other = scene.neighbour
    parent = str(other.cgroup).rpartition("/")[0]
    return scene.process(f"{parent}/cri-containerd-{'9' * 64}.scope", _first(scene.owned))


@spoils("CPU-EXCLUSIVE", alone=True)
def process_in_a_nested_cgroup(scene: Scene) -> Scene:
    """A neighbour has a process in a cgroup below its own, on a pCPU of compute."""
    _pod, other = scene.neighbour
    return scene.process(f"{other.cgroup}/below", _first(scene.owned))


@spoils("CPU-EXCLUSIVE", alone=True)
def one_more_process_of_a_neighbour(scene: Scene) -> Scene:
    """A process of a neighbour, in its own cgroup, has set its affinity to a pCPU of compute."""
    _pod, other = scene.neighbour
    return scene.process(str(other.cgroup), _first(scene.owned))


@spoils("CPU-EXCLUSIVE", "CPU-COUNT", "CPU-POOL", "SIDE-UNPINNED", bug="kubevirt#10132")
def nothing_was_given(scene: Scene) -> Scene:
    """The checkpoint has no entry of compute, and its CPUs are in the shared pool."""
    return scene.entry(None).default(scene.state.default | scene.owned)


@spoils(
    *("CPU-EXCLUSIVE", "CPU-COUNT", "SMT-SIBLINGS", "CPU-POOL", *_WHAT_SITS_THERE),
    alone=True,
    bug="kubernetes#90303",
)
def cgroup_lost_its_cpus(scene: Scene) -> Scene:
    """The cgroup of compute has all CPUs of the node, whatever the checkpoint says."""
    return scene.cpuset(scene.compute.cgroup, scene.host.online)


# Reserved


@spoils("CPU-RESERVED", alone=True)
def reserved_by_name(scene: Scene) -> Scene:
    """The kubelet reserves a pCPU that it has given to compute."""
    more = str(_first(scene.owned) | _first(scene.state.default))
    return scene.kubelet(lambda config: config.update(reservedSystemCPUs=more))


@spoils("CPU-RESERVED", alone=True)
def reserves_more_than_is_left(scene: Scene) -> Scene:
    """The kubelet reserves more CPUs by number than the shared pool holds."""
    number = str(len(scene.state.default) + 1)

    def edit(config: Any) -> None:
        config.pop("reservedSystemCPUs", None)
        config["kubeReserved"] = {"cpu": number}
        config["systemReserved"] = {}

    return scene.kubelet(edit)


@spoils("CPU-RESERVED", "CPU-POOL", "SIDE-UNPINNED", "CPU-EXCLUSIVE")
def reserved_cpus_were_given_to_others(scene: Scene) -> Scene:
    """Another pod owns all that was reserved for the system, and the pool is smaller for it."""
    path, text = scene.text("/configz")
    del path
    kubelet = scene.seen.node.kubelet if scene.seen.node else None
    reserved = kubelet.reserved if kubelet else None
    if not reserved or not reserved <= scene.state.default or '"strict-cpu' in text:
        raise NothingToSpoilError("reserved CPUs by name in the shared pool")
    left = scene.state.default - reserved
    rest = CpuSet(sorted(left)[: max(len(reserved) - 1, 1)])
    gone = reserved | (left - rest)

    def edit(state: Any) -> None:
        state["entries"]["0000-other"] = {"busy": str(gone)}
        state["defaultCpuSet"] = str(rest)

    return scene.checkpoint(edit).in_step(rest)


# The shared pool


@spoils("CPU-POOL", alone=True, bug="kubernetes#112228")
def leaks(scene: Scene) -> Scene:
    """A pCPU is neither in the shared pool nor given to anybody."""
    left = scene.state.default - _first(scene.pool)
    return scene.default(left).in_step(left)


@spoils("CPU-POOL", "CPU-EXCLUSIVE", "SIDE-UNPINNED", alone=True)
def holds_what_is_given(scene: Scene) -> Scene:
    """The shared pool of the checkpoint holds a pCPU of compute."""
    return scene.default(scene.state.default | _first(scene.owned))


@spoils("CPU-POOL", "CPU-EXCLUSIVE", alone=True)
def neighbour_runs_anywhere(scene: Scene) -> Scene:
    """The cgroup of another pod's container has every CPU of the node."""
    _pod, other = scene.neighbour
    return scene.cpuset(other.cgroup, scene.host.online)


@spoils("CPU-POOL", "SIDE-UNPINNED", alone=True)
def names_a_cpu_that_is_not_there(scene: Scene) -> Scene:
    """The shared pool of the checkpoint holds a CPU that is not online."""
    return scene.default(scene.state.default | {max(scene.host.online) + 1})


# Quotas


@spoils("CPU-QUOTA", alone=True, bug="kubernetes#70585")
def quota_of_the_container(scene: Scene) -> Scene:
    """cpu.max of compute's cgroup is a quota."""
    quota = f"{len(scene.owned) * 100000} 100000\n"
    return scene.group(scene.compute.cgroup, "cpu.max", quota)


@spoils("CPU-QUOTA", alone=True)
def quota_of_the_pod(scene: Scene) -> Scene:
    """cpu.max of the pod's cgroup is a quota."""
    parent = str(scene.compute.cgroup).rpartition("/")[0]
    return _quota(scene, parent, "350000 100000\n")


@spoils("CPU-QUOTA", alone=True)
def smallest_quota(scene: Scene) -> Scene:
    """cpu.max of compute's cgroup leaves it a hundredth of one CPU."""
    return scene.group(scene.compute.cgroup, "cpu.max", "1000 100000\n")


def _quota(scene: Scene, cgroup: str, text: str) -> Scene:
    if f"/sys/fs/cgroup{cgroup}/cpu.max" not in scene.raw.files:
        raise NothingToSpoilError(f"cpu.max of {cgroup}")
    return scene.group(cgroup, "cpu.max", text)


# Given back


def _former(scene: Scene) -> Any:
    former = scene.raw.former
    if former is None or not former.exclusive:
        raise NothingToSpoilError("a deleted VMI that owned CPUs")
    return former


@spoils("LIFE-RELEASED", "CPU-POOL", moment=DELETED, alone=True, bug="kubernetes#112228")
def entry_stays(scene: Scene) -> Scene:
    """The checkpoint still gives its CPUs to the deleted VMI."""
    former = _former(scene)

    def edit(state: Any) -> None:
        state["entries"][former.pod_uid] = {COMPUTE: former.exclusive}

    return scene.checkpoint(edit)


@spoils("LIFE-RELEASED", moment=DELETED, alone=True)
def cpus_leak(scene: Scene) -> Scene:
    """Its CPUs are in no set of the checkpoint."""
    freed = scene.state.default & CpuSet.parse(_former(scene).exclusive)
    if not freed:
        raise NothingToSpoilError("CPUs that were not given to somebody else")
    return scene.default(scene.state.default - freed)


@spoils("LIFE-RELEASED", moment=DELETED, alone=True)
def cgroup_stays(scene: Scene) -> Scene:
    """A cgroup of its compute container is still there."""
    former = _former(scene)
    pod = f"/kubepods.slice/kubepods-pod{former.pod_uid.replace('-', '_')}.slice"
    scope = f"{pod}/cri-containerd-{former.container_ids[0]}.scope"
    return scene.cpuset(scope, CpuSet.parse(former.exclusive)).group(scope, "cgroup.threads", "")


@spoils("LIFE-RELEASED", moment=DELETED, alone=True)
def pod_stays(scene: Scene) -> Scene:
    """Its pod still runs."""
    former = _former(scene)
    pod = {
        "metadata": {
            "namespace": former.pod_namespace,
            "name": former.pod_name,
            "uid": former.pod_uid,
        },
        "spec": {"containers": [{"name": COMPUTE, "image": "launcher"}]},
        "status": {"phase": "Running"},
    }
    return scene.but(pods=(*scene.raw.pods, pod))
