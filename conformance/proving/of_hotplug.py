"""Saboteurs of vCPUs that are plugged in: the room for them, what is refused, what follows."""

from __future__ import annotations

import re
from typing import Any

from conformance.checks.hotplug import ASKED, CHANGE, GROWING, MORE, TOO_MANY
from conformance.model.fields import CORES
from conformance.model.vocabulary import COMPUTE, CURRENT
from conformance.proving.saboteur import broken_by, spoils
from conformance.proving.scene import NothingToSpoilError, Scene

_VCPUS = re.compile(r"<vcpu\b(?![^>]*\bid=)[^>]*>(\d+)</vcpu>")
_OFF = r"(<vcpu [^>]*enabled=['\"])no"


def _room(scene: Scene) -> int:
    """vCPUs that the domain may have, more than it has."""
    xml = scene.raw.domain.xml if scene.raw.domain else ""
    found = _VCPUS.search(xml)
    if found is None or not re.search(_OFF, xml):
        raise NothingToSpoilError("a domain with room for more vCPUs")
    return int(found[1])


@spoils("PLUG-BOOT", alone=True)
def no_room_in_the_domain(scene: Scene) -> Scene:
    """The domain XML allows half of the vCPUs of maxSockets."""
    most = _room(scene)
    return scene.xml(rf"(<vcpu\b[^>]*>){most}</vcpu>", rf"\g<1>{most // 2}</vcpu>")


@spoils("PLUG-BOOT", "PIN-XML", "PIN-LIVE", alone=True, bug="kubevirt#10473")
def all_of_maxsockets_is_enabled(scene: Scene) -> Scene:
    """The domain XML enables every vCPU of maxSockets."""
    _room(scene)
    return scene.xml(_OFF, r"\g<1>yes")


broken_by(
    "no_room_to_grow",
    "PLUG-BOOT",
    does="The domain has no room for the sockets of maxSockets.",
    run="[room-to-plug]",
    profile=CURRENT,
)


# What is refused


@spoils("PLUG-MAX", scenario="hotplug", moment="beyond", subject=GROWING, alone=True)
def is_taken(scene: Scene) -> Scene:
    """The API takes more sockets than maxSockets."""
    return scene.but(rejection=None, done=(f"{ASKED} {TOO_MANY}",))


@spoils("PLUG-MAX", scenario="hotplug", moment="beyond", subject=GROWING, alone=True)
def is_refused_for_cores(scene: Scene) -> Scene:
    """The API refuses them, and blames the cores."""
    cause = {"reason": "FieldValueInvalid", "message": "too many", "field": CORES}
    return scene.answer(details={"causes": [cause]})


broken_by(
    "template_change_unchecked",
    "PLUG-MAX",
    does="Whatever the template of a VirtualMachine is changed to is stored.",
    run="[hotplug]",
    profile=CURRENT,
)


# What follows


def _plugged(scene: Scene) -> Scene:
    """The VMI says that it has its new sockets."""

    def edit(vmi: Any) -> None:
        status = vmi["status"]
        status["conditions"] = [each for each in status["conditions"] if each["type"] != CHANGE]
        status["currentCPUTopology"]["sockets"] = MORE

    if scene.seen.vmi is None or CHANGE not in scene.seen.vmi.conditions:
        raise NothingToSpoilError("a VMI that is to have other sockets")
    return scene.vmi(edit)


@spoils("PLUG-LIVE", scenario="hotplug", moment="grown", subject=GROWING, alone=True)
def has_them_in_name_only(scene: Scene) -> Scene:
    """The VMI says that it has its new sockets, and nothing else has changed."""
    return _plugged(scene)


@spoils(
    *("PLUG-LIVE", "QOS-INTEGER", "CPU-COUNT"),
    scenario="hotplug",
    moment="grown",
    subject=GROWING,
)
def limit_follows_alone(scene: Scene) -> Scene:
    """The VMI says that it has its new sockets, and no more than the CPU limit has followed."""
    more = {"cpu": "3"}
    return _plugged(scene).container(
        COMPUTE,
        lambda found: [found["resources"][kind].update(more) for kind in ("requests", "limits")],
    )


broken_by(
    "plugged_in_name_only",
    *("PLUG-LIVE", "QOS-INTEGER", "CPU-COUNT", "PIN-XML", "PIN-THREADS", "PIN-CGROUP"),
    *("PLUG-BOOT", "GUEST-VCPUS", "GUEST-TOPOLOGY"),
    does="A VMI says that it has the sockets that it is asked for, and nothing follows.",
    run="[hotplug]",
    profile=CURRENT,
)
