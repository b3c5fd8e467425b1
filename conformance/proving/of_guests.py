"""Saboteurs of what the guest sees, and of what it takes for siblings and NUMA nodes."""

from __future__ import annotations

from typing import Any

from conformance.model.cpuset import CpuSet
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene

# Hardware threads


def _siblings(scene: Scene) -> list[int]:
    """Two vCPUs that are siblings in the guest and sit on one core of the host."""
    for cpu in scene.seen.guest.topology.cpus if scene.seen.guest else ():
        if len(cpu.siblings) == 2:
            return sorted(cpu.siblings)
    raise NothingToSpoilError("siblings in the guest")


def _repinned(scene: Scene, places: dict[int, int]) -> Scene:
    """vCPUs on other pCPUs, by every source."""
    for vcpu, cpu in places.items():
        scene = scene.pinned(vcpu, str(cpu)).live_vcpu(vcpu, str(cpu))
        scene = scene.affinity(scene.vcpus[vcpu], {cpu})
    for timer in scene.timers if 0 in places else ():
        scene = scene.bound(timer, {places[0]})
    return scene


@spoils("SMT-SIBLINGS", bug="kubevirt#4687")
def siblings_pinned_across_cores(scene: Scene) -> Scene:
    """vCPUs of different guest cores have changed places, by every source but the guest."""
    one, _mate = _siblings(scene)
    others = [each for each in scene.vcpus if each not in _siblings(scene)]
    pins = {vcpu: min(thread.affinity) for vcpu, thread in scene.vcpus.items()}
    if not others:
        raise NothingToSpoilError("two cores in the guest")
    return _repinned(scene, {one: pins[others[0]], others[0]: pins[one]})


@spoils("SMT-SIBLINGS", "GUEST-TOPOLOGY", alone=True, bug="kubevirt#6159")
def guest_sees_no_siblings(scene: Scene) -> Scene:
    """The guest sees a core for each vCPU, although the VMI asks for two threads a core."""

    def edit(report: Any) -> None:
        report.update(cores_per_socket=len(report["cpus"]), threads_per_core=1)
        for number, cpu in enumerate(report["cpus"]):
            cpu.update(core=number, siblings=str(cpu["cpu"]))

    _siblings(scene)
    return scene.guest(edit)


@spoils("SMT-SIBLINGS", "GUEST-TOPOLOGY", alone=True)
def guest_pairs_others(scene: Scene) -> Scene:
    """The guest takes vCPUs for siblings that are on different cores of the host."""
    cores = sorted(
        {str(cpu.siblings): cpu.siblings for cpu in _guest_cpus(scene)}.values(), key=min
    )
    if len(cores) < 2 or any(len(core) != 2 for core in cores):
        raise NothingToSpoilError("two cores with siblings in the guest")
    (a, b), (c, d) = sorted(cores[0]), sorted(cores[1])
    mates = {a: (a, c), c: (a, c), b: (b, d), d: (b, d)}

    def edit(report: Any) -> None:
        place = {cpu["cpu"]: (cpu["socket"], cpu["core"]) for cpu in report["cpus"]}
        for cpu in report["cpus"]:
            if cpu["cpu"] in mates:
                pair = mates[cpu["cpu"]]
                socket, core = place[a if pair == (a, c) else d]
                cpu.update(siblings=f"{pair[0]},{pair[1]}", socket=socket, core=core)

    return scene.guest(edit)


def _guest_cpus(scene: Scene) -> Any:
    return scene.seen.guest.topology.cpus if scene.seen.guest else ()


@spoils("SMT-ALIGNED", alone=True, bug="kubevirt#10593")
def part_of_a_core_is_given(scene: Scene) -> Scene:
    """The kubelet, which gives whole cores only, has given a part of one."""
    threads = scene.host.cpus_per_core
    if not threads or threads < 2 or len(scene.owned) % threads == 0:
        raise NothingToSpoilError("an odd number of CPUs")
    return _whole_cores_only(scene)


@spoils("SMT-ALIGNED")
def halves_of_two_cores(scene: Scene) -> Scene:
    """The kubelet, which gives whole cores only, has given halves of two cores, by every source."""
    threads = scene.host.cpus_per_core
    if threads != 2 or len(scene.owned) != 2 or len(scene.host.whole_cores(scene.owned)) != 1:
        raise NothingToSpoilError("one whole core")
    first, second = sorted(scene.owned)
    other = next((c for c in sorted(scene.pool) if c not in scene.host.by_id[first].siblings), None)
    if other is None:
        raise NothingToSpoilError("a free CPU of another core")
    return _whole_cores_only(scene.renumbered({second: other}))


@spoils("SMT-ALIGNED", "RUN-STARTED", "QOS-POD")
def part_of_a_core_fails_for_another_reason(scene: Scene) -> Scene:
    """The kubelet, which gives whole cores only, fails a pod of half a core for something else."""

    def edit(pod: Any) -> None:
        pod["status"].update(phase="Failed", reason="UnexpectedAdmissionError", message="no")

    failed = part_of_a_core_is_given(scene).pod(edit)
    return failed.vmi(lambda vmi: vmi["status"].update(phase="Failed"))


def _whole_cores_only(scene: Scene) -> Scene:
    """The kubelet has run with full-pcpus-only since long before the pod came."""

    def ready(node: Any) -> None:
        for each in node["status"].get("conditions", ()):
            each["lastTransitionTime"] = "2020-01-01T00:00:00Z"

    options = {"full-pcpus-only": "true"}
    return scene.node(ready).kubelet(lambda config: config.update(cpuManagerPolicyOptions=options))


# What the guest sees


@spoils(
    "GUEST-VCPUS", "GUEST-TOPOLOGY", "NUMA-MAPPED", "SMT-SIBLINGS", alone=True, bug="kubevirt#10473"
)
def guest_lacks_a_cpu(scene: Scene) -> Scene:
    """The guest sees one CPU less than the VMI has vCPUs."""
    return scene.guest(_without_last)


@spoils("GUEST-VCPUS", "GUEST-TOPOLOGY", "NUMA-MAPPED", "SMT-SIBLINGS", alone=True)
def guest_has_one_more(scene: Scene) -> Scene:
    """The guest sees one CPU more than the VMI has vCPUs."""

    def edit(report: Any) -> None:
        number = max(cpu["cpu"] for cpu in report["cpus"]) + 1
        socket = max(cpu["socket"] for cpu in report["cpus"]) + 1
        report["cpus"].append(
            {**report["cpus"][-1], "cpu": number, "socket": socket, "siblings": str(number)}
        )
        report["online"] = f"0-{number}"
        node, cpus = max(report["nodes"].items())
        report["nodes"][node] = f"{cpus},{number}"

    return scene.guest(edit)


@spoils("GUEST-VCPUS", "GUEST-TOPOLOGY", "NUMA-MAPPED", "SMT-SIBLINGS", alone=True)
def guest_has_a_single_cpu(scene: Scene) -> Scene:
    """The guest sees one CPU, however many vCPUs the VMI has."""

    def edit(report: Any) -> None:
        if len(report["cpus"]) < 3:
            raise NothingToSpoilError("three CPUs in the guest")
        while len(report["cpus"]) > 1:
            _without_last(report)

    return scene.guest(edit)


def _without_last(report: Any) -> None:
    if len(report["cpus"]) < 2:
        raise NothingToSpoilError("two CPUs in the guest")
    last = report["cpus"].pop()["cpu"]

    def left(text: str) -> CpuSet:
        return CpuSet.parse(text) - {last}

    report["online"] = str(left(report["online"]))
    for cpu in report["cpus"]:
        cpu["siblings"] = str(left(cpu["siblings"]))
    nodes = {node: left(cpus) for node, cpus in report["nodes"].items()}
    report["nodes"] = {node: str(cpus) for node, cpus in nodes.items() if cpus}


@spoils("GUEST-TOPOLOGY", alone=True)
def guest_says_more_sockets(scene: Scene) -> Scene:
    """The guest's own summary says one socket more than its CPUs make."""
    return scene.guest(lambda report: report.update(sockets=report["sockets"] + 1))


@spoils("GUEST-TOPOLOGY", "SMT-SIBLINGS", alone=True, bug="kubevirt#6159")
def cores_became_sockets(scene: Scene) -> Scene:
    """The guest sees a socket for each CPU instead of cores or threads."""

    def edit(report: Any) -> None:
        number = len(report["cpus"])
        if number < 2 or report["sockets"] == number:
            raise NothingToSpoilError("several CPUs on a socket")
        report.update(sockets=number, cores_per_socket=1, threads_per_core=1)
        for each, cpu in enumerate(report["cpus"]):
            cpu.update(socket=each, core=0, siblings=str(cpu["cpu"]))

    return scene.guest(edit)


@spoils("GUEST-TOPOLOGY", "SMT-SIBLINGS", alone=True)
def sibling_list_of_one_cpu_is_wrong(scene: Scene) -> Scene:
    """A CPU of the guest names siblings that do not name it."""

    def edit(report: Any) -> None:
        if len(report["cpus"]) < 2 or len(CpuSet.parse(report["cpus"][0]["siblings"])) > 1:
            raise NothingToSpoilError("two CPUs without siblings")
        report["cpus"][0]["siblings"] = "0-1"

    return scene.guest(edit)


# NUMA nodes


def _nodes(scene: Scene) -> Any:
    nodes = {cpu.node for cpu in _guest_cpus(scene)}
    if len(nodes) < 2:
        raise NothingToSpoilError("two NUMA nodes in the guest")
    return sorted(nodes)


@spoils("NUMA-MAPPED", alone=True)
def one_node_for_all(scene: Scene) -> Scene:
    """The guest sees one NUMA node over pCPUs of two."""
    _nodes(scene)

    def edit(report: Any) -> None:
        report["nodes"] = {"0": report["online"]}
        for cpu in report["cpus"]:
            cpu["node"] = 0

    return scene.guest(edit)


@spoils("NUMA-MAPPED", alone=True)
def vcpu_in_the_wrong_node(scene: Scene) -> Scene:
    """A CPU of the guest is in the other NUMA node than its pCPU."""
    first, second, *_rest = _nodes(scene)
    moved = next(cpu.id for cpu in _guest_cpus(scene) if cpu.node == first)

    def edit(report: Any) -> None:
        cpus = {node: CpuSet.parse(text) for node, text in report["nodes"].items()}
        cpus[str(first)] = cpus[str(first)] - {moved}
        cpus[str(second)] = cpus[str(second)] | {moved}
        report["nodes"] = {node: str(each) for node, each in cpus.items() if each}
        for cpu in report["cpus"]:
            if cpu["cpu"] == moved:
                cpu["node"] = second

    return scene.guest(edit)


@spoils("NUMA-MAPPED", "SMT-SIBLINGS", "NUMA-MEMORY", "NUMA-PAGES")
def vcpus_pinned_across_nodes(scene: Scene) -> Scene:
    """Two vCPUs of different NUMA nodes have changed places, by every source but the guest."""
    first, second, *_rest = _nodes(scene)
    one = next(cpu.id for cpu in _guest_cpus(scene) if cpu.node == first)
    other = next(cpu.id for cpu in _guest_cpus(scene) if cpu.node == second)
    pins = {vcpu: min(thread.affinity) for vcpu, thread in scene.vcpus.items()}
    return _repinned(scene, {one: pins[other], other: pins[one]})
