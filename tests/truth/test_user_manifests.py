"""Manifests of users: what is written is what is judged, or it is said that it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.cases_by_name import chosen
from conformance.checks import all as _all  # noqa: F401 - registers every check
from conformance.checks.registry import registered
from conformance.judging.words import summary
from conformance.matrix.cases import Case
from conformance.matrix.documents import MatrixFileError
from conformance.matrix.files import user_file
from conformance.matrix.matrices import matrix
from conformance.matrix.oracle import expect
from conformance.model.evidence import Rejection, Snapshot
from conformance.model.expectation import Expectation
from conformance.model.setting import Setting
from conformance.model.vocabulary import CURRENT, V1
from reports.document import Verdict
from tests.truth.recordings import Recording
from tests.truth.user_manifests import PREFERENCE, TYPE, VM, VMI, only, read


def on(version: str, case: Case) -> Expectation:
    """What is expected of a case on a release."""
    return expect(case.manifest, setting=Setting(kubevirt=version), beside=case.beside)


def told(text: str) -> str:
    with pytest.raises(MatrixFileError) as refused:
        user_file([("mine.yaml", text)])
    return str(refused.value)


# M1: VirtualMachines.


def test_m01_a_machine_is_judged_by_what_its_instance_type_makes_of_it() -> None:
    expected = only(TYPE, VM).expectation
    assert (expected.dedicated, expected.vcpus, expected.compute_cpus) == (True, 4, 4)
    assert (expected.sockets, expected.cores, expected.threads) == (4, 1, 1)
    assert only(VM, TYPE).expectation == expected


@pytest.mark.parametrize(
    ("preferred", "topology"),
    [
        ("preferredCPUTopology: cores", (1, 4, 1)),
        ("preferredCPUTopology: preferCores", (1, 4, 1)),
        ("preferredCPUTopology: sockets", (4, 1, 1)),
        ("preferredCPUTopology: any", (4, 1, 1)),
        ("preferredCPUFeatures: []", (4, 1, 1)),
        ("preferredCPUTopology: spread", (2, 2, 1)),
        ("preferredCPUTopology: preferSpread, spreadOptions: {ratio: 4}", (1, 4, 1)),
        ("preferredCPUTopology: spread, spreadOptions: {across: CoresThreads}", (1, 2, 2)),
        ("preferredCPUTopology: spread, spreadOptions: {across: SocketsCoresThreads}", (1, 2, 2)),
        (
            "preferredCPUTopology: spread, spreadOptions: {across: SocketsCoresThreads, ratio: 1}",
            (2, 1, 2),
        ),
    ],
)
def test_m01_a_preference_gives_the_vcpus_their_shape(
    preferred: str, topology: tuple[int, int, int]
) -> None:
    preference = PREFERENCE.replace("preferredCPUTopology: cores", preferred)
    machine = VM.replace(
        "template:", "preference: {name: shape, kind: VirtualMachinePreference}\n  template:"
    )
    expected = only(TYPE, preference, machine).expectation
    assert (expected.sockets, expected.cores, expected.threads) == topology


def as_machine(recording: Recording, instancetype: dict[str, Any], **template: Any) -> None:
    """Says of a recorded VMI that a VirtualMachine made it."""
    run = recording.run
    (case,) = [each for each in run["cases"] if each["id"] == "smt-1x2x2"]
    spec = case["manifest"]["spec"]
    spec["domain"].pop("cpu")
    spec["domain"].pop("resources")
    spec["domain"].update(template)
    case["manifest"] = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "smt-1x2x2"},
        "spec": {
            "runStrategy": "Always",
            "instancetype": {"name": "four"},
            "preference": {"name": "shape"},
            "template": {"spec": spec},
        },
    }
    shape = {"preferredCPUTopology": "spread", "spreadOptions": {"across": "CoresThreads"}}
    case["beside"] = [
        {
            "kind": "VirtualMachineClusterInstancetype",
            "metadata": {"name": "four"},
            "spec": {"memory": {"guest": "96Mi"}, **instancetype},
        },
        {
            "kind": "VirtualMachineClusterPreference",
            "metadata": {"name": "shape"},
            "spec": {"cpu": shape},
        },
    ]
    run["cases"] = [case]
    (recording.directory / "run.json").write_text(json.dumps(run))


def test_m01_a_recorded_vmi_of_a_machine_is_kept(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    before = recording.by_verdict(Verdict.PASS, "GUEST-TOPOLOGY")
    as_machine(recording, {"cpu": {"guest": 4, "dedicatedCPUPlacement": True}})
    assert "smt-1x2x2" in before
    assert recording.failed() == set()
    assert recording.by_verdict(Verdict.PASS) >= {"CPU-COUNT", "GUEST-TOPOLOGY", "PIN-THREADS"}


def test_m01_twin_a_machine_that_got_less_than_its_instance_type_is_broken(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    as_machine(recording, {"cpu": {"guest": 6, "dedicatedCPUPlacement": True}})
    assert recording.failed() >= {"CPU-COUNT", "GUEST-VCPUS"}


@pytest.mark.parametrize(
    ("instancetype", "template", "why"),
    [
        ({}, {}, "no number of vCPUs"),
        ({"cpu": {"guest": "four"}}, {}, "no number of vCPUs"),
        ({"cpu": {"guest": 4}, "memory": {"overcommitPercent": 50}}, {}, "cannot be read"),
        ({"cpu": [4]}, {}, "no number of vCPUs"),
    ],
)
def test_m01_what_cannot_be_derived_is_not_judged(
    tmp_path: Path, instancetype: dict[str, Any], template: dict[str, Any], why: str
) -> None:
    recording = Recording(tmp_path)
    as_machine(recording, instancetype, **template)
    found = recording.judged()
    assert {each.verdict for each in found.findings} == {Verdict.NOT_OBSERVED}
    assert all(each.message.startswith("not judged: ") for each in found.findings)
    assert any(why in each.message for each in found.findings)


@pytest.mark.parametrize(
    ("domain", "field"),
    [
        ("cpu: {cores: 2}", "cpu.cores"),
        ("cpu: {dedicatedCpuPlacement: true}", "cpu.dedicatedCPUPlacement"),
        ("resources: {requests: {cpu: 2}}", "resources.requests.cpu"),
        ("resources: {limits: {memory: 2Gi}}", "resources.limits.memory"),
        ("memory: {guest: 2Gi}", "memory.guest"),
    ],
)
def test_m01_a_template_that_says_it_again_is_refused(domain: str, field: str) -> None:
    case = only(TYPE, VM.replace("domain: {", f"domain: {{{domain}, "))
    refusal = on("v1.9.0", case).refusal
    assert refusal is not None
    assert refusal.rule == "instancetype-conflict"
    assert refusal.fields == (f"spec.template.spec.domain.{field}",)


@pytest.mark.parametrize("domain", ["cpu: {model: host-passthrough}", "cpu: {features: []}"])
def test_m01_twin_a_template_that_says_something_else_is_admitted(domain: str) -> None:
    assert only(TYPE, VM.replace("domain: {", f"domain: {{{domain}, ")).expectation.admitted


def test_m01_older_releases_let_no_template_have_any_memory() -> None:
    case = only(TYPE, VM.replace("domain: {", "domain: {memory: {hugepages: {pageSize: 2Mi}}, "))
    older, newer, unknown = (on(version, case) for version in ("v1.6.2", "v1.7.0", ""))
    assert older.refusal is not None
    assert older.refusal.fields == ("spec.template.spec.domain.memory",)
    assert newer.admitted
    assert newer.undecided is None
    assert unknown.undecided is not None


@pytest.mark.parametrize(
    ("matcher", "why"),
    [
        ("{inferFromVolume: root}", "inferred from volume root"),
        ("{name: four, kind: VirtualMachineClusterInstancetype}", "neither in the file nor"),
        ("{name: four, kind: virtualmachineinstancetype, revisionName: r1}", "revision r1"),
        ("{name: four, kind: Flavor}", "does not say which"),
    ],
)
def test_m01_an_instance_type_that_nobody_knows_is_no_reason_to_judge(
    matcher: str, why: str
) -> None:
    machine = VM.replace("{name: four, kind: VirtualMachineInstancetype}", matcher)
    expected = only(TYPE, machine).expectation
    assert expected.undecided is not None
    assert why in expected.undecided
    assert summary(expected) == {"not judged": expected.undecided}


@pytest.mark.parametrize(
    ("version", "preference", "decided"),
    [
        ("v1.2.0", "preferredCPUTopology: cores", False),
        ("v1.2.0", "preferredCPUTopology: preferCores", True),
        ("v1.0.0", "preferredCPUTopology: preferSpread", False),
        ("v1.4.0", "preferredCPUTopology: spread, spreadOptions: {ratio: 2}", True),
        ("v1.2.0", "preferredCPUTopology: preferSpread, spreadOptions: {ratio: 2}", False),
    ],
)
def test_m01_a_release_is_not_judged_by_what_it_does_not_know(
    version: str, preference: str, *, decided: bool
) -> None:
    machine = VM.replace(
        "template:", "preference: {name: shape, kind: VirtualMachinePreference}\n  template:"
    )
    shape = PREFERENCE.replace("preferredCPUTopology: cores", preference)
    assert (on(version, only(TYPE, shape, machine)).undecided is None) == decided


def test_m01_a_template_is_refused_where_its_vmi_would_be() -> None:
    machine = VM.replace("  instancetype: {name: four, kind: VirtualMachineInstancetype}\n", "")
    machine = machine.replace(
        "domain: {",
        "domain: {cpu: {threads: 3, dedicatedCpuPlacement: true}, memory: {guest: 1Gi}, ",
    )
    refusal = only(machine).expectation.refusal
    assert refusal is not None
    assert refusal.fields == ("spec.template.spec.domain.cpu.dedicatedCpuPlacement",)


def test_m01_preferences_may_require_more_than_there_is() -> None:
    machine = VM.replace(
        "template:", "preference: {name: shape, kind: VirtualMachinePreference}\n  template:"
    )
    for guest, field in ((4, None), (5, "spec.instancetype")):
        shape = PREFERENCE.replace(
            "spec: {", f"spec: {{requirements: {{cpu: {{guest: {guest}}}}}, "
        )
        refusal = only(TYPE, shape, machine).expectation.refusal
        assert (refusal and refusal.fields[0]) == field


@pytest.mark.parametrize(
    "started", ["runStrategy: Halted", "runStrategy: Manual", "running: false"]
)
def test_m01_a_machine_that_is_stopped_is_started(started: str) -> None:
    case = only(TYPE, VM.replace("runStrategy: Always", started))
    assert case.expectation.vcpus == 4
    spec = case.manifest["spec"]
    assert spec.get("runStrategy") == "Always" or spec.get("running") is True


def test_m01_what_is_a_clusters_is_made_in_the_namespace() -> None:
    of_cluster = TYPE.replace("VirtualMachineInstancetype", "VirtualMachineClusterInstancetype")
    machine = VM.replace(", kind: VirtualMachineInstancetype", "")
    found = read(of_cluster, machine)
    (helper,) = found.helpers
    assert helper["kind"] == "VirtualMachineInstancetype"
    assert found.cases[0].manifest["spec"]["instancetype"]["kind"] == helper["kind"]
    assert found.cases[0].expectation.vcpus == 4


# M2: everything else in the file.

REPLICAS = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstanceReplicaSet
metadata: {name: many}
spec:
  replicas: 40
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      domain:
        cpu: {cores: 3, dedicatedCpuPlacement: true}
        memory: {guest: 1Gi}
        devices: {}
"""
POOL = """\
apiVersion: pool.kubevirt.io/v1alpha1
kind: VirtualMachinePool
metadata: {name: pool}
spec:
  replicas: 2
  selector: {matchLabels: {app: pool}}
  virtualMachineTemplate:
    metadata: {labels: {app: pool}}
    spec:
      runStrategy: Always
      template:
        spec:
          domain:
            cpu: {cores: 3, dedicatedCpuPlacement: true}
            memory: {guest: 1Gi}
            devices: {}
"""


@pytest.mark.parametrize("owner", [REPLICAS, POOL])
def test_m02_one_of_many_is_judged(owner: str) -> None:
    case = only(owner)
    assert case.manifest["spec"]["replicas"] == 1
    assert case.expectation.compute_cpus == 3


@pytest.mark.parametrize(
    ("owner", "prefix"),
    [
        (REPLICAS, "spec.template.spec."),
        (POOL, "spec.virtualMachineTemplate.spec.template.spec."),
    ],
)
def test_m02_twin_one_that_is_inconsistent_is_refused_by_its_own_fields(
    owner: str, prefix: str
) -> None:
    refusal = only(owner.replace("cores: 3", "threads: 3")).expectation.refusal
    assert refusal is not None
    assert refusal.fields == (f"{prefix}domain.cpu.dedicatedCpuPlacement",)


@pytest.mark.parametrize("owner", [REPLICAS, POOL])
def test_m02_a_refusal_is_known_by_the_path_that_the_object_has(owner: str) -> None:
    refusal = only(owner.replace("cores: 3", "threads: 3")).expectation.refusal
    assert refusal is not None
    causes = tuple((field, "not more than two threads") for field in refusal.fields)
    said = 'admission webhook "virtualmachinepool-validator.kubevirt.io" denied the request'
    for answer, verdict in ((causes, "pass"), ((("spec.selector", "no match"),), "not-observed")):
        rejection = Rejection(422, "Invalid", said, answer)
        snapshot = Snapshot("many", "", "refused", "", "", {}, rejection=rejection)
        expectation = Expectation(refusal=refusal)
        assert registered()["ADM-REFUSE"].judge(snapshot, expectation).verdict == verdict


def test_m02_what_can_be_judged_is_and_the_rest_is_named() -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: seed}\nstringData: {a: $b}\n"
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {}\n"
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [json.loads(as_json(VMI))]})
    found = read(secret, service, listed)
    assert [case.id for case in found.cases] == ["fast"]
    assert [helper["kind"] for helper in found.helpers] == ["Secret"]
    assert [str(each) for each in found.unjudged] == [
        "not judged: Service web: no requirement is about it, and it is not made"
    ]


def as_json(text: str) -> str:
    import yaml

    return json.dumps(yaml.safe_load(text), indent="\t")


def test_m02_typed_lists_leave_the_kind_of_their_items_out() -> None:
    item = json.loads(as_json(VMI))
    del item["kind"], item["apiVersion"]
    listed = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceList",
        "metadata": {"resourceVersion": "12"},
        "items": [item],
    }
    assert only(json.dumps(listed)).expectation.vcpus == 2


def test_m02_a_file_of_nothing_that_is_judged_says_so() -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
    assert "not judged: Service web" in told(service)


def test_m02_names_may_be_shared_by_kinds_and_namespaces() -> None:
    elsewhere = VMI.replace("{name: fast}", "{name: fast, namespace: b}")
    found = read(VMI, VM, TYPE, elsewhere)
    ids = [case.id for case in found.cases]
    assert ids == ["fast", "fast-vm", "fast-vmi"]
    assert [case.name for case in found.cases] == ids
    assert "used twice" in told(f"{VMI}---\n{VMI}")


# M3: output of kubectl get.

STORED = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata:
  annotations:
    kubevirt.io/latest-observed-api-version: v1
    kubevirt.io/storage-observed-api-version: v1
    mine: kept
  creationTimestamp: "2026-11-01T08:00:00Z"
  finalizers: [kubevirt.io/virtualMachineControllerFinalize]
  generation: 9
  labels: {kubevirt.io/nodeName: node-3, app: gateway}
  managedFields: [{manager: virt-api, operation: Update}]
  name: fast
  namespace: telco
  ownerReferences: [{apiVersion: kubevirt.io/v1, kind: VirtualMachine, name: fast, uid: a-b}]
  resourceVersion: "4711"
  uid: 5b1e
spec:
  architecture: amd64
  domain:
    cpu: {cores: 2, dedicatedCpuPlacement: true, maxSockets: 4, sockets: 1, threads: 1}
    devices: {}
    machine: {type: q35}
    memory: {guest: 1Gi, maxGuest: 4Gi}
    newerThanThis: {}
  evictionStrategy: None
status: {phase: Running, nodeName: node-3, qosClass: Guaranteed}
"""


def test_m03_what_a_server_has_written_is_dropped() -> None:
    case = only(STORED)
    assert case.manifest["metadata"] == {
        "name": "fast",
        "annotations": {"mine": "kept"},
        "labels": {"app": "gateway"},
    }
    assert "status" not in case.manifest
    assert (case.expectation.admitted, case.expectation.compute_cpus) == (True, 2)
    assert any("newerThanThis" in note for note in case.expectation.notes)


def test_m03_twin_what_the_user_has_written_is_judged_all_the_same() -> None:
    assert not only(STORED.replace("threads: 1", "threads: 4")).expectation.admitted


def test_m03_a_machine_forgets_the_revision_that_its_controller_noted() -> None:
    machine = VM.replace("{name: fast}", "{name: fast, uid: a}").replace(
        "VirtualMachineInstancetype}", "VirtualMachineInstancetype, revisionName: fast-four-1}"
    )
    assert only(TYPE, machine).expectation.vcpus == 4


# M5: fields that nobody knows.


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ("dedicatedCpuPlacement", "dedicatedCPUPlacement", "cpu.dedicatedCpuPlacement"),
        ("dedicatedCpuPlacement", "dedicatedCpuPlacment", "cpu.dedicatedCpuPlacement"),
        ("cores: 2", "core: 2", "spec.domain.cpu.cores"),
        ("  domain:", "  dedicatedCpuPlacement: true\n  domain:", "cpu.dedicatedCpuPlacement"),
        ("memory: {guest", "memory: {isolateEmulatorThread: true, guest", "isolateEmulatorThread"),
        ("devices: {}", "iothreadsPolicy: auto", "spec.domain.ioThreadsPolicy"),
        ("devices: {}", "resources: {limits: {CPU: 4}}", "limits.cpu"),
        ("devices: {}", "devices: {dedicatedCpuPlacement: true}", "cpu.dedicatedCpuPlacement"),
        ("spec:", "Spec:", "did you mean spec?"),
    ],
)
def test_m05_a_slip_of_the_pen_is_told(old: str, new: str, meant: str) -> None:
    said = told(VMI.replace(old, new))
    assert said.startswith("mine.yaml:1: unknown field ")
    assert meant in said


@pytest.mark.parametrize(
    ("document", "meant"),
    [
        (TYPE.replace("dedicatedCPU", "dedicatedCpu"), "spec.cpu.dedicatedCPUPlacement"),
        (VM.replace("instancetype:", "instanceType:"), "spec.instancetype"),
        (VM.replace("domain: {", "domain: {cpus: {cores: 2}, "), "spec.template.spec.domain.cpu"),
        (PREFERENCE.replace("preferredCPU", "preferredCpu"), "spec.cpu.preferredCPUTopology"),
    ],
)
def test_m05_so_it_is_wherever_cpus_are_asked_for(document: str, meant: str) -> None:
    assert f"did you mean {meant}?" in told("---\n".join([document, VMI]))


@pytest.mark.parametrize("slip", ["annotation", "Annotations", "anotations"])
def test_m05_annotations_ask_for_sidecars_too(slip: str) -> None:
    text = VMI.replace("{name: fast}", f"{{name: fast, {slip}: {{a: b}}}}")
    assert f"metadata.{slip}; did you mean metadata.annotations?" in told(text)
    assert only(text.replace(slip, "annotations")).expectation.admitted
    assert only(text.replace(slip, "label")).expectation.admitted


def test_m05_twin_a_field_that_changes_no_cpu_is_a_remark() -> None:
    case = only(VMI.replace("devices: {}", "devices: {autoattachMembaloon: false}"))
    assert case.expectation.compute_cpus == 2
    (note,) = case.expectation.notes
    assert "did you mean spec.domain.devices.autoattachMemBalloon?" in note


def test_m05_twin_what_any_release_knows_is_no_slip() -> None:
    known = VMI.replace(
        "devices: {}",
        "devices: {video: {type: vga}, panicDevices: []}\n    rebootPolicy: Reboot\n"
        "    ioThreads: {supplementalPoolThreadCount: 1}",
    )
    assert only(known).expectation.notes == ()


# M6: templates.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cores: 2", "cores: $CPU_LIMIT"),
        ("cores: 2", "cores: ${CPUS}"),
        ("cores: 2", "cores: ${CPUS:-2}"),
        ("cores: 2", "cores: {{ .Values.cpu }}"),
        ("cores: 2", 'cores: "{{ .Values.cpu }}"'),
        ("cores: 2", "cores: <cores>"),
        ("cores: 2", "cores: '%CORES%'"),
        ("cores: 2", "cores: CHANGE_ME"),
        ("cores: 2", "cores: {cores}"),
        ("cores: 2", "cores: '%(cores)s'"),
        ("cores: 2", "cores: '@@CORES@@'"),
        ("guest: 1Gi", "guest: '{memory}Gi'"),
        ("guest: 1Gi", "guest: ${MEMORY}Gi"),
        ("guest: 1Gi", "guest: '%MEM%Gi'"),
        ("{name: fast}", "{name: '$(NAME)'}"),
        ("    memory:", "{{- if .Values.memory }}\n    memory:"),
        ("    memory:", "{% if memory %}\n    memory:"),
    ],
)
def test_m06_what_nobody_has_filled_in_is_a_template(old: str, new: str) -> None:
    assert "this is a template: expand it first" in told(VMI.replace(old, new))


def test_m06_templates_of_openshift_and_kubevirt() -> None:
    template = {"apiVersion": "template.openshift.io/v1", "kind": "Template", "objects": []}
    assert "expand it first" in told(json.dumps(template))
    template = {"apiVersion": "template.kubevirt.io/v1alpha1", "kind": "VirtualMachineTemplate"}
    assert "expand it first" in told(json.dumps(template))


def test_m06_values_in_comments_are_a_template() -> None:
    """Without ytt there is no value: one vCPU would be judged, and nobody asked for that."""
    written = VMI.replace(
        "cpu: {cores: 2, dedicatedCpuPlacement: true}",
        "cpu:\n      cores: %s\n      dedicatedCpuPlacement: true",
    )
    assert "mine.yaml:7: #@ data.values.cores: this is a template" in told(
        written % "#@ data.values.cores"
    )
    assert only(written % "2 #@ data.values.cores").expectation.vcpus == 2
    assert only(written % "2 # cores: @all").expectation.vcpus == 2


def test_m06_twin_a_guest_may_have_dollars_and_braces() -> None:
    guest = VMI + (
        "  volumes:\n  - name: seed\n    cloudInitNoCloud:\n"
        "      userData: |\n        #!/bin/sh\n        echo $HOME ${USER} {{ ds.meta }} <b> %d%\n"
    )
    assert only(guest).expectation.admitted


def test_m06_twin_what_is_no_yaml_is_no_template() -> None:
    assert "this is no YAML" in told(VMI.replace("cores: 2", "cores: [2"))


# M9: what is asked for and not judged.


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            "cores: 2",
            'cores: 2, numa: {guestMappingPassthrough: {}}, realtime: {mask: "0-1"}',
            "realtime with the mask 0-1",
        ),
        ("guest: 1Gi", "guest: 1Gi, maxGuest: 2Gi", "hotplug of memory up to 2Gi"),
        ("cores: 2", "cores: 2, maxSockets: 4", "hotplug of CPUs up to 4 sockets"),
        ("cores: 2", "cores: 2, features: [{name: kvm-hint-dedicated}]", "kvm-hint-dedicated"),
    ],
)
def test_m09_what_no_requirement_is_about_is_told(old: str, new: str, what: str) -> None:
    text = VMI.replace(old, new).replace("guest: 1Gi}", "guest: 1Gi, hugepages: {pageSize: 2Mi}}")
    expected = only(text).expectation
    assert expected.admitted
    assert f"asked for, not judged: {what}" in "; ".join(expected.notes).replace(
        "CPU features (", ""
    )
    assert what in summary(expected)["notes"]


def test_m09_what_a_profile_has_a_requirement_about_is_no_remark() -> None:
    case = next(each for each in matrix("standard", CURRENT) if each.id == "realtime")
    remarks = "; ".join(expect(case.manifest, V1).notes)
    for what in ("realtime with the mask", "the memory of its NUMA nodes", "huge pages"):
        assert f"asked for, not judged: {what}" in remarks
    assert "not judged" not in "; ".join(expect(case.manifest, CURRENT).notes)


def test_m09_twin_what_is_judged_is_no_remark() -> None:
    assert "notes" not in summary(only(VMI).expectation)


# M10 and how a text may look.


@pytest.mark.parametrize("name", ["web.example.com", "a.b", "x" * 253, f"{'a' * 60}.{'b' * 60}"])
def test_m10_names_are_dns_subdomains(name: str) -> None:
    case = only(VMI.replace("{name: fast}", f"{{name: {name}}}"))
    assert case.name == name
    assert len(case.id) <= 80


def test_m10_long_names_are_told_apart() -> None:
    cases = read(
        *(VMI.replace("{name: fast}", f"{{name: {'x' * 250}{end}}}") for end in "ab")
    ).cases
    assert len({case.id for case in cases}) == 2


@pytest.mark.parametrize("name", ["a..b", ".a", "a.-b", "A.b", "x" * 254])
def test_m10_twin_other_names_are_told(name: str) -> None:
    assert "metadata.name is" in told(VMI.replace("{name: fast}", f"{{name: {name}}}"))


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: as_json(text).encode(),
        lambda text: (as_json(text) + "\n").encode("utf-8-sig"),
        lambda text: f"# mine\n---\n# nothing\n---\n{text}...\n".encode(),
    ],
)
def test_m10_any_text_is_read(tmp_path: Path, written: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(written(VMI))
    (case,) = chosen(str(path), "v1").cases
    assert case.expectation.vcpus == 2


def test_m10_a_directory_is_read_as_one_file(tmp_path: Path) -> None:
    (tmp_path / "b-vm.yml").write_text(VM)
    (tmp_path / "a-type.yaml").write_text(TYPE)
    (tmp_path / "README.md").write_text("# not this one")
    (case,) = chosen(str(tmp_path), "v1").cases
    assert case.expectation.vcpus == 4
    empty = tmp_path / "nothing"
    empty.mkdir()
    with pytest.raises(ValueError, match="no file that ends in"):
        chosen(str(empty), "v1")


def test_m10_anchors_and_merges_are_followed() -> None:
    text = (
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {name: fast}\nspec:\n"
        "  domain:\n    cpu: &own\n      <<: {cores: 9, threads: 1}\n      cores: 2\n"
        "      dedicatedCpuPlacement: true\n    memory: {guest: 1Gi}\n    devices: {}\n"
    )
    assert only(text).expectation.vcpus == 2


@pytest.mark.parametrize(
    ("written", "cores"),
    [
        *[("1e1", 10), ("2E0", 2), ("4.", 4), ("08", 8), ("010", 8), ("0o10", 8)],
        *[("0x10", 16), ("0b100", 4), ("+2", 2), ("1_0", 10), ("!!int '3'", 3)],
    ],
)
def test_m08_numbers_are_those_that_kubectl_reads(written: str, cores: int) -> None:
    expectation = only(VMI.replace("cores: 2", f"cores: {written}")).expectation
    assert expectation.vcpus == cores


@pytest.mark.parametrize("written", ["1:30", "12e", "0b12", "0xg", "'2'", "2 cores"])
def test_m08_twin_what_is_no_number_to_kubectl_is_none(written: str) -> None:
    refusal = only(VMI.replace("cores: 2", f"cores: {written}")).expectation.refusal
    assert refusal is not None
    assert refusal.fields == ("spec.domain.cpu.cores",)


@pytest.mark.parametrize("written", ["true", "Yes", "on", "y", "!!bool Y"])
def test_m08_booleans_are_those_that_kubectl_reads(written: str) -> None:
    assert only(VMI.replace("true}", f"{written}}}")).expectation.dedicated
    refused = only(VMI.replace("true}", f"'{written}'}}")).expectation.refusal
    assert refused is not None


@pytest.mark.parametrize("annotations", ["{at: 12:30:45, is: =}", "{8080: 'a', on: 'b', at: 1.e}"])
def test_m08_texts_and_keys_are_those_that_kubectl_reads(annotations: str) -> None:
    text = VMI.replace("{name: fast}", f"{{name: fast, annotations: {annotations}}}")
    assert only(text).expectation.admitted
    kept = only(text).manifest["metadata"]["annotations"]
    assert all(isinstance(each, str) for pair in kept.items() for each in pair)
    assert ("true" in kept) == ("on:" in annotations)
