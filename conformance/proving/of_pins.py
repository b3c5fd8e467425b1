"""Saboteurs of what runs inside compute: pins, threads, cgroups, the emulator, IOThreads."""

from __future__ import annotations

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


@spoils("PIN-XML", "PIN-LIVE", "NUMA-MEMORY", alone=True)
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


@spoils(
    "PIN-LIVE",
    "PIN-THREADS",
    "NUMA-MAPPED",
    "NUMA-MEMORY",
    "NUMA-PAGES",
    alone=True,
    bug="kubevirt#6821",
)
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


@spoils(
    *("PIN-LIVE", "PIN-THREADS", "NUMA-MAPPED", "NUMA-MEMORY", "NUMA-PAGES"), bug="kubevirt#6200"
)
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


@spoils("PIN-THREADS", "NUMA-PAGES", alone=True)
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


@spoils("PIN-THREADS", "NUMA-PAGES", alone=True)
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
    found = [each for each in scene.compute.threads if each.name.startswith("vhost-")]
    if not found:
        # An older kernel has none of QEMU's own: one of its other helpers becomes one.
        found = [scene.thread("kvm-")]
        scene = scene.rename(found[0], f"vhost-{_emulator(scene).pid}")
    return scene.affinity(found[0], _first(scene))


def _helper(scene: Scene, name: str) -> Scene:
    """A helper of QEMU, which is called so, runs on the pCPU of a vCPU."""
    _isolated(scene)
    qemu = scene.thread("CPU 0/").pid
    for each in scene.compute.threads:
        own = each.pid == qemu != each.tid
        if own and not each.name.startswith(("CPU ", "IO iothread")):
            return scene.rename(each, name).affinity(each, _first(scene))
    raise NothingToSpoilError("a helper among the threads of QEMU")


@spoils("EMU-ISOLATED", alone=True)
def migration_beside_a_vcpu(scene: Scene) -> Scene:
    """A thread that sends the guest's memory in a migration runs on the pCPU of a vCPU."""
    return _helper(scene, "multifdsend_0")


@spoils("EMU-ISOLATED", alone=True)
def io_uring_beside_a_vcpu(scene: Scene) -> Scene:
    """A worker of io_uring runs on the pCPU of a vCPU."""
    return _helper(scene, "iou-wrk-150")


def _timer(scene: Scene) -> Thread:
    if not scene.timers:
        raise NothingToSpoilError("the timer of the guest")
    return scene.timers[0]


@spoils("EMU-PIT", alone=True)
def timer_runs_anywhere(scene: Scene) -> Scene:
    """The timer of the guest may run on every CPU of the node."""
    return scene.bound(_timer(scene), scene.host.online)


@spoils("EMU-PIT", alone=True)
def timer_beside_another_vcpu(scene: Scene) -> Scene:
    """The timer of the guest runs on the pCPU of its second vCPU."""
    return scene.bound(_timer(scene), scene.vcpus[1].affinity)


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


@spoils("IOT-WITHIN", "IOT-ISOLATED", "IOT-POOL", alone=True, bug="kubevirt#16992")
def iothread_outside(scene: Scene) -> Scene:
    """The thread of an IOThread runs on a pCPU of the shared pool."""
    return scene.affinity(scene.iothread, _outside(scene))


@spoils("IOT-WITHIN", "IOT-ISOLATED", "IOT-POOL", alone=True)
def iothread_may_leave(scene: Scene) -> Scene:
    """The thread of an IOThread may run on every CPU of the node."""
    return scene.affinity(scene.iothread, scene.host.online)


@spoils(
    *("IOT-WITHIN", "IOT-ISOLATED", "PIN-LIVE", "IOT-POOL", "IOT-SPREAD"),
    alone=True,
    bug="kubevirt#16992",
)
def iothread_pinned_outside(scene: Scene) -> Scene:
    """The domain XML pins an IOThread to a pCPU of the shared pool."""
    return scene.xml(
        r"(<iothreadpin iothread=['\"]\d+['\"] cpuset=)['\"][^'\"]*['\"]",
        rf"\g<1>'{_outside(scene)}'",
    )


@spoils("IOT-WITHIN", "IOT-ISOLATED", "PIN-LIVE", "IOT-POOL", alone=True)
def no_iothreads(scene: Scene) -> Scene:
    """The domain has no IOThreads although the VMI asks for them."""
    for thread in [each for each in scene.compute.threads if each.name.startswith("IO iothread")]:
        scene = scene.gone(thread)
    declared = r"(?s)<iothreads>\d+</iothreads>|<iothreadids>.*?</iothreadids>"
    return scene.live(iothread_pins={}).xml(rf"{declared}|<iothreadpin [^>]*/>", "")


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
