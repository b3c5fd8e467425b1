"""The domain XML says of CPUs and IOThreads what KubeVirt's would."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from clusters.reference.faults import NONE
from clusters.reference.launcher.domain_xml import GuestSettings, guest_files, render
from clusters.reference.launcher.pinning import Pinning
from tests.unit.reference.cluster import manifest


def vmi(*disks: dict[str, Any], **domain: Any) -> dict[str, Any]:
    made = manifest(machine={"type": "q35"}, memory={"guest": "64Mi"}, **domain)
    made["metadata"]["uid"] = "0b5c7c2e-0000-4000-8000-000000000000"
    made["spec"]["domain"]["devices"] = {"disks": list(disks)}
    return made


def domain(instance: dict[str, Any], pinning: Pinning | None = None, **settings: Any) -> Element:
    return ElementTree.fromstring(render(instance, pinning, GuestSettings(**settings), NONE))


def disk_iothreads(tree: Element) -> list[str | None]:
    return [driver.get("iothread") for driver in tree.findall("devices/disk/driver")]


def test_vcpus_are_listed_only_when_some_are_switched_off() -> None:
    cpu = {"sockets": 2, "cores": 2, "threads": 1}
    plain = domain(vmi(cpu=cpu))
    assert (plain.findtext("vcpu"), plain.find("vcpus")) == ("4", None)
    growing = domain(vmi(cpu={**cpu, "maxSockets": 8}))
    assert growing.findtext("vcpu") == "16"
    vcpus = growing.findall("vcpus/vcpu")
    assert [v.get("enabled") for v in vcpus] == ["yes"] * 4 + ["no"] * 12
    assert [v.get("hotpluggable") for v in vcpus][:3] == ["no", "no", "yes"]
    topology = growing.find("cpu/topology")
    assert topology is not None
    assert topology.attrib == {"sockets": "8", "dies": "1", "cores": "2", "threads": "1"}


def test_pins_are_written_as_they_were_chosen() -> None:
    pinning = Pinning({0: 2, 1: 3}, emulator=(4, 5), iothreads={1: (4, 5)})
    tune = domain(vmi(cpu={"cores": 2}), pinning).find("cputune")
    assert tune is not None
    assert [(e.tag, *e.attrib.values()) for e in tune] == [
        ("vcpupin", "0", "2"),
        ("vcpupin", "1", "3"),
        ("emulatorpin", "4,5"),
        ("iothreadpin", "1", "4,5"),
    ]
    assert domain(vmi(cpu={"cores": 2})).find("cputune") is None


def test_disks_share_iothreads_or_have_their_own() -> None:
    shared, own = {"name": "a", "disk": {}}, {"name": "b", "disk": {}, "dedicatedIOThread": True}
    auto = domain(vmi(shared, own, {**shared, "name": "c"}, ioThreadsPolicy="auto"))
    assert auto.findtext("iothreads") == "2"
    assert disk_iothreads(auto) == ["1", "2", "1"]
    assert disk_iothreads(domain(vmi(shared, ioThreadsPolicy="shared"))) == ["1"]
    none = domain(vmi(shared))
    assert (none.find("iothreads"), disk_iothreads(none)) == (None, [None])


def test_a_supplemental_pool_serves_every_disk() -> None:
    pool = {"supplementalPoolThreadCount": 3}
    instance = vmi({"name": "a", "disk": {}}, ioThreadsPolicy="supplementalPool", ioThreads=pool)
    tree = domain(instance)
    assert tree.findtext("iothreads") == "3"
    group = tree.findall("devices/disk/driver/iothreads/iothread")
    assert [thread.get("id") for thread in group] == ["1", "2", "3"]


def test_the_guest_is_booted_as_the_settings_say() -> None:
    settings: dict[str, Any] = {"kernel": "/k", "initrd": "/i", "arguments": "quiet"}
    tree = domain(vmi({"name": "a", "disk": {}}), cpu_features=("topoext",), **settings)
    found = tuple(tree.findtext(f"os/{name}") for name in ("kernel", "initrd", "cmdline"))
    assert found == ("/k", "/i", "quiet")
    assert tree.findtext("name") == "default_vm"
    assert [f.get("name") for f in tree.findall("cpu/feature")] == ["topoext"]


def test_every_file_of_the_domain_is_made_before() -> None:
    instance = vmi({"name": "a", "disk": {}})
    files, tree = guest_files(instance), domain(instance)
    sources = [element.get("file") for element in tree.findall("devices/disk/source")]
    assert sources == list(files.disks)
    console = tree.find("devices/serial/source")
    assert console is not None
    assert (console.get("path") or "").rsplit("/", 1)[0] in files.directories
