from pathlib import Path

import pytest

from conformance.matrix.documents import MatrixFileError
from conformance.matrix.files import cases_of

VMI = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata:
  name: one
  namespace: elsewhere
spec:
  domain:
    cpu: {sockets: 2, dedicatedCpuPlacement: true}
    resources: {limits: {memory: 2Gi}}
    devices: {}
"""


def test_every_document_becomes_a_case() -> None:
    cases = cases_of(f"---\n{VMI}---\n---\n{VMI.replace('one', 'two')}", "mine.yaml")
    assert [case.id for case in cases] == [case.name for case in cases] == ["one", "two"]
    assert cases[0].expectation.vcpus == 2
    assert "namespace" not in cases[0].manifest["metadata"]
    assert "mine.yaml" in cases[0].title


def test_a_vmi_without_a_name_gets_one() -> None:
    nameless = VMI.replace("  name: one\n", "")
    generated = VMI.replace("name: one", "generateName: fast-")
    bare = VMI.replace("metadata:\n  name: one\n  namespace: elsewhere\n", "metadata:\n")
    names = [case.name for case in cases_of("---\n".join([nameless, generated, bare]), "x")]
    assert names == ["vmi-1", "fast-2", "vmi-3"]


def test_an_inconsistent_vmi_is_a_case_like_any_other() -> None:
    (case,) = cases_of(VMI.replace("sockets: 2", "threads: 3"), "x")
    assert case.expectation.refusal is not None
    assert case.expectation.refusal.rule == "at-most-two-threads"


def test_the_profile_decides() -> None:
    text = VMI.replace("sockets: 2, ", "")
    assert cases_of(text, "x", "v1")[0].expectation.admitted
    assert not cases_of(text, "x", "v1alpha2")[0].expectation.admitted


def test_dates_and_anchors_are_taken_as_kubernetes_takes_them() -> None:
    text = VMI.replace("name: one", "name: one\n  labels: &all {since: 2024-05-01}\n  other: *all")
    (case,) = cases_of(text, "x")
    assert case.manifest["metadata"]["labels"] == {"since": "2024-05-01"}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "there is no VirtualMachineInstance"),
        ("# nothing\n---\n---\n", 1, "there is no VirtualMachineInstance"),
        ("hello\n", 1, "a manifest is a mapping, not 'hello'"),
        ("- 1\n", 1, "a manifest is a mapping, not [1]"),
        ("a: [1, 2\nb: 3\n", 2, "this is no YAML"),
        ("a: b: c\n", 1, "this is no YAML"),
        ("\ta: 1\n", 1, "this is no YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' is there twice"),
        ("1.5: 2\n", 1, "the key 1.5 is not a string"),
        ("{[1]: 2}\n", 1, "the key [1] is not a string"),
        ("a: !!python/object:os.system {}\n", 1, "this is no YAML"),
        ("a: *nobody\n", 1, "this is no YAML"),
        ("a: 1\nb: \x00\n", 2, "this is no text"),
        (f"a: {'9' * 5000}\n", 1, "too many digits"),
        ("[" * 5000, 1, "nested too deeply"),
        (
            "kind: Pod\napiVersion: v1\n",
            1,
            "nothing that makes one; not judged: Pod without a name",
        ),
        (
            "kind: VirtualMachine\n",
            1,
            "the apiVersion of a VirtualMachine is such as kubevirt.io/v1",
        ),
        ("metadata: {}\n", 1, "no object of Kubernetes: its kind is None"),
        (VMI.replace("kubevirt.io/v1", "v1"), 1, "apiVersion of a VirtualMachineInstance"),
        (VMI.replace("name: one", "name: One"), 1, "metadata.name is 'One'"),
        (VMI.replace("name: one", "name: 1"), 1, "metadata.name is 1"),
        (VMI.replace("name: one", f"name: {'x' * 254}"), 1, "at most 253"),
        ("kind: VirtualMachineInstance\napiVersion: kubevirt.io/v1\nmetadata: []\n", 1, "mapping"),
        (f"{VMI}---\n{VMI}", 12, "the name one is used twice, first in line 1"),
        (f"{VMI}---\nkind: ''\n", 12, "no object of Kubernetes: its kind is ''"),
        (f"{VMI}status: .nan\n", 1, "which is no JSON number"),
        (f"{VMI}status: !!binary aGVsbG8=\n", 1, "which is no JSON"),
        (f"{VMI}status: !!timestamp 2024-05-01\n", 1, "which is no JSON"),
        (f"{VMI}status: &a [*a]\n", 1, "more than 1000000 values"),
    ],
)
def test_nonsense_is_told_with_file_and_line(text: str, line: int, message: str) -> None:
    with pytest.raises(MatrixFileError) as refused:
        cases_of(text, "mine.yaml")
    assert str(refused.value).startswith(f"mine.yaml:{line}: "), refused.value
    assert message in str(refused.value)


def test_a_short_text_cannot_be_monstrous() -> None:
    levels = "\n".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    text = f"{VMI}status:\n  l0: &l0 [x]\n{levels}\n"
    with pytest.raises(MatrixFileError, match="more than 1000000 values"):
        cases_of(text, "x")


def test_what_is_merged_cannot_be_monstrous_either() -> None:
    levels = "\n".join(
        f"  l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 12)
    )
    with pytest.raises(MatrixFileError, match="more than 1000000 values"):
        cases_of(f"{VMI}status:\n  l0: &l0 {{a: 1}}\n{levels}\n", "x")


USERS = (Path(__file__).parent / "users_manifests.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("id", "vcpus", "compute_cpus", "sidecars"),
    [
        ("packet-gateway", 8, 9, ["volumeroot"]),
        ("database", 3, 3, []),
        ("web-shared", 2, 0, []),
        ("pool", 4, 8, ["hook-sidecar-0"]),
        ("realtime", 4, 5, []),
    ],
)
def test_what_users_write_is_understood(
    id: str, vcpus: int, compute_cpus: int, sidecars: list[str]
) -> None:
    expected = {case.id: case.expectation for case in cases_of(USERS, "users.yaml")}[id]
    assert expected.admitted
    assert (expected.vcpus, expected.compute_cpus) == (vcpus, compute_cpus)
    assert [sidecar.name for sidecar in expected.sidecars] == sidecars


@pytest.mark.parametrize(
    ("id", "rule", "field"),
    [
        ("migrated-from-vsphere", "limits-cpu-whole", "spec.domain.resources.limits.cpu"),
        (
            "burstable-by-habit",
            "requests-memory-equals-limits",
            "spec.domain.resources.requests.memory",
        ),
        (
            "realtime-in-a-hurry",
            "realtime-needs-numa",
            "spec.domain.cpu.numa.guestMappingPassthrough",
        ),
        ("quoted-by-a-template", "schema", "spec.domain.cpu.cores"),
        ("power-10", "at-most-two-threads", "spec.domain.cpu.dedicatedCpuPlacement"),
    ],
)
def test_what_users_get_wrong_is_refused(id: str, rule: str, field: str) -> None:
    refusal = {case.id: case.expectation for case in cases_of(USERS, "users.yaml")}[id].refusal
    assert refusal is not None
    assert (refusal.rule, refusal.fields) == (rule, (field,))
