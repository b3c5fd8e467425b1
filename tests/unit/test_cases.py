import re

import pytest

from conformance.matrix.cases import Case, case, vmi_name
from conformance.matrix.manifests import Images, Wish, vmi
from conformance.matrix.matrices import NAMES, matrix

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
PROFILES = ("v1", "v1alpha2")
EVERY = [(name, profile) for name in NAMES for profile in PROFILES]


@pytest.mark.parametrize("profile", PROFILES)
def test_smoke_admits_eight_and_refuses_six_at_least(profile: str) -> None:
    cases = matrix("smoke", profile)
    admitted = [each for each in cases if each.expectation.admitted]
    refused = [each for each in cases if not each.expectation.admitted]
    assert len(admitted) >= 8
    assert len(refused) >= 6


@pytest.mark.parametrize("profile", PROFILES)
def test_smoke_fits_a_small_node(profile: str) -> None:
    expectations = [each.expectation for each in matrix("smoke", profile)]
    assert sum(each.compute_cpus for each in expectations) <= 32
    assert max(each.compute_cpus for each in expectations) <= 10


@pytest.mark.parametrize(("name", "profile"), EVERY)
def test_titles_tell_which_cases_are_refused(name: str, profile: str) -> None:
    for each in matrix(name, profile):
        assert ("refused" in each.title) is ("refused" in each.tags), each.id


@pytest.mark.parametrize("profile", PROFILES)
def test_smoke_refusals_violate_one_rule_each(profile: str) -> None:
    refusals = [each.expectation.refusal for each in matrix("smoke", profile)]
    rules = [refusal.rule for refusal in refusals if refusal is not None]
    assert len(rules) == len(set(rules))
    assert not any("+" in rule for rule in rules)


@pytest.mark.parametrize(("name", "profile"), EVERY)
def test_ids_and_names_are_unique_labels_without_a_namespace(name: str, profile: str) -> None:
    cases = matrix(name, profile)
    assert len({each.id for each in cases}) == len({each.name for each in cases}) == len(cases)
    for each in cases:
        assert DNS_LABEL.fullmatch(each.name), each.name
        assert len(each.name) <= 40
        assert "namespace" not in each.manifest["metadata"]


@pytest.mark.parametrize("name", ["smoke", "standard"])
def test_a_matrix_is_the_same_every_time(name: str) -> None:
    assert matrix(name) == matrix(name)


def test_an_unknown_matrix_is_an_error() -> None:
    with pytest.raises(ValueError, match="choose one of smoke"):
        matrix("huge")


def test_long_ids_give_short_names_that_differ() -> None:
    first, second = vmi_name("a" * 50 + "-1"), vmi_name("a" * 50 + "-2")
    assert first != second
    assert max(len(first), len(second)) <= 40


def test_tags_follow_the_expectation() -> None:
    wish = Wish(1, 1, 2, isolate=True, iothreads_policy="auto", hooks=1)
    assert tagged(case("x", "x", wish)) == [
        *("admitted", "dedicated", "iothreads", "isolate", "sidecars", "smt")
    ]
    assert tagged(case("y", "y", Wish(dedicated=None))) == ["admitted", "shared"]
    assert tagged(case("z", "z", Wish(requests_cpu="1.5"))) == ["refused", "requests-cpu-whole"]


def tagged(each: Case) -> list[str]:
    return sorted(each.tags)


def test_a_manifest_boots_the_guest_image_and_stops_at_once() -> None:
    spec = vmi("vmi", Wish(cores=1), images=Images(guest="example/guest:1"))["spec"]
    assert spec["terminationGracePeriodSeconds"] == 0
    assert spec["domain"]["firmware"]["kernelBoot"] == {
        "kernelArgs": "console=ttyS0 quiet loglevel=0",
        "container": {
            "image": "example/guest:1",
            "imagePullPolicy": "IfNotPresent",
            "kernelPath": "/boot/vmlinux",
            "initrdPath": "/boot/initrd",
        },
    }


def test_iothreads_have_a_disk_to_serve() -> None:
    spec = vmi("vmi", Wish(cores=1, iothreads_policy="auto"))["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["scratch"]
    assert "emptyDisk" in spec["volumes"][0]
    spec = vmi("vmi", Wish(cores=1, iothreads_policy="auto", container_disk=True))["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["image"]


def test_disks_and_volumes_have_the_same_names() -> None:
    spec = vmi("vmi", Wish(cores=1, container_disk=True, dedicated_iothread=True))["spec"]
    disks = [disk["name"] for disk in spec["domain"]["devices"]["disks"]]
    assert disks == [volume["name"] for volume in spec["volumes"]] == ["image", "scratch"]


def test_fields_without_a_wish_are_left_out() -> None:
    domain = vmi("vmi", Wish(requests_cpu=1, limits_memory=None))["spec"]["domain"]
    assert domain["cpu"] == {"dedicatedCpuPlacement": True}
    assert domain["resources"] == {"requests": {"cpu": 1}}
    assert "memory" not in domain
