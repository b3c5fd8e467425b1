"""Saboteurs of what the guide of today says of IOThreads, and of hints in the domain."""

from __future__ import annotations

from conformance.model.evidence import Domain
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene

# The hint that CPUs are dedicated


@spoils("PIN-HINT", alone=True)
def no_hint(scene: Scene) -> Scene:
    """The domain XML has no hint-dedicated."""
    return scene.xml(r"<hint-dedicated [^>]*/>", "")


@spoils("PIN-HINT", alone=True)
def hint_is_off(scene: Scene) -> Scene:
    """The domain XML has hint-dedicated, switched off."""
    return scene.xml(r"(<hint-dedicated state=)(['\"])on\2", r"\1'off'")


@spoils("PIN-HINT", alone=True)
def hidden_instead_of_a_hint(scene: Scene) -> Scene:
    """The domain XML hides KVM from the guest instead of giving it the hint."""
    return scene.xml(r"<hint-dedicated [^>]*/>", "<hidden state='on'/>")


# Pools


def _pool(scene: Scene) -> Domain:
    """A domain of a supplemental pool, which has no emulator of its own."""
    wanted = scene.raw.manifest["spec"]["domain"]
    found = scene.seen.domain
    if found is None or wanted.get("ioThreadsPolicy") != "supplementalPool":
        raise NothingToSpoilError("a supplemental pool of IOThreads")
    if found.emulator_pin is not None:
        raise NothingToSpoilError("a pool beside an emulator that is not isolated")
    return found


def _repinned(scene: Scene, number: int, cpus: str) -> Scene:
    """The XML pins an IOThread elsewhere."""
    pattern = rf"(<iothreadpin iothread=['\"]{number}['\"] cpuset=)['\"][^'\"]*['\"]"
    return scene.xml(pattern, rf"\g<1>'{cpus}'")


@spoils("IOT-POOL", "PIN-LIVE", alone=True, bug="kubevirt#16992")
def pooled_iothread_pinned_beside_a_vcpu(scene: Scene) -> Scene:
    """The domain XML pins an IOThread of the pool to the pCPU of a vCPU."""
    found = _pool(scene)
    return _repinned(scene, max(found.iothread_pins), str(found.vcpu_pins[0]))


@spoils("IOT-POOL", "PIN-LIVE", alone=True)
def two_pooled_iothreads_on_one_pcpu(scene: Scene) -> Scene:
    """The domain XML pins two IOThreads of the pool to one pCPU."""
    pins = _pool(scene).iothread_pins
    if len(pins) < 2:
        raise NothingToSpoilError("two IOThreads of a pool")
    return _repinned(scene, max(pins), str(pins[min(pins)]))


@spoils("IOT-POOL", alone=True)
def pooled_iothread_runs_beside_a_vcpu(scene: Scene) -> Scene:
    """The thread of an IOThread of the pool runs on the pCPU of a vCPU."""
    _pool(scene)
    return scene.affinity(scene.iothread, scene.thread("CPU 0/").affinity)


@spoils("IOT-POOL", alone=True)
def pooled_iothread_floats(scene: Scene) -> Scene:
    """The thread of an IOThread of the pool may run on all of compute's pCPUs."""
    _pool(scene)
    return scene.affinity(scene.iothread, scene.owned)


# Shares of the pCPUs


def _shared(scene: Scene) -> Domain:
    """A domain whose IOThreads are pinned where vCPUs are."""
    found = scene.seen.domain
    wanted = scene.raw.manifest["spec"]["domain"]
    if found is None or not found.iothread_pins or found.emulator_pin is not None:
        raise NothingToSpoilError("IOThreads on the pCPUs of vCPUs")
    if wanted.get("ioThreadsPolicy") == "supplementalPool":
        raise NothingToSpoilError("IOThreads without pCPUs of their own")
    return found


@spoils("IOT-SPREAD", "PIN-LIVE", alone=True)
def all_iothreads_on_one_pcpu(scene: Scene) -> Scene:
    """The domain XML pins every IOThread to the same pCPU, although there are more."""
    found = _shared(scene)
    if len(found.iothread_pins) < 2 or len(found.enabled) < 2:
        raise NothingToSpoilError("two IOThreads and two vCPUs")
    for number in found.iothread_pins:
        scene = _repinned(scene, number, str(found.vcpu_pins[0]))
    return scene


@spoils("IOT-SPREAD", "PIN-LIVE", alone=True)
def iothread_not_pinned(scene: Scene) -> Scene:
    """The domain XML has no pin of an IOThread."""
    number = max(_shared(scene).iothread_pins)
    return scene.xml(rf"<iothreadpin iothread=['\"]{number}['\"] [^>]*/>", "")


@spoils("IOT-SPREAD", "PIN-LIVE", alone=True)
def iothreads_on_all_pcpus(scene: Scene) -> Scene:
    """The domain XML pins every one of many IOThreads to all pCPUs of compute."""
    found = _shared(scene)
    if len(found.iothread_pins) < 2 or len(found.iothread_pins) < len(found.enabled):
        raise NothingToSpoilError("more IOThreads than vCPUs")
    for number in found.iothread_pins:
        scene = _repinned(scene, number, str(scene.owned))
    return scene


# Disks


def _own(scene: Scene) -> tuple[str, int, Domain]:
    """A disk with an IOThread of its own, that thread, and the domain."""
    devices = scene.raw.manifest["spec"]["domain"]["devices"]
    asking = [each["name"] for each in devices.get("disks", ()) if each.get("dedicatedIOThread")]
    found = scene.seen.domain
    if not asking or found is None or len(found.disk_iothreads or ()) < 2:
        raise NothingToSpoilError("a disk with an IOThread of its own, beside others")
    (number,) = (found.disk_iothreads or {})[asking[0]]
    return asking[0], number, found


@spoils("IOT-DISKS", alone=True)
def another_disk_uses_it(scene: Scene) -> Scene:
    """Every disk uses the IOThread that one disk has for itself."""
    _name, number, _found = _own(scene)
    return scene.xml(r"(<driver [^>]*iothread=)['\"]\d+['\"]", rf"\g<1>'{number}'")


@spoils("IOT-DISKS", alone=True)
def disk_without_its_iothread(scene: Scene) -> Scene:
    """The disk that asks for an IOThread of its own has none."""
    _name, number, _found = _own(scene)
    return scene.xml(rf"(<driver [^>]*) iothread=['\"]{number}['\"]", r"\g<1>")


@spoils("IOT-DISKS", alone=True)
def disk_joins_the_others(scene: Scene) -> Scene:
    """The disk that asks for an IOThread of its own uses that of the others."""
    name, number, found = _own(scene)
    others = {
        n for disk, used in (found.disk_iothreads or {}).items() if disk != name for n in used
    }
    if not others - {number}:
        raise NothingToSpoilError("another IOThread")
    other = min(others - {number})
    return scene.xml(rf"(<driver [^>]*iothread=)['\"]{number}['\"]", rf"\g<1>'{other}'")
