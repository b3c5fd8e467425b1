"""What the oracle expects, against values written by hand from the two guides."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from clusters.reference import vmi as stack
from conformance.matrix.manifests import Wish, vmi
from conformance.matrix.matrices import matrix
from conformance.matrix.oracle import expect
from conformance.matrix.today import EXAMPLES, MORE
from conformance.model.expectation import Expectation, Sidecar

CPU = "spec.domain.cpu"
RESOURCES = "spec.domain.resources"
DEDICATED = f"{CPU}.dedicatedCpuPlacement"


def of(wish: Wish, profile: str = "v1") -> Expectation:
    return expect(vmi("vmi", wish, profile=profile), profile)


@pytest.mark.parametrize(
    ("wish", "topology"),
    [
        (Wish(sockets=2), (2, 1, 1)),
        (Wish(cores=3), (1, 3, 1)),
        (Wish(threads=2), (1, 1, 2)),
        (Wish(2, 2, 2), (2, 2, 2)),
        (Wish(requests_cpu=3), (3, 1, 1)),
        (Wish(limits_cpu=3), (3, 1, 1)),
        (Wish(limits_cpu="2000m"), (2, 1, 1)),
        (Wish(limits_cpu="1e0"), (1, 1, 1)),
        (Wish(requests_cpu=2, limits_cpu="2"), (2, 1, 1)),
        (Wish(cores=2, requests_cpu=2, limits_cpu=2), (1, 2, 1)),
        (Wish(cores=2, limits_cpu=2), (1, 2, 1)),
        (Wish(cores=2, requests_cpu=2), (1, 2, 1)),
        (Wish(), (1, 1, 1)),
    ],
)
def test_the_number_of_vcpus_comes_from_topology_or_else_resources(
    wish: Wish, topology: tuple[int, int, int]
) -> None:
    expected = of(wish)
    assert expected.admitted
    assert (expected.sockets, expected.cores, expected.threads) == topology
    assert expected.vcpus == expected.compute_cpus == topology[0] * topology[1] * topology[2]


@pytest.mark.parametrize(
    ("wish", "emulator", "supplemental", "compute"),
    [
        (Wish(cores=2), 0, 0, 2),
        (Wish(cores=2, isolate=True), 1, 0, 3),
        (Wish(cores=2, even_parity=True), 0, 0, 2),
        (Wish(cores=2, isolate=True, even_parity=True), 2, 0, 4),
        (Wish(cores=3, isolate=True, even_parity=True), 1, 0, 4),
        (Wish(cores=2, iothreads_policy="supplementalPool", supplemental_iothreads=2), 0, 2, 4),
        (
            Wish(
                cores=2,
                isolate=True,
                even_parity=True,
                iothreads_policy="supplementalPool",
                supplemental_iothreads=1,
            ),
            1,
            1,
            4,
        ),
        (Wish(cores=2, supplemental_iothreads=2), 0, 0, 2),
    ],
)
def test_compute_gets_cpus_for_vcpus_emulator_and_supplemental_iothreads(
    wish: Wish, emulator: int, supplemental: int, compute: int
) -> None:
    expected = of(wish)
    assert expected.emulator_cpus == emulator
    assert expected.supplemental_iothreads == supplemental
    assert expected.compute_cpus == compute


@pytest.mark.parametrize(
    ("wish", "policy"),
    [
        (Wish(cores=1), "none"),
        (Wish(cores=1, iothreads_policy="auto"), "auto"),
        (Wish(cores=1, iothreads_policy="shared"), "shared"),
        (Wish(cores=1, dedicated_iothread=True), "shared"),
    ],
)
def test_the_policy_of_iothreads(wish: Wish, policy: str) -> None:
    assert of(wish).iothreads_policy == policy


def test_hook_sidecars_cost_what_the_guides_say() -> None:
    assert of(Wish(cores=1, hooks=2)).sidecars == (
        Sidecar("hook-sidecar-0", 200, 64_000_000),
        Sidecar("hook-sidecar-1", 200, 64_000_000),
    )


def test_only_the_older_guide_fixes_what_a_container_disk_costs() -> None:
    wish = Wish(cores=1, container_disk=True)
    assert of(wish).sidecars == (Sidecar("volumeimage", None, None),)
    assert of(wish, "v1alpha2").sidecars == (Sidecar("volumeimage", 200, 64_000_000),)


def test_a_vmi_without_dedicated_cpus_owns_none() -> None:
    expected = of(Wish(limits_cpu="1500m", dedicated=None, hooks=1))
    assert expected.admitted
    assert not expected.dedicated
    assert (expected.vcpus, expected.compute_cpus) == (2, 0)
    assert expected.sidecars == (Sidecar("hook-sidecar-0", None, None),)


@pytest.mark.parametrize(
    ("wish", "rule", "fields"),
    [
        (
            Wish(dedicated=None, isolate=True),
            "isolate-needs-dedicated",
            [f"{CPU}.isolateEmulatorThread"],
        ),
        (Wish(2, limits_memory=None), "memory-provided", [f"{RESOURCES}.limits.memory"]),
        (Wish(2, limits_memory=0), "memory-provided", [f"{RESOURCES}.limits.memory"]),
        (Wish(requests_cpu="1500m"), "requests-cpu-whole", [f"{RESOURCES}.requests.cpu"]),
        (Wish(2, requests_cpu="1500m"), "requests-cpu-whole", [f"{RESOURCES}.requests.cpu"]),
        (Wish(limits_cpu="0.5"), "limits-cpu-whole", [f"{RESOURCES}.limits.cpu"]),
        (
            Wish(requests_cpu=-1),
            "requests-cpu-not-negative",
            [f"{RESOURCES}.requests.cpu", f"{CPU}.sockets"],
        ),
        (Wish(2, limits_cpu="-1"), "limits-cpu-not-negative", [f"{RESOURCES}.limits.cpu"]),
        (
            Wish(2, requests_memory="-1Mi", limits_memory=None),
            "requests-memory-not-negative",
            [f"{RESOURCES}.requests.memory"],
        ),
        (
            Wish(2, limits_memory="-1Mi"),
            "limits-memory-not-negative",
            [f"{RESOURCES}.limits.memory"],
        ),
        (
            Wish(2, requests_memory="1Mi"),
            "requests-memory-equals-limits",
            [f"{RESOURCES}.requests.memory"],
        ),
        (Wish(requests_cpu=1, limits_cpu=2), "requests-cpu-equals-limits", [DEDICATED]),
        (Wish(2, requests_cpu=2, limits_cpu=3), "requests-cpu-equals-limits", [DEDICATED]),
        (
            Wish(dedicated=None, requests_cpu=2, limits_cpu="1500m"),
            "requests-cpu-within-limits",
            [f"{RESOURCES}.requests.cpu"],
        ),
        (Wish(cores=2, limits_cpu=3), "topology-agrees-with-resources", [DEDICATED]),
        (Wish(cores=2, requests_cpu=1), "topology-agrees-with-resources", [DEDICATED]),
        (Wish(cores=0), "cores-positive", [f"{CPU}.cores", DEDICATED]),
        (Wish(2, 0, 1), "cores-positive", [f"{CPU}.cores", DEDICATED]),
        (Wish(limits_cpu=0), "limits-cpu-positive", [f"{RESOURCES}.limits.cpu", DEDICATED]),
        (
            Wish(limits_cpu="3G"),
            "limits-cpu-representable",
            [f"{RESOURCES}.limits.cpu", f"{CPU}.sockets", DEDICATED],
        ),
        (
            Wish(limits_cpu="1e30"),
            "limits-cpu-countable",
            [f"{RESOURCES}.limits.cpu", f"{CPU}.sockets", DEDICATED],
        ),
        (
            Wish(dedicated=None, requests_cpu="5G"),
            "requests-cpu-countable",
            [f"{RESOURCES}.requests.cpu", f"{CPU}.sockets"],
        ),
        (Wish(limits_cpu=4, max_sockets=2), "sockets-within-maximum", [f"{CPU}.sockets"]),
        (
            Wish(1, hugepages="1Gi", limits_memory="1536Mi"),
            "memory-of-whole-pages",
            [f"{RESOURCES}.requests.memory"],
        ),
        (Wish(1, hugepages="1Gi"), "memory-of-a-page", [f"{RESOURCES}.requests.memory"]),
        (
            Wish(1, hugepages="large"),
            "page-size-known",
            ["spec.domain.memory.hugepages.pageSize", "spec.domain.hugepages.size"],
        ),
        (
            Wish(dedicated=None, requests_memory="1Gi"),
            "requests-memory-within-limits",
            [f"{RESOURCES}.requests.memory"],
        ),
        (
            Wish(1, requests_memory="1k", limits_memory=None),
            "requests-memory-not-tiny",
            [f"{RESOURCES}.requests.memory"],
        ),
        (
            Wish(dedicated=None, limits_memory=None),
            "memory-requested",
            [
                f"{RESOURCES}.requests.memory",
                "spec.domain.memory.guest",
                "spec.domain.memory.hugepages.pageSize",
            ],
        ),
        (Wish(1, 1, 3), "at-most-two-threads", [DEDICATED]),
        (Wish(sockets=4, max_sockets=2), "sockets-within-maximum", [f"{CPU}.sockets"]),
        (
            Wish(1, numa_passthrough=True),
            "numa-needs-hugepages",
            [f"{CPU}.numa.guestMappingPassthrough"],
        ),
        (Wish(1, realtime=True), "realtime-needs-numa", [f"{CPU}.numa.guestMappingPassthrough"]),
        (
            Wish(1, iothreads_policy="lots"),
            "iothreads-policy-known",
            ["spec.domain.ioThreadsPolicy"],
        ),
        (
            Wish(1, iothreads_policy="supplementalPool"),
            "supplemental-iothreads-counted",
            ["spec.domain.ioThreads.count", "spec.domain.ioThreads.supplementalPoolThreadCount"],
        ),
    ],
)
def test_an_inconsistent_vmi_is_refused_for_its_field(
    wish: Wish, rule: str, fields: list[str]
) -> None:
    refusal = of(wish).refusal
    assert refusal is not None
    assert refusal.rule == rule
    assert list(refusal.fields) == fields


@pytest.mark.parametrize(
    ("wish", "rule", "field"),
    [
        (Wish(sockets="2"), "schema", f"{CPU}.sockets"),
        (Wish(cores=1.5), "schema", f"{CPU}.cores"),
        (Wish(threads=True), "schema", f"{CPU}.threads"),
        (Wish(cores=10**30), "schema", f"{CPU}.cores"),
        (Wish(cores=2**31), "schema", f"{CPU}.cores"),
        (Wish(cores=-1), "decoding", f"{CPU}.cores"),
        (Wish(cores=2**32), "decoding", f"{CPU}.cores"),
        (Wish(1, dedicated="true"), "schema", DEDICATED),
        (Wish(1, dedicated=1), "schema", DEDICATED),
        (Wish(1, isolate="yes"), "schema", f"{CPU}.isolateEmulatorThread"),
        (Wish(requests_cpu="two"), "decoding", f"{RESOURCES}.requests.cpu"),
        (Wish(limits_cpu=True), "schema", f"{RESOURCES}.limits.cpu"),
        (Wish(1, limits_memory="64 Mi"), "decoding", f"{RESOURCES}.limits.memory"),
        (Wish(1, guest_memory="lots"), "decoding", "spec.domain.memory.guest"),
        (Wish(1, iothreads_policy=1), "schema", "spec.domain.ioThreadsPolicy"),
        (Wish(cores="2", requests_cpu="two"), "schema", f"{CPU}.cores"),
        (Wish(cores=2**31, requests_cpu="two"), "decoding", f"{RESOURCES}.requests.cpu"),
    ],
)
def test_a_value_that_the_schema_cannot_hold_is_refused_for_its_path(
    wish: Wish, rule: str, field: str
) -> None:
    """By the first stage that meets one."""
    refusal = of(wish).refusal
    assert refusal is not None
    assert refusal.rule == rule
    assert refusal.fields == (field,)


def test_several_violations_name_the_fields_of_all() -> None:
    refusal = of(Wish(requests_cpu="1500m", limits_memory=None)).refusal
    assert refusal is not None
    assert refusal.rule == "memory-provided+requests-cpu-whole"
    assert refusal.fields == (f"{RESOURCES}.limits.memory", f"{RESOURCES}.requests.cpu")


def test_the_schema_is_asked_before_the_rules() -> None:
    refusal = of(Wish(requests_cpu="two", limits_memory=None)).refusal
    assert refusal is not None
    assert refusal.rule == "decoding"


def test_only_the_older_generation_wants_a_number_of_vcpus() -> None:
    assert of(Wish()).admitted
    refusal = of(Wish(), "v1alpha2").refusal
    assert refusal is not None
    assert refusal.rule == "vcpus-given"


@pytest.mark.parametrize(
    "memory",
    [
        {"limits_memory": "64Mi"},
        {"limits_memory": None, "requests_memory": "64Mi"},
        {"limits_memory": None, "guest_memory": "64Mi"},
        {"limits_memory": "65536Ki", "requests_memory": "64Mi"},
    ],
)
def test_memory_may_be_given_in_any_of_its_fields(memory: Mapping[str, Any]) -> None:
    assert of(replace(Wish(cores=1), **memory)).admitted


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        ({}, "spec"),
        ({"spec": None}, "spec"),
        ({"spec": []}, "spec"),
        ({"spec": {}}, "spec.domain"),
        ({"spec": {"domain": "small"}}, "spec.domain"),
        ({"spec": {"domain": {"cpu": [1]}}}, CPU),
        ({"spec": {"domain": {"resources": {"requests": "2"}}}}, f"{RESOURCES}.requests"),
        ({"spec": {"domain": {"devices": {"disks": {}}}}}, "spec.domain.devices.disks"),
        ({"spec": {"domain": {"devices": {"disks": [1]}}}}, "spec.domain.devices.disks[0]"),
        ({"metadata": {"annotations": {"a": 1}}, "spec": {"domain": {}}}, "metadata.annotations.a"),
    ],
)
def test_a_misshapen_manifest_is_refused_and_never_raises(
    manifest: Mapping[str, Any], field: str
) -> None:
    refusal = expect(manifest).refusal
    assert refusal is not None
    assert field in refusal.fields


def test_an_unknown_profile_is_an_error() -> None:
    with pytest.raises(ValueError, match="choose one of current, v1, v1alpha2"):
        expect({}, "v2")


def test_hook_sidecars_that_are_no_json_are_noted() -> None:
    manifest = vmi("vmi", Wish(cores=1))
    manifest["metadata"]["annotations"] = {"hooks.kubevirt.io/hookSidecars": "[nonsense"}
    expected = expect(manifest)
    assert expected.sidecars == ()
    assert "not a JSON list" in expected.notes[0]


GUIDE_EXAMPLES = [
    ("v1alpha2", {"cores": 2, "dedicatedCpuPlacement": True}, {"memory": "2Gi"}, (2, 2)),
    ("v1alpha2", {"dedicatedCpuPlacement": True}, {"cpu": 2, "memory": "2Gi"}, (2, 2)),
    (
        "v1",
        {"sockets": 2, "cores": 1, "threads": 1, "dedicatedCpuPlacement": True},
        {"memory": "2Gi"},
        (2, 2),
    ),
    ("v1", {"dedicatedCpuPlacement": True}, {"cpu": 2, "memory": "2Gi"}, (2, 2)),
    (
        "v1",
        {"dedicatedCpuPlacement": True, "isolateEmulatorThread": True},
        {"cpu": 2, "memory": "2Gi"},
        (2, 3),
    ),
]


@pytest.mark.parametrize(("profile", "cpu", "limits", "counts"), GUIDE_EXAMPLES)
def test_the_examples_of_the_guides_are_admitted(
    profile: str, cpu: Mapping[str, Any], limits: Mapping[str, Any], counts: tuple[int, int]
) -> None:
    manifest = {
        "apiVersion": f"kubevirt.io/{profile}",
        "kind": "VirtualMachineInstance",
        "spec": {"domain": {"cpu": cpu, "devices": {}, "resources": {"limits": limits}}},
    }
    expected = expect(manifest, profile)
    assert expected.admitted
    assert (expected.vcpus, expected.compute_cpus) == counts


@pytest.mark.parametrize(
    ("mask", "chosen"),
    [
        (None, {0, 1, 2, 3}),
        ("0", {0}),
        ("0-3", {0, 1, 2, 3}),
        ("0-3,^1", {0, 2, 3}),
        ("^1, 0-1", {0}),
        ("2,7-9", {2}),
        ("^2", set()),
        ("0-", None),
        ("^0-1", None),
        ("all", None),
    ],
)
def test_a_mask_says_which_vcpus_are_in_real_time(
    mask: str | None, chosen: set[int] | None
) -> None:
    wish = Wish(cores=4, hugepages="2Mi", numa_passthrough=True, realtime=True, realtime_mask=mask)
    expected = of(wish, "current")
    assert expected.realtime == chosen
    assert expected.needs == ("hugepages", "realtime")
    assert of(replace(wish, realtime=False), "current").realtime is None
    if chosen is not None:
        # The reference stack reads masks by itself, as virt-handler does.
        stored = vmi("vmi", wish)
        assert chosen == {n for n in range(4) if stack.in_real_time(stored, n)}


def test_memory_and_pages_are_those_that_are_asked_for() -> None:
    expected = of(Wish(cores=2, hugepages="2Mi", numa_passthrough=True), "current")
    assert (expected.memory, expected.page) == (96 * 2**20, 2 * 2**20)
    more = of(Wish(cores=2, hugepages="1Gi", guest_memory="2Gi", limits_memory="3Gi"), "current")
    assert (more.memory, more.page) == (2 * 2**30, 2**30)
    assert of(Wish(cores=2), "current").page is None


def test_profile_current_has_all_of_v1_and_more() -> None:
    for name in ("smoke", "standard", "full"):
        # What is remarked on differs: that a profile judges something.
        v1, current = ([each.id for each in matrix(name, profile)] for profile in ("v1", "current"))
        assert [each for each in current if each in v1] == v1
        wanted = EXAMPLES if name == "smoke" else (*EXAMPLES, *MORE)
        assert {*current} - {*v1} == {each[0] for each in wanted}
