"""The oracle and the reference stack apply instance types alike, each by its own code."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from clusters.reference import instancetypes as stack
from conformance.matrix import instancetypes as oracle
from conformance.matrix.instancetypes import Undecided
from conformance.model.release import Release

Json = dict[str, Any]
TEMPLATE: Json = {"metadata": {"labels": {"app": "x"}}, "spec": {"domain": {"devices": {}}}}
NEWEST = Release(1, 9)


def size(guest: int = 4, **cpu: Any) -> Json:
    return {"cpu": {"guest": guest, **cpu}, "memory": {"guest": "1Gi"}}


def shape(topology: str, across: str | None = None, ratio: int | None = None) -> Json:
    options = {"across": across, "ratio": ratio}
    given = {key: value for key, value in options.items() if value is not None}
    return {"cpu": {"preferredCPUTopology": topology, "spreadOptions": given}}


def both(template: Json, instancetype: Json | None, preference: Json | None) -> tuple[Any, Any]:
    """What each makes of them: the VMI's spec, or the fields that conflict."""
    applied = oracle.apply(template, instancetype, preference, NEWEST)
    ours = applied.conflicts or applied.vmi["spec"]
    try:
        theirs: Any = stack.expand(template, instancetype, preference)["spec"]
    except stack.ConflictsError as error:
        theirs = tuple(cause.field for cause in error.causes)
    return ours, theirs


@pytest.mark.parametrize("guest", [1, 2, 3, 4, 6, 8, 12])
def test_vcpus_get_the_same_shape(guest: int) -> None:
    named = ("sockets", "cores", "threads", "any", "preferCores", "preferSockets", "preferThreads")
    spread = itertools.product(
        ("spread", "preferSpread"),
        (None, "SocketsCores", "CoresThreads", "SocketsCoresThreads"),
        (None, 1, 2, 3, 4),
    )
    shapes = [None, *(shape(name) for name in named), *(shape(*each) for each in spread)]
    shapes.append({"preferSpreadSocketToCoreRatio": 3, "cpu": {"preferredCPUTopology": "spread"}})
    for preference in shapes:
        ours, theirs = both(TEMPLATE, size(guest), preference)
        assert ours == theirs, preference


@pytest.mark.parametrize(
    "domain",
    [
        {},
        {"cpu": {"cores": 2, "threads": 1}},
        {"cpu": {"dedicatedCpuPlacement": True, "isolateEmulatorThread": True}},
        {"cpu": {"model": "host-passthrough", "numa": {"guestMappingPassthrough": {}}}},
        {"memory": {"guest": "2Gi"}},
        {"memory": {"hugepages": {"pageSize": "2Mi"}}},
        {"resources": {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"cpu": 2}}},
        {"ioThreadsPolicy": "auto"},
    ],
)
@pytest.mark.parametrize(
    "cpu",
    [
        {},
        {"dedicatedCPUPlacement": True, "isolateEmulatorThread": True},
        {"dedicatedCPUPlacement": False, "model": "host-model"},
        {"numa": {"guestMappingPassthrough": {}}, "maxSockets": 8},
    ],
)
def test_they_find_the_same_conflicts(domain: Json, cpu: Json) -> None:
    template = {"spec": {"domain": domain}}
    sized = {**size(**cpu), "ioThreadsPolicy": "shared"}
    ours, theirs = both(template, sized, None)
    assert ours == theirs


def test_disks_are_preferred_alike() -> None:
    disks = [{"name": "a"}, {"name": "b", "cdrom": {}}, {"name": "c", "disk": {"bus": "sata"}}]
    template = {"spec": {"domain": {"devices": {"disks": disks}}}}
    devices = {"preferredDiskBus": "virtio", "preferredDiskDedicatedIoThread": True}
    ours, theirs = both(template, size(), {"devices": devices})
    assert ours == theirs
    assert ours["domain"]["devices"]["disks"][0]["dedicatedIOThread"]


@pytest.mark.parametrize(("guest", "memory"), [(4, "1Gi"), (5, "1Gi"), (4, "2Gi"), (8, "8Gi")])
def test_they_require_the_same(guest: int, memory: str) -> None:
    required = {"requirements": {"cpu": {"guest": guest}, "memory": {"guest": memory}}}
    ours, theirs = both(TEMPLATE, size(), required)
    assert ours == theirs


def test_what_is_given_is_not_changed() -> None:
    template = {
        "spec": {"domain": {"cpu": {"features": []}, "devices": {"disks": [{"name": "a"}]}}}
    }
    before = repr(template)
    oracle.apply(template, size(), {"devices": {"preferredDiskBus": "virtio"}}, NEWEST)
    assert repr(template) == before


@pytest.mark.parametrize(
    ("instancetype", "preference"),
    [
        ({"cpu": {}}, None),
        ({"cpu": {"guest": True}}, None),
        (size(), {"cpu": {"preferredCPUTopology": "diagonal"}}),
        (size(), shape("spread", ratio=0)),
        (size(), shape("spread", across="Nodes")),
        (size(), {"requirements": {"architecture": "amd64"}}),
        (None, {"requirements": {"cpu": {"guest": 2}}}),
    ],
)
def test_what_is_not_understood_is_left_undecided(
    instancetype: Json | None, preference: Json | None
) -> None:
    with pytest.raises(Undecided):
        oracle.apply(TEMPLATE, instancetype, preference, NEWEST)
