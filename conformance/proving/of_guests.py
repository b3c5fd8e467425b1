"""Saboteurs of what runs inside compute: pins, threads, cgroups, IOThreads, what the guest sees."""

from __future__ import annotations

from typing import Any

from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Thread
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene

_NAMES_OF_QEMU = ("qemu-system", "qemu-kvm", "call_rcu")


def _pair(scene: Scene) -> tuple[tuple[int, Thread], tuple[int, Thread]]:
    """The first two vCPUs: number and thread."""
    first, second, *_rest = sorted(scene.vcpus.items())
    return first, second


def _first(scene: Scene) -> CpuSet:
    """The pCPU of a vCPU, where there may be no other."""
    return scene.thread("CPU 0/").affinity


def _emulator(scene: Scene) -> Thread:
    for name in _NAMES_OF_QEMU:
        for each in scene.compute.threads:
            if each.name.startswith(name):
                return each
    raise NothingToSpoilError("a thread of the emulator")


def _isolated(scene: Scene) -> CpuSet:
    """The emulator's own CPUs."""
    live = scene.seen.live
    vcpus = CpuSet.union_of(live.vcpu_pins.values()) if live else CpuSet()
    if live is None or live.emulator_pin & vcpus:
        raise NothingToSpoilError("an isolated emulator")
    return live.emulator_pin


def _outside(scene: Scene) -> CpuSet:
    return CpuSet(sorted(scene.pool)[:1])


# The domain XML


@spoils("PIN-XML", "PIN-LIVE", alone=True)
def two_vcpus_on_one_pcpu(scene: Scene) -> Scene:
    """The domain XML pins two vCPUs to one pCPU."""
    (_first, thread), (second, _thread) = _pair(scene)
    return scene.pinned(second, str(thread.affinity))


@spoils("PIN-XML", "PIN-LIVE", alone=True)
def vcpu_pinned_outside(scene: Scene) -> Scene:
    """The domain XML pins a vCPU to a pCPU of the shared pool."""
    return scene.pinned(_pair(scene)[1][0], str(_outside(scene)))


@spoils("PIN-XML", "PIN-LIVE", alone=True, bug="kubevirt#16395")
def vcpu_not_pinned(scene: Scene) -> Scene:
    """The domain XML has no pin of a vCPU."""
    return scene.pinned(_pair(scene)[1][0], None)


@spoils("PIN-XML", "PIN-LIVE", alone=True)
def vcpu_floats_in_the_xml(scene: Scene) -> Scene:
    """The domain XML pins a vCPU to two pCPUs of compute."""
    (_first, thread), (second, other) = _pair(scene)
    return scene.pinned(second, str(thread.affinity | other.affinity))


@spoils("PIN-XML", "PIN-LIVE", alone=True, bug="kubevirt#10473")
def vcpu_not_enabled(scene: Scene) -> Scene:
    """The domain XML enables one vCPU less than the VMI has."""
    number = max(scene.vcpus)
    return scene.xml(
        rf"<vcpu id=(['\"]){number}\1 enabled=(['\"])yes\2", f"<vcpu id='{number}' enabled='no'"
    )


# Live pins


@spoils("PIN-LIVE", "PIN-THREADS", "NUMA-MAPPED", alone=True, bug="kubevirt#6821")
def vcpu_repinned(scene: Scene) -> Scene:
    """libvirt answers two pCPUs for a vCPU, and the XML says one."""
    (_first, thread), (second, other) = _pair(scene)
    return scene.live_vcpu(second, str(thread.affinity | other.affinity))


@spoils("PIN-LIVE", "EMU-ISOLATED", "EMU-HOUSEKEEPING", "IOT-ISOLATED", alone=True)
def emulator_repinned(scene: Scene) -> Scene:
    """libvirt answers another pin of the emulator than the XML has."""
    if scene.seen.domain is None or scene.seen.domain.emulator_pin is None:
        raise NothingToSpoilError("an emulator that is pinned by the XML")
    return scene.live(emulator_pin=str(_first(scene)))


@spoils("PIN-LIVE", "IOT-WITHIN", "IOT-ISOLATED", alone=True)
def iothread_repinned(scene: Scene) -> Scene:
    """libvirt answers another pin of an IOThread than the XML has."""
    domain = scene.seen.domain
    if domain is None or not domain.iothread_pins or scene.raw.domain is None:
        raise NothingToSpoilError("an IOThread that is pinned by the XML")
    number = min(domain.iothread_pins)
    pins = {**scene.raw.domain.iothread_pins, str(number): str(_outside(scene))}
    return scene.live(iothread_pins=pins)


@spoils("PIN-LIVE", "PIN-THREADS", "NUMA-MAPPED", bug="kubevirt#6200")
def vcpus_swapped(scene: Scene) -> Scene:
    """libvirt and the threads have two vCPUs the other way round than the XML."""
    (first, thread), (second, other) = _pair(scene)
    swapped = scene.live_vcpu(first, str(other.affinity)).live_vcpu(second, str(thread.affinity))
    return swapped.affinity(thread, other.affinity).affinity(other, thread.affinity)


# Threads


@spoils("PIN-THREADS", alone=True)
def thread_may_run_on_two(scene: Scene) -> Scene:
    """The thread of a vCPU may run on a second pCPU of compute."""
    (_first, thread), (_second, other) = _pair(scene)
    return scene.affinity(other, thread.affinity | other.affinity)


@spoils("PIN-THREADS", alone=True)
def thread_outside(scene: Scene) -> Scene:
    """The thread of a vCPU runs on a pCPU of the shared pool."""
    return scene.affinity(_pair(scene)[1][1], _outside(scene))


@spoils("PIN-THREADS", alone=True)
def threads_swapped(scene: Scene) -> Scene:
    """The threads of two vCPUs run where the other one is pinned."""
    (_first, thread), (_second, other) = _pair(scene)
    return scene.affinity(thread, other.affinity).affinity(other, thread.affinity)


@spoils("PIN-THREADS", alone=True, bug="kubevirt#4687")
def thread_on_the_pcpu_of_another(scene: Scene) -> Scene:
    """The thread of a vCPU runs on the pCPU of another vCPU."""
    (_first, thread), (_second, other) = _pair(scene)
    return scene.affinity(other, thread.affinity)


@spoils("PIN-THREADS", alone=True)
def threads_float(scene: Scene) -> Scene:
    """No thread of a vCPU is pinned: each may run on all of compute's pCPUs."""
    for thread in scene.vcpus.values():
        scene = scene.affinity(thread, scene.owned)
    return scene


@spoils("PIN-THREADS", "PIN-CGROUP", "EMU-HOUSEKEEPING", alone=True)
def thread_is_missing(scene: Scene) -> Scene:
    """QEMU has one vCPU thread less than the VMI has vCPUs."""
    return scene.gone(scene.vcpus[max(scene.vcpus)])


# Cgroups of vCPUs


def _housekeeping(scene: Scene) -> str:
    if "housekeeping" not in scene.compute.children:
        raise NothingToSpoilError("a housekeeping cgroup")
    return f"{scene.compute.cgroup}/housekeeping"


@spoils("PIN-CGROUP", "EMU-HOUSEKEEPING", alone=True, bug="kubevirt#8233")
def swept_with_the_others(scene: Scene) -> Scene:
    """The thread of a vCPU was moved to the housekeeping cgroup."""
    return scene.moved(_pair(scene)[1][1], _housekeeping(scene))


@spoils("PIN-CGROUP", "EMU-HOUSEKEEPING", alone=True)
def all_vcpus_swept(scene: Scene) -> Scene:
    """The threads of all vCPUs were moved to the housekeeping cgroup."""
    cgroup = _housekeeping(scene)
    for thread in scene.vcpus.values():
        scene = scene.moved(thread, cgroup)
    return scene


@spoils("PIN-CGROUP", "EMU-HOUSEKEEPING", alone=True)
def moved_to_a_cgroup_of_a_neighbour(scene: Scene) -> Scene:
    """The thread of a vCPU sits in a cgroup below compute's that lacks its pCPU."""
    (_first, thread), (_second, other) = _pair(scene)
    child = f"{scene.compute.cgroup}/strange"
    return (
        scene.cpuset(child, thread.affinity).group(child, "cgroup.threads", "").moved(other, child)
    )


# The emulator


@spoils("EMU-ISOLATED", alone=True)
def thread_of_qemu_beside_a_vcpu(scene: Scene) -> Scene:
    """A thread of QEMU may run on the pCPU of a vCPU."""
    _isolated(scene)
    return scene.affinity(_emulator(scene), _first(scene))


@spoils("EMU-ISOLATED", alone=True)
def thread_of_qemu_anywhere(scene: Scene) -> Scene:
    """A thread of QEMU may run on all of compute's pCPUs."""
    _isolated(scene)
    return scene.affinity(_emulator(scene), scene.owned)


@spoils("EMU-ISOLATED", alone=True, bug="kubevirt/enhancements#374")
def vhost_beside_a_vcpu(scene: Scene) -> Scene:
    """A vhost thread that works for the guest runs on the pCPU of a vCPU."""
    _isolated(scene)
    name, beside = f"vhost-{_emulator(scene).pid}", _first(scene)
    found = next((e for e in scene.compute.threads if e.name.startswith("vhost-")), None)
    return (
        scene.affinity(found or scene.thread("kvm-"), beside)
        if found
        else scene.rename(scene.thread("kvm-"), name).affinity(scene.thread("kvm-"), beside)
    )


@spoils("EMU-ISOLATED", "PIN-LIVE", "EMU-HOUSEKEEPING", "IOT-ISOLATED", bug="kubevirt#10839")
def emulator_has_two(scene: Scene) -> Scene:
    """The emulator is pinned to its own pCPU and that of a vCPU, by libvirt, XML and cgroup."""
    both = _isolated(scene) | _first(scene)
    pinned = scene.xml(
        r"<emulatorpin cpuset=(['\"])[^'\"]*\1\s*/>", f"<emulatorpin cpuset='{both}'/>"
    )
    return pinned.live(emulator_pin=str(both)).cpuset(_housekeeping(scene), both)


@spoils("EMU-HOUSEKEEPING", "PIN-CGROUP", "EMU-ISOLATED", alone=True, bug="kubevirt#8233")
def others_stay_in_the_root(scene: Scene) -> Scene:
    """A thread of QEMU stays beside the vCPUs, in compute's own cgroup."""
    _housekeeping(scene)
    return scene.moved(_emulator(scene), str(scene.compute.cgroup))


@spoils("EMU-HOUSEKEEPING", "EMU-ISOLATED", alone=True)
def housekeeping_is_wider(scene: Scene) -> Scene:
    """The housekeeping cgroup has the pCPUs of the vCPUs as well."""
    return scene.cpuset(_housekeeping(scene), scene.owned)


@spoils("EMU-HOUSEKEEPING", alone=True)
def launcher_stays_in_the_root(scene: Scene) -> Scene:
    """A process of the launcher stays in compute's own cgroup."""
    _housekeeping(scene)
    return scene.moved(scene.thread("virtqemud"), str(scene.compute.cgroup))


# IOThreads


@spoils("IOT-WITHIN", "IOT-ISOLATED", alone=True, bug="kubevirt#16992")
def iothread_outside(scene: Scene) -> Scene:
    """The thread of an IOThread runs on a pCPU of the shared pool."""
    return scene.affinity(scene.iothread, _outside(scene))


@spoils("IOT-WITHIN", "IOT-ISOLATED", alone=True)
def iothread_may_leave(scene: Scene) -> Scene:
    """The thread of an IOThread may run on every CPU of the node."""
    return scene.affinity(scene.iothread, scene.host.online)


@spoils("IOT-WITHIN", "IOT-ISOLATED", "PIN-LIVE", alone=True, bug="kubevirt#16992")
def iothread_pinned_outside(scene: Scene) -> Scene:
    """The domain XML pins an IOThread to a pCPU of the shared pool."""
    return scene.xml(
        r"(<iothreadpin iothread=['\"]\d+['\"] cpuset=)['\"][^'\"]*['\"]",
        rf"\g<1>'{_outside(scene)}'",
    )


@spoils("IOT-WITHIN", "IOT-ISOLATED", "PIN-LIVE", alone=True)
def no_iothreads(scene: Scene) -> Scene:
    """The domain has no IOThreads although the VMI asks for them."""
    for thread in [each for each in scene.compute.threads if each.name.startswith("IO iothread")]:
        scene = scene.gone(thread)
    scene = scene.live(iothread_pins={})
    scene = scene.xml(r"<iothreads>\d+</iothreads>", "")
    while True:
        try:
            scene = scene.xml(r"<iothreadpin [^>]*/>", "")
        except NothingToSpoilError:
            return scene.xml("<iothreadids>.*</iothreadids>|^", "")


@spoils("IOT-ISOLATED", alone=True, bug="kubevirt#3103")
def iothread_beside_a_vcpu(scene: Scene) -> Scene:
    """The thread of an IOThread runs on the pCPU of a vCPU, although the emulator is isolated."""
    _isolated(scene)
    return scene.affinity(scene.iothread, _first(scene))


@spoils("IOT-ISOLATED", "PIN-LIVE", alone=True)
def iothread_pinned_beside_a_vcpu(scene: Scene) -> Scene:
    """The domain XML pins an IOThread to the pCPU of a vCPU, although the emulator is isolated."""
    _isolated(scene)
    return scene.xml(
        r"(<iothreadpin iothread=['\"]\d+['\"] cpuset=)['\"][^'\"]*['\"]",
        rf"\g<1>'{_first(scene)}'",
    )


@spoils("IOT-ISOLATED", alone=True)
def iothread_on_all_of_compute(scene: Scene) -> Scene:
    """The thread of an IOThread may run on all of compute's pCPUs, those of vCPUs too."""
    _isolated(scene)
    return scene.affinity(scene.iothread, scene.owned)


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
    return scene.kubelet(
        lambda config: config.update(cpuManagerPolicyOptions={"full-pcpus-only": "true"})
    )


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
def guest_has_one_offline(scene: Scene) -> Scene:
    """A CPU of the guest is offline, while libvirt has a thread for it."""
    return scene.guest(_without_last)


def _without_last(report: Any) -> None:
    if len(report["cpus"]) < 2:
        raise NothingToSpoilError("two CPUs in the guest")
    last = report["cpus"].pop()["cpu"]

    def left(text: str) -> str:
        return str(CpuSet.parse(text) - {last})

    report["online"] = left(report["online"])
    for cpu in report["cpus"]:
        cpu["siblings"] = left(cpu["siblings"])
    report["nodes"] = {node: left(cpus) for node, cpus in report["nodes"].items()}


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


@spoils("NUMA-MAPPED", "SMT-SIBLINGS")
def vcpus_pinned_across_nodes(scene: Scene) -> Scene:
    """Two vCPUs of different NUMA nodes have changed places, by every source but the guest."""
    first, second, *_rest = _nodes(scene)
    one = next(cpu.id for cpu in _guest_cpus(scene) if cpu.node == first)
    other = next(cpu.id for cpu in _guest_cpus(scene) if cpu.node == second)
    pins = {vcpu: min(thread.affinity) for vcpu, thread in scene.vcpus.items()}
    return _repinned(scene, {one: pins[other], other: pins[one]})
