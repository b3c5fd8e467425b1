"""The libvirt domain of a VMI.

What pinning depends on is as kubevirt pkg/virt-launcher/virtwrap/converter makes it: the
topology with room for hotplugged sockets, vCPUs switched on one by one, cputune, IOThreads
and which disk uses which. The guest is always the node's own small one, booted directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from clusters.reference import quantity, vmi
from clusters.reference.apiserver.store import Object
from clusters.reference.faults import Faults
from clusters.reference.launcher.guest_numa import Cell
from clusters.reference.launcher.pinning import Pinning

_DISK_DIRECTORY = "/var/run/kubevirt-ephemeral-disks"
_PRIVATE_DIRECTORY = "/var/run/kubevirt-private"


@dataclass(frozen=True)
class GuestSettings:
    """How the guest is booted on the nodes of this cluster.

    Attributes:
        kernel: path of its kernel as the launcher container sees it.
        initrd: path of its initial root file system there.
        arguments: the kernel command line.
        machine: machine type; empty takes what the VMI says.
        cpu_mode: libvirt's CPU mode; empty takes what the VMI says.
        cpu_features: CPU features to be required beside it.
    """

    kernel: str = "/usr/share/cpu-conformance/guest/vmlinux"
    initrd: str = "/usr/share/cpu-conformance/guest/initrd"
    arguments: str = "console=ttyS0 quiet"
    machine: str = ""
    cpu_mode: str = "host-passthrough"
    cpu_features: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuestFiles:
    """What has to exist in the launcher container before the domain is created."""

    directories: Sequence[str]
    disks: Sequence[str]


def domain_name(instance: Object) -> str:
    """Libvirt's name of the VMI's domain."""
    metadata = instance["metadata"]
    return f"{metadata['namespace']}_{metadata['name']}"


def guest_files(instance: Object) -> GuestFiles:
    """Directories and disk images of the VMI."""
    directories = [f"{_PRIVATE_DIRECTORY}/{instance['metadata']['uid']}"]
    images = [_image(disk) for disk in vmi.disks(instance)]
    return GuestFiles(directories + ([_DISK_DIRECTORY] if images else []), images)


def render(
    instance: Object,
    pinning: Pinning | None,
    settings: GuestSettings,
    faults: Faults,
    cells: Sequence[Cell] = (),
) -> str:
    """The domain XML.

    Args:
        instance: the VMI, as admitted.
        pinning: None for a VMI without dedicated CPUs.
        settings: how its guest is booted.
        faults: what is done wrong on purpose.
        cells: the NUMA nodes of the guest, where they are those of the host.
    """
    metadata = instance["metadata"]
    root = Element("domain", type="kvm")
    _text(root, "name", domain_name(instance))
    _text(root, "uuid", metadata["uid"])
    memory = (vmi.domain_of(instance).get("memory") or {}).get("guest")
    _text(root, "memory", str(quantity.value(memory)), unit="b")
    _add_memory_backing(root, instance, cells, faults)
    topology = _topology(instance, faults)
    _add_vcpus(root, instance, topology)
    iothreads = vmi.iothread_counts(instance)[0] if vmi.uses_iothreads(instance) else 0
    if iothreads:
        _text(root, "iothreads", str(iothreads))
    if pinning is not None:
        _add_cputune(root, pinning)
    if cells:
        _add_numatune(root, cells, faults)
    _add_boot(root, instance, settings)
    features = SubElement(root, "features")
    SubElement(features, "acpi")
    if pinning is not None and not faults.hint_missing:
        SubElement(SubElement(features, "kvm"), "hint-dedicated", state="on")
    if vmi.realtime(instance):
        SubElement(features, "pmu", state="off")
    _add_cpu(root, instance, topology, settings, cells)
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(root, f"on_{event}", action)
    _add_devices(root, instance, faults)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _topology(instance: Object, faults: Faults) -> tuple[int, int, int]:
    """(sockets with room to grow, cores, threads)."""
    sockets, cores, threads = vmi.topology(instance)
    most = max(sockets, int(vmi.cpu_of(instance).get("maxSockets") or 0))
    if faults.no_room_to_grow:
        most = sockets
    if faults.guest_topology_flat:
        return most * cores * threads, 1, 1
    return most, cores, threads


def _add_memory_backing(
    root: Element, instance: Object, cells: Sequence[Cell], faults: Faults
) -> None:
    """Huge pages, as memfd: so the container needs no hugetlbfs of its own."""
    size = vmi.page_size(instance)
    if size is None or faults.small_pages:
        return
    backing = SubElement(root, "memoryBacking")
    pages = SubElement(backing, "hugepages")
    for number in range(len(cells)):
        bytes_ = str(quantity.value(size))
        SubElement(pages, "page", size=bytes_, unit="b", nodeset=str(number))
    SubElement(backing, "source", type="memfd")
    if cells:
        SubElement(backing, "allocation", mode="immediate")
        if vmi.realtime(instance):
            SubElement(backing, "nosharepages")


def _add_vcpus(root: Element, instance: Object, topology: tuple[int, int, int]) -> None:
    sockets, cores, threads = topology
    total, enabled = sockets * cores * threads, vmi.vcpus(instance)
    _text(root, "vcpu", str(total), placement="static")
    if total == enabled:
        return
    listed = SubElement(root, "vcpus")
    for number in range(total):
        SubElement(
            listed,
            "vcpu",
            id=str(number),
            enabled="yes" if number < enabled else "no",
            hotpluggable="yes" if number >= cores * threads else "no",
        )


def _add_cputune(root: Element, pinning: Pinning) -> None:
    tune = SubElement(root, "cputune")
    for number, cpu in pinning.vcpus.items():
        SubElement(tune, "vcpupin", vcpu=str(number), cpuset=str(cpu))
    if pinning.emulator:
        SubElement(tune, "emulatorpin", cpuset=_list(pinning.emulator))
    for number, cpus in pinning.iothreads.items():
        SubElement(tune, "iothreadpin", iothread=str(number), cpuset=_list(cpus))


def _add_numatune(root: Element, cells: Sequence[Cell], faults: Faults) -> None:
    tune = SubElement(root, "numatune")
    SubElement(tune, "memory", mode="strict", nodeset=_list(cell.host for cell in cells))
    shift = int(faults.cells_swapped)
    for number in range(len(cells)):
        node = str(cells[(number + shift) % len(cells)].host)
        SubElement(tune, "memnode", cellid=str(number), mode="strict", nodeset=node)


def _add_boot(root: Element, instance: Object, settings: GuestSettings) -> None:
    machine = settings.machine or vmi.domain_of(instance)["machine"]["type"]
    system = SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine=machine)
    _text(system, "kernel", settings.kernel)
    _text(system, "initrd", settings.initrd)
    _text(system, "cmdline", settings.arguments)


def _add_cpu(
    root: Element,
    instance: Object,
    topology: tuple[int, int, int],
    settings: GuestSettings,
    cells: Sequence[Cell],
) -> None:
    model = settings.cpu_mode or vmi.cpu_of(instance).get("model") or "host-model"
    hosts = model in ("host-model", "host-passthrough")
    cpu = SubElement(root, "cpu", mode=model if hosts else "custom")
    if not hosts:
        _text(cpu, "model", model)
    sockets, cores, threads = topology
    SubElement(
        cpu,
        "topology",
        sockets=str(sockets),
        dies="1",
        cores=str(cores),
        threads=str(threads),
    )
    for name in settings.cpu_features:
        SubElement(cpu, "feature", policy="require", name=name)
    numa = SubElement(cpu, "numa") if cells else cpu
    for number, cell in enumerate(cells):
        cpus = _list(cell.vcpus)
        SubElement(numa, "cell", id=str(number), cpus=cpus, memory=str(cell.memory), unit="b")


def _add_devices(root: Element, instance: Object, faults: Faults) -> None:
    devices = SubElement(root, "devices")
    for index, (disk, iothread) in enumerate(_disk_iothreads(instance, faults)):
        element = SubElement(devices, "disk", type="file", device="disk")
        driver = SubElement(element, "driver", name="qemu", type="raw")
        if isinstance(iothread, int):
            driver.set("iothread", str(iothread))
        elif iothread:
            group = SubElement(driver, "iothreads")
            for number in iothread:
                SubElement(group, "iothread", id=str(number))
        SubElement(element, "source", file=_image(disk))
        SubElement(element, "target", dev=f"vd{chr(ord('a') + index)}", bus="virtio")
        SubElement(element, "alias", name=f"ua-{disk['name']}")
    path = f"{_PRIVATE_DIRECTORY}/{instance['metadata']['uid']}/virt-serial0-log"
    serial = SubElement(devices, "serial", type="file")
    SubElement(serial, "source", path=path, append="on")
    SubElement(serial, "target", port="0")
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(devices, "memballoon", model="none")


def _disk_iothreads(
    instance: Object, faults: Faults
) -> Iterable[tuple[Object, int | Sequence[int] | None]]:
    """Each disk with its IOThread, its pool of IOThreads, or none.

    Disks without an IOThread of their own take the shared ones in turn; the dedicated ones
    have the numbers after those.
    """
    disks = vmi.disks(instance)
    if supplemental := vmi.supplemental_iothreads(instance):
        return [(disk, range(1, supplemental + 1)) for disk in disks]
    if not vmi.uses_iothreads(instance):
        return [(disk, None) for disk in disks]
    shared = vmi.iothread_counts(instance)[1]
    own, turn = shared, 0
    result: list[tuple[Object, int]] = []
    for disk in disks:
        if disk.get("dedicatedIOThread"):
            own += 1
            result.append((disk, 1 if faults.disks_share_iothreads else own))
        else:
            result.append((disk, turn % shared + 1))
            turn += 1
    return result


def _image(disk: Object) -> str:
    return f"{_DISK_DIRECTORY}/{disk['name']}.img"


def _list(cpus: Iterable[int]) -> str:
    return ",".join(map(str, cpus))


def _text(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = text
