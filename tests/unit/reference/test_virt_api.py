"""virt-api refuses what is inconsistent for the field and in the words of KubeVirt."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.reference.apiserver.backends import Cause, InvalidError
from clusters.reference.apiserver.resources import KUBEVIRT
from clusters.reference.apiserver.store import Object, Store
from clusters.reference.cluster_config import ClusterConfig
from clusters.reference.faults import NONE, Faults
from clusters.reference.virt_api import VmiAdmission
from tests.unit.reference.cluster import manifest

DEDICATED = {"dedicatedCpuPlacement": True}
DEDICATED_FIELD = "spec.domain.cpu.dedicatedCpuPlacement"
NUMA_FIELD = "spec.domain.cpu.numa.guestMappingPassthrough"


def admission(profile: str = "v1", faults: Faults = NONE, **configuration: Any) -> VmiAdmission:
    store = Store()
    spec = {"configuration": configuration}
    store.create(
        KUBEVIRT, {"metadata": {"name": "kubevirt", "namespace": "kubevirt"}, "spec": spec}
    )
    return VmiAdmission(ClusterConfig(store, profile), faults)


def admitted(vmi: Object, profile: str = "v1") -> Object:
    return admission(profile).admit(vmi, None)


def causes(vmi: Object, profile: str = "v1") -> tuple[Cause, ...]:
    with pytest.raises(InvalidError) as refused:
        admitted(vmi, profile)
    return refused.value.causes


def amounts(**kinds: dict[str, Any]) -> dict[str, dict[str, Any]]:
    for amount in kinds.values():
        amount.setdefault("memory", "64Mi")
    return kinds


@pytest.mark.parametrize(
    ("domain", "field", "fragment"),
    [
        (
            {"cpu": {"isolateEmulatorThread": True}},
            "spec.domain.cpu.isolateEmulatorThread",
            "should be only set in combination with DedicatedCPUPlacement",
        ),
        (
            {"cpu": DEDICATED, "resources": {}},
            "spec.domain.resources.limits.memory",
            "should be provided",
        ),
        (
            {"cpu": DEDICATED, "resources": amounts(requests={"cpu": "1500m"})},
            "spec.domain.resources.requests.cpu",
            "CPU requests must be an interger",
        ),
        (
            {"cpu": DEDICATED, "resources": amounts(limits={"cpu": 0.5})},
            "spec.domain.resources.limits.cpu",
            "CPU limits must be an interger",
        ),
        (
            {
                "cpu": DEDICATED,
                "resources": amounts(requests={"memory": "64Mi"}, limits={"memory": "128Mi"}),
            },
            "spec.domain.resources.requests.memory",
            "must be equal to",
        ),
        (
            {"cpu": DEDICATED, "resources": amounts(requests={"cpu": 1}, limits={"cpu": 2})},
            DEDICATED_FIELD,
            "must be equal when DedicatedCPUPlacement is true",
        ),
        (
            {"cpu": {**DEDICATED, "cores": 4}, "resources": amounts(limits={"cpu": 2})},
            DEDICATED_FIELD,
            "must not be provided at the same time",
        ),
        ({"cpu": {**DEDICATED, "threads": 3}}, DEDICATED_FIELD, "Not more than two threads"),
        (
            {"cpu": {"sockets": 3, "maxSockets": 2}},
            "spec.domain.cpu.sockets",
            "greater than the maximum sockets",
        ),
        (
            {"cpu": {"realtime": {}, "numa": {"guestMappingPassthrough": {}}}},
            DEDICATED_FIELD,
            "must be set to true",
        ),
        ({"cpu": {**DEDICATED, "realtime": {}}}, NUMA_FIELD, "must be defined"),
        (
            {"cpu": {**DEDICATED, "numa": {"guestMappingPassthrough": {}}}},
            NUMA_FIELD,
            "hugepages must be requested",
        ),
        (
            {"cpu": {"cores": 1}, "resources": amounts(requests={"cpu": "-1"})},
            "spec.domain.resources.requests.cpu",
            "must be greater than or equal to 0",
        ),
        (
            {"resources": amounts(requests={"cpu": 3}, limits={"cpu": 2})},
            "spec.domain.resources.requests.cpu",
            "is greater than",
        ),
        ({"ioThreadsPolicy": "some"}, "spec.domain.ioThreadsPolicy", "Invalid IOThreadsPolicy"),
        (
            {"ioThreadsPolicy": "supplementalPool"},
            "spec.domain.ioThreads.count",
            "set and positive",
        ),
        (
            {"devices": {"disks": [{"name": "nowhere", "disk": {}}]}},
            "spec.domain.devices.disks[0].Name",
            "not found",
        ),
    ],
)
def test_inconsistent_vmis_are_refused_for_their_field(
    domain: dict[str, Any], field: str, fragment: str
) -> None:
    found = causes(manifest(**domain))
    assert any(cause.field == field and fragment in cause.message for cause in found), found


def test_every_cause_is_told_at_once() -> None:
    vmi = manifest(
        cpu={**DEDICATED, "threads": 4}, resources=amounts(requests={"cpu": 1}, limits={"cpu": 3})
    )
    assert len(causes(vmi)) == 3


@pytest.mark.parametrize(
    ("cpu", "resources", "topology"),
    [
        (DEDICATED, amounts(limits={"cpu": 2}), (2, 1, 1)),
        (DEDICATED, amounts(requests={"cpu": "3"}), (3, 1, 1)),
        (DEDICATED, amounts(limits={}), (1, 1, 1)),
        ({**DEDICATED, "cores": 2, "threads": 2}, amounts(limits={"cpu": 4}), (None, 2, 2)),
        (
            {**DEDICATED, "sockets": 2},
            amounts(requests={"cpu": 2}, limits={"cpu": 2}),
            (2, None, None),
        ),
    ],
)
def test_consistent_vmis_get_upstreams_defaults(
    cpu: dict[str, Any], resources: dict[str, Any], topology: tuple[int | None, ...]
) -> None:
    vmi = admitted(manifest(cpu=cpu, resources=resources))
    domain = vmi["spec"]["domain"]
    found = tuple(domain["cpu"].get(name) for name in ("sockets", "cores", "threads"))
    assert found == topology
    assert domain["memory"]["guest"] == "64Mi"
    if "cpu" in resources.get("limits", {}):
        assert domain["resources"]["requests"]["cpu"] == str(resources["limits"]["cpu"])


def test_one_socket_may_grow_fourfold_unless_the_rollout_is_staged() -> None:
    vmi = manifest(cpu={"sockets": 2, "cores": 1, "threads": 1})
    assert admitted(vmi)["spec"]["domain"]["cpu"]["maxSockets"] == 8
    staged = admission(vmRolloutStrategy="Stage").admit(vmi, None)
    assert "maxSockets" not in staged["spec"]["domain"]["cpu"]


def test_sidecars_need_their_gate() -> None:
    vmi = manifest()
    vmi["metadata"]["annotations"] = {"hooks.kubevirt.io/hookSidecars": "[]"}
    (cause,) = causes(vmi)
    assert cause.field == "metadata.annotations"
    developer = {"featureGates": ["Sidecar"]}
    admission(developerConfiguration=developer).admit(vmi, None)


def test_the_spec_of_a_vmi_cannot_be_changed() -> None:
    stored = admitted(manifest())
    changed = manifest(cpu={"cores": 2})
    with pytest.raises(InvalidError, match="restricted"):
        admission().admit(changed, stored)
    relabelled = {**stored, "metadata": {**stored["metadata"], "labels": {"a": "b"}}}
    assert admission().admit(relabelled, stored) == relabelled


def test_the_old_generation_takes_cores_or_resources_never_both_never_none() -> None:
    (nothing,) = causes(manifest(cpu=DEDICATED), "v1alpha2")
    assert "must be provided" in nothing.message
    both = manifest(cpu={**DEDICATED, "cores": 2}, resources=amounts(limits={"cpu": 2}))
    assert "at the same time" in causes(both, "v1alpha2")[0].message
    admitted(manifest(cpu={**DEDICATED, "cores": 2}), "v1alpha2")
    admitted(manifest(cpu=DEDICATED, resources=amounts(limits={"cpu": 2})), "v1alpha2")


def test_faults_open_or_close_the_gate() -> None:
    vmi = manifest(cpu={"isolateEmulatorThread": True})
    open_ = admission(faults=Faults(admit_field="spec.domain.cpu.isolateEmulatorThread"))
    open_.admit(vmi, None)
    with pytest.raises(InvalidError):
        admission(faults=Faults(refuse_everything=True)).admit(manifest(), None)
