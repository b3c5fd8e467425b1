"""Whose refusal it is, and of what: the right verdict for each, and for its broken twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters.kit.api import status_of
from conformance.checks.registry import registered
from conformance.judging.decide import decide
from conformance.judging.terms import Terms
from conformance.matrix.manifests import Wish, vmi
from conformance.model.evidence import RawSnapshot
from conformance.model.finding import Finding, Verdict
from conformance.model.setting import Setting, Software
from conformance.parsing.assemble import assemble
from conformance.parsing.setting import setting as setting_of

Json = dict[str, Any]

VALIDATOR = "virtualmachineinstances-create-validator.kubevirt.io"
MUTATOR = "virtualmachineinstances-mutator.kubevirt.io"
CPU = "spec.domain.cpu"
DEDICATED = f"{CPU}.dedicatedCpuPlacement"
REQUESTS_MEMORY = "spec.domain.resources.requests.memory"
NAMED = 'virtualmachineinstances.kubevirt.io "vm" is forbidden: '
SETTING = Setting(
    kubevirt="v1.8.4", gates=frozenset({"CPUManager", "Sidecar"}), served=frozenset({"v1"})
)


def status(code: int, message: str, *causes: tuple[str | None, str], **more: Any) -> Json:
    told = [
        {"message": text, **({} if field is None else {"field": field})} for field, text in causes
    ]
    details = {"details": {"causes": told}} if told else {}
    return (
        {"kind": "Status", "status": "Failure", "code": code, "message": message} | details | more
    )


def denied(message: str, *causes: tuple[str | None, str], by: str = VALIDATOR) -> Json:
    whole = f'admission webhook "{by}" denied the request: {message}'
    return status(422, whole, *causes, reason="Invalid")


def judged(
    requirement: str,
    manifest: Json,
    answer: Json | None,
    *,
    setting: Setting = SETTING,
    profile: str = "v1",
) -> Finding:
    """What is made of an answer; None for a VMI that was admitted."""
    terms = Terms(profile, {}, setting=setting)
    check = registered()[requirement]
    stored = {"metadata": {"namespace": "ns", "name": "vm", "uid": "1"}, "spec": {}, "status": {}}
    raw = RawSnapshot(
        *("vm", "vmi", check.moment, "2026-08-01T10:00:00.000Z", "2026-08-01T10:00:00.100Z"),
        manifest,
        vmi=stored if answer is None else None,
        rejection=answer,
    )
    wanted = terms.catalogue.requirement(requirement)
    return decide(terms, wanted, check, [assemble(raw)], terms.expect(manifest))[1]


def accept(answer: Json | None, wish: Wish | None = None, **more: Any) -> Finding:
    return judged("ADM-ACCEPT", vmi("vm", wish or Wish(cores=2)), answer, **more)


def refuse(answer: Json | None, wish: Wish, **more: Any) -> Finding:
    return judged("ADM-REFUSE", vmi("vm", wish), answer, **more)


OTHERS = [
    (
        status(
            422,
            'admission webhook "validate.kyverno.svc-fail" denied the request: resource '
            f"VirtualMachineInstance was blocked: {DEDICATED} is not allowed",
            (DEDICATED, "is not allowed"),
        ),
        "the webhook validate.kyverno.svc-fail",
    ),
    (
        status(
            403, 'admission webhook "validation.gatekeeper.sh" denied the request: [cpus] too many'
        ),
        "the webhook validation.gatekeeper.sh",
    ),
    (
        denied(f"{CPU}.cores is not in the template", by="virt-template-admission.kubevirt.io"),
        "virt-template-admission.kubevirt.io",
    ),
    (
        status(
            422,
            f"{NAMED}ValidatingAdmissionPolicy 'cpus' with binding 'all' denied request: "
            f"failed expression: object.{CPU}.cores < 2",
            (None, f"{CPU}.cores"),
            reason="Invalid",
        ),
        "ValidatingAdmissionPolicy 'cpus'",
    ),
    (
        status(422, "ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no"),
        "ValidatingAdmissionPolicy 'x'",
    ),
    (
        status(
            403,
            f"{NAMED}exceeded quota: team, requested: limits.cpu=2, used: limits.cpu=8, limited: "
            "limits.cpu=8",
        ),
        "a ResourceQuota (exceeded quota: team)",
    ),
    (
        status(403, f"{NAMED}failed quota: team: must specify limits.cpu for: compute"),
        "a ResourceQuota",
    ),
    (
        status(403, f"{NAMED}maximum cpu usage per Pod is 1, but limit is 2"),
        "a LimitRange (maximum cpu usage per Pod is 1)",
    ),
    (
        status(403, f'{NAMED}violates PodSecurity "restricted:latest": seccompProfile'),
        "PodSecurity",
    ),
    (
        status(
            403,
            f'{NAMED}User "jane" cannot create resource "virtualmachineinstances" in API group '
            '"kubevirt.io" in the namespace "ns"',
        ),
        "RBAC",
    ),
    (
        status(
            403,
            f"{NAMED}unable to create new content in namespace ns because it is being terminated",
            ("metadata.namespace", "namespace ns is being terminated"),
        ),
        "the namespace",
    ),
    (status(404, "the server could not find the requested resource"), "serves no such version"),
    (status(409, 'virtualmachineinstances.kubevirt.io "vm" already exists'), "such an object"),
    (status(413, "Request entity too large: limit is 3145728"), "the size of the request"),
    (status(429, "too many requests"), "asked too much"),
    (
        status(
            500,
            f'Internal error occurred: failed calling webhook "{MUTATOR}": failed to call webhook: '
            "Post: no endpoints available",
        ),
        f'failed calling webhook "{MUTATOR}"',
    ),
    (status(503, "the server is currently unable to handle the request"), "could not answer"),
    (status(504, "Timeout: request did not complete within requested timeout"), "could not answer"),
    (
        {"code": 404, "reason": "Not Found", "message": "404 page not found\n"},
        "serves no such version",
    ),
    ({"code": 502, "message": "<html><body><h1>502 Bad Gateway</h1></body></html>"}, "502"),
    ({"code": 403, "message": ""}, "forbids"),
    (status(422, "no", (DEDICATED, "no")), "nobody who gives a name"),
]


@pytest.mark.parametrize(("answer", "who"), OTHERS)
def test_c12_a_refusal_of_others_proves_nothing(answer: Json, who: str) -> None:
    """Neither against KubeVirt, nor for it."""
    for finding in (accept(answer), refuse(answer, Wish(1, 1, 3))):
        assert finding.verdict is Verdict.NOT_OBSERVED
        assert who in finding.message


CONTRADICTIONS = [
    denied("no cores", (f"{CPU}.cores", "no cores")),
    denied("not provided", (DEDICATED, "must not be provided at the same time")),
    denied(
        "many",
        ("spec.domain.devices.disks[0].Name", "'a' not found."),
        (REQUESTS_MEMORY, "must be equal"),
    ),
    denied(
        f"{CPU}.cores in body must be of type string",
        (None, f"{CPU}.cores in body must be of type string"),
        by=MUTATOR,
    ),
    denied(
        "no cores", (f"spec.template.{CPU}.cores", "no"), by="virtualmachine-validator.kubevirt.io"
    ),
    denied(
        "no cores", (f"spec.template.{CPU}.cores", "no"), by="virtualmachines-mutator.kubevirt.io"
    ),
    status(
        422,
        f'VirtualMachineInstance.kubevirt.io "vm" is invalid: <nil>: Invalid value: "": Checked '
        f"value must be of type integer with format int32 in {CPU}.sockets",
        ("<nil>", f"Checked value must be of type integer with format int32 in {CPU}.sockets"),
        reason="Invalid",
    ),
    status(
        400,
        f'admission webhook "{MUTATOR}" denied the request: json: cannot unmarshal number 2 into '
        "Go struct field VMISpecAlias.domain.cpu.cores of type uint32",
    ),
]


@pytest.mark.parametrize("answer", CONTRADICTIONS)
def test_c12_twin_kubevirt_refuses_a_consistent_vmi(answer: Json) -> None:
    finding = accept(answer)
    assert finding.verdict is Verdict.FAIL
    assert answer["message"] in finding.message


@pytest.mark.parametrize(
    "answer",
    [
        denied("not found", ("spec.domain.devices.disks[0].Name", "'root' not found.")),
        denied("two targets", ("spec.domain.devices.disks[0]", "a single target type")),
        denied("bad name", ("spec.hostname", "does not conform to the DNS_LABEL rules")),
        denied("network", ("spec.networks", "no")),
        denied("a gate", ("spec.domain.rebootPolicy", "the gate RebootPolicy is not enabled")),
        denied(
            "VM field(s) spec.template.spec.domain.cpu conflicts with selected instance type",
            (f"spec.template.{CPU}.cores", "conflicts with selected instance type"),
            by="virtualmachine-validator.kubevirt.io",
        ),
        status(
            422,
            'VirtualMachineInstance.kubevirt.io "VM" is invalid: metadata.name: Invalid value',
            ("metadata.name", "a lowercase RFC 1123 subdomain must consist of"),
        ),
        status(
            400,
            f'admission webhook "{MUTATOR}" denied the request: quantities must match the regular '
            "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_m04_what_the_promise_is_not_about_is_the_files_own_fault(answer: Json) -> None:
    finding = accept(answer)
    assert finding.verdict is Verdict.NOT_OBSERVED
    assert "the manifest's fault" in finding.message
    inconsistent = refuse(answer, Wish(1, 1, 3))
    assert inconsistent.verdict is Verdict.NOT_OBSERVED
    assert "at-most-two-threads" in inconsistent.message


def test_m04_twin_the_rule_is_named_beside_it() -> None:
    answer = denied(
        "two things",
        ("spec.domain.devices.disks[0].Name", "'root' not found."),
        (DEDICATED, "Not more than two threads"),
    )
    assert refuse(answer, Wish(1, 1, 3)).verdict is Verdict.PASS
    assert accept(answer).verdict is Verdict.FAIL


M7 = [
    (Wish(cores=2, hugepages="1Gi", limits_memory="1536Mi"), REQUESTS_MEMORY),
    (Wish(cores=2, dedicated=None, requests_memory="2Gi", limits_memory="1Gi"), REQUESTS_MEMORY),
    (Wish(limits_cpu=4, max_sockets=2), f"{CPU}.sockets"),
    (Wish(requests_cpu=4, max_sockets=2), f"{CPU}.sockets"),
    (
        Wish(cores=2, domain={"cpu": {"features": [{"name": "a"}, {"name": "b", "policy": "x"}]}}),
        f"{CPU}.features[1].policy",
    ),
    (Wish(cores=2, domain={"machine": {"type": "pc-i440fx-6.2"}}), "spec.domain.machine.type"),
]


@pytest.mark.parametrize(("wish", "field"), M7)
def test_m07_what_kubevirt_refuses_is_expected_to_be(wish: Wish, field: str) -> None:
    assert refuse(denied("no", (field, "no")), wish).verdict is Verdict.PASS


@pytest.mark.parametrize(("wish", "field"), M7)
def test_m07_twin_admitted_or_refused_for_another_field(wish: Wish, field: str) -> None:
    assert refuse(None, wish).verdict is Verdict.FAIL
    other = denied("no", (f"{CPU}.isolateEmulatorThread", "no"))
    assert refuse(other, wish).verdict is Verdict.FAIL
    assert accept(denied("no", (field, "no"))).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "wish",
    [
        Wish(cores=2, hugepages="1Gi", limits_memory="2Gi"),
        Wish(cores=2, dedicated=None, requests_memory="1Gi", limits_memory="1Gi"),
        Wish(limits_cpu=2, max_sockets=2),
        Wish(cores=4, max_sockets=2),
        Wish(cores=2, domain={"cpu": {"features": [{"name": "a", "policy": "forbid"}]}}),
        Wish(cores=2, domain={"machine": {"type": "pc-q35-rhel9.4.0"}}),
    ],
)
def test_m07_consistent_neighbours_are_to_be_admitted(wish: Wish) -> None:
    assert accept(None, wish).verdict is Verdict.PASS


ARM = {"n": Software(architecture="arm64")}
MIXED = {**ARM, "m": Software(architecture="amd64")}


@pytest.mark.parametrize(
    ("setting", "asked", "right"),
    [
        *[(Setting(nodes=ARM), None, False), (Setting(nodes=ARM), "amd64", True)],
        *[(Setting(nodes=MIXED), "arm64", False), (Setting(nodes=MIXED), None, None)],
        (Setting(nodes=MIXED, default_architecture="arm64"), None, False),
        (Setting(nodes=MIXED, default_architecture="amd64"), None, True),
        (Setting(nodes=ARM, kubevirt="v1.0.1"), None, True),
    ],
)
def test_a_core_of_arm64_has_one_thread(
    setting: Setting, asked: str | None, right: bool | None
) -> None:
    """See kubevirt vmi-create-admitter.go: validateThreadCountOnArchitecture, since 1.1."""
    known = replace(setting, kubevirt=setting.kubevirt or "v1.8.4", gates=frozenset({"CPUManager"}))
    manifest = vmi("vm", Wish(1, 2, 2))
    if asked:
        manifest["spec"]["architecture"] = asked
    text = f"threads must not be greater than 1 at {CPU}.threads (got 2) when spec.architecture is"
    refused = denied(text, ("spec.architecture", text))
    if right is False:
        assert judged("ADM-REFUSE", manifest, refused, setting=known).verdict is Verdict.PASS
        assert judged("ADM-REFUSE", manifest, None, setting=known).verdict is Verdict.FAIL
    else:
        assert judged("ADM-ACCEPT", manifest, None, setting=known).verdict is Verdict.PASS
        # Of another field than those of the promise: who knows what else is wrong with it.
        doubted = judged("ADM-ACCEPT", manifest, refused, setting=known)
        assert doubted.verdict is Verdict.NOT_OBSERVED


def test_the_cr_says_which_architecture_a_vmi_has() -> None:
    """Among what it configures for each, there is the name of one: no reason to read nothing."""
    machines = {"amd64": {"machineType": "pc"}, "defaultArchitecture": "arm64"}
    cr: Json = {
        "spec": {"configuration": {"architectureConfiguration": machines}},
        "status": {"observedKubeVirtVersion": "v1.8.4"},
    }
    found = setting_of({"kubevirt": cr})
    assert (found.default_architecture, found.machine_types) == ("arm64", {"amd64": "pc"})
    assert found.unread == {}
    for most in ("2", True, [2]):
        cr["spec"]["configuration"]["liveUpdateConfiguration"] = {"maxCpuSockets": most}
        assert setting_of({"kubevirt": cr}).max_cpu_sockets is None
    cr["status"]["defaultArchitecture"] = "s390x"
    assert setting_of({"kubevirt": cr}).default_architecture == "s390x"


@pytest.mark.parametrize(
    ("release", "strategy", "admitted"),
    [
        *[("v1.3.1", "LiveUpdate", False), ("v1.3.1", "", True), ("v1.2.0", "LiveUpdate", True)],
        *[("v1.4.0", "LiveUpdate", True), ("v1.8.4", "", True), ("devel", "LiveUpdate", None)],
    ],
)
def test_the_maximum_of_the_cr_is_that_of_a_vmi_in_1_3(
    release: str, strategy: str, admitted: bool | None
) -> None:
    """See kubevirt defaults.go, setupCPUHotplug: 1.4 takes the VMI's sockets if they are more."""
    setting = Setting(
        kubevirt=release,
        gates=frozenset({"CPUManager", "VMLiveUpdateFeatures"}),
        rollout_strategy=strategy,
        max_cpu_sockets=2,
    )
    three = Wish(sockets=3)
    refused = denied("greater than the maximum", (f"{CPU}.sockets", "greater than the maximum"))
    if admitted is False:
        assert refuse(refused, three, setting=setting).verdict is Verdict.PASS
        assert refuse(None, three, setting=setting).verdict is Verdict.FAIL
    else:
        assert accept(None, three, setting=setting).verdict is Verdict.PASS
        doubt = Verdict.NOT_OBSERVED if admitted is None else Verdict.FAIL
        assert accept(refused, three, setting=setting).verdict is doubt
    assert accept(None, Wish(sockets=2), setting=setting).verdict is Verdict.PASS
    assert accept(None, Wish(sockets=3, max_sockets=3), setting=setting).verdict is Verdict.PASS


def test_m07_the_cr_says_which_machines_there_are() -> None:
    wish = Wish(cores=2, domain={"machine": {"type": "pc-i440fx-6.2"}})
    legacy = Setting(
        kubevirt="v1.8.4", gates=frozenset(), emulated_machines={"": ("pc-i440fx*", "q35*")}
    )
    assert accept(None, wish, setting=legacy).verdict is Verdict.PASS
    refused = denied("no", ("spec.domain.machine.type", "pc-i440fx is not supported"))
    assert accept(refused, wish, setting=legacy).verdict is Verdict.FAIL
    unread = Setting(kubevirt="v1.8.4", unread={"kubevirt": "403"})
    assert refuse(None, wish, setting=unread).verdict is Verdict.NOT_OBSERVED
    assert refuse(refused, wish, setting=unread).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("release", "strategy", "admitted"),
    [
        *(("v1.8.4", "", True), ("v1.8.4", "LiveUpdate", True), ("v1.8.4", "Stage", False)),
        *(("v1.5.0", "", False), ("v1.5.0", "LiveUpdate", True), ("v1.1.0", "LiveUpdate", False)),
    ],
)
def test_guests_may_exceed_their_limit_where_they_may_grow(
    release: str, strategy: str, admitted: bool
) -> None:
    wish = Wish(cores=2, guest_memory="128Mi")
    refused = denied("no", ("spec.domain.memory.guest", "must be equal to or less"))
    setting = Setting(kubevirt=release, gates=frozenset(), rollout_strategy=strategy)
    if admitted:
        assert accept(None, wish, setting=setting).verdict is Verdict.PASS
        assert accept(refused, wish, setting=setting).verdict is Verdict.FAIL
    else:
        assert refuse(refused, wish, setting=setting).verdict is Verdict.PASS
        assert refuse(None, wish, setting=setting).verdict is Verdict.FAIL


def test_guests_beyond_their_limit_are_not_decided_where_the_strategy_is_not_known() -> None:
    wish = Wish(cores=2, guest_memory="128Mi")
    unread = Setting(kubevirt="v1.8.4", unread={"kubevirt": "403"})
    refused = denied("no", ("spec.domain.memory.guest", "must be equal to or less"))
    assert accept(None, wish, setting=unread).verdict is Verdict.PASS
    assert accept(refused, wish, setting=unread).verdict is Verdict.NOT_OBSERVED
    other = denied("no", (f"{CPU}.cores", "no"))
    assert accept(other, wish, setting=unread).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("release", "field"),
    [("v1.7.0", "spec.domain.hugepages.size"), ("v1.8.0", "spec.domain.memory.hugepages.pageSize")],
)
def test_a_page_size_is_named_as_each_release_does(release: str, field: str) -> None:
    wish = Wish(cores=2, hugepages="large")
    setting = Setting(kubevirt=release, gates=frozenset())
    assert refuse(denied("no", (field, "no")), wish, setting=setting).verdict is Verdict.PASS
    assert refuse(None, wish, setting=setting).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("release", "bus", "admitted"),
    [("v1.8.4", "scsi", False), ("v1.8.4", "virtio", True), ("v1.2.0", "scsi", True)],
)
def test_iothreads_of_their_own_are_for_virtio(release: str, bus: str, admitted: bool) -> None:
    disks = [{"name": "scratch", "disk": {"bus": bus}, "dedicatedIOThread": True}]
    wish = Wish(cores=2, dedicated_iothread=True, domain={"devices": {"disks": disks}})
    refused = denied("IOThreads", ("spec.domain.devices.disks[0]", "IOThreads are not supported"))
    setting = Setting(kubevirt=release, gates=frozenset())
    if admitted:
        assert accept(None, wish, setting=setting).verdict is Verdict.PASS
    else:
        assert refuse(refused, wish, setting=setting).verdict is Verdict.PASS
        assert refuse(None, wish, setting=setting).verdict is Verdict.FAIL


def test_m08_numbers_of_json_are_quantities_and_counts() -> None:
    half = Wish(requests_cpu=0.5)
    named = denied("no", ("spec.domain.resources.requests.cpu", "must be an interger"))
    assert refuse(named, half).verdict is Verdict.PASS
    assert refuse(None, half).verdict is Verdict.FAIL
    whole = Wish(cores=2.0)
    assert accept(None, whole).verdict is Verdict.PASS
    assert Terms("v1", {}).expect(vmi("vm", whole)).vcpus == 2
    schema = denied("no", (None, f"{CPU}.cores in body must be of type integer"), by=MUTATOR)
    assert accept(schema, whole).verdict is Verdict.FAIL


def test_m05_a_field_with_wrong_capitals_asks_for_nothing() -> None:
    """The API drops it with a warning: what is left are shared CPUs."""
    wish = Wish(cores=2, dedicated=None, domain={"cpu": {"dedicatedCPUPlacement": True}})
    assert not Terms("v1", {}).expect(vmi("vm", wish)).dedicated
    assert accept(None, wish).verdict is Verdict.PASS
    strict = 'VirtualMachineInstance in version "v1" cannot be handled as a VirtualMachineInstance'
    answer = status(
        400,
        f'{strict}: strict decoding error: unknown field "{CPU}.dedicatedCPUPlacement"',
        reason="BadRequest",
    )
    assert accept(answer, wish).verdict is Verdict.NOT_OBSERVED


@pytest.mark.parametrize("code", [400, 422])
def test_a_wrong_type_is_named_by_a_cause_or_its_message(code: int) -> None:
    wish = Wish(cores="2")
    text = f'{CPU}.cores in body must be of type integer: "string"'
    whole = f'admission webhook "{MUTATOR}" denied the request: {text}'
    assert refuse(status(code, whole, (None, text)), wish).verdict is Verdict.PASS
    assert refuse(status(code, whole, (f"{CPU}.cores", text)), wish).verdict is Verdict.PASS
    other = text.replace("cores", "threads")
    assert refuse(denied(other, (None, other)), wish).verdict is Verdict.FAIL
    assert refuse(status(code, whole), wish).verdict is Verdict.FAIL
    assert refuse(None, wish).verdict is Verdict.FAIL


def test_a_malformed_quantity_is_known_to_be_refused_without_causes() -> None:
    wish = Wish(requests_cpu="two")
    answer = status(
        400,
        f'admission webhook "{MUTATOR}" denied the request: quantities must match the regular '
        "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    )
    assert refuse(answer, wish).verdict is Verdict.KNOWN_DIVERGENCE
    assert refuse(answer, Wish(cores=-1)).verdict is Verdict.NOT_OBSERVED
    assert refuse(None, wish).verdict is Verdict.FAIL


def test_a_quantity_that_becomes_sockets_is_refused_for_them() -> None:
    wish = Wish(requests_cpu=-1, isolate=True, dedicated=None)
    text = f"Checked value must be of type integer with format int32 in {CPU}.sockets"
    answer = status(
        422,
        f'VirtualMachineInstance.kubevirt.io "vm" is invalid: <nil>: {text}',
        ("<nil>", text),
        reason="Invalid",
    )
    assert refuse(answer, wish).verdict is Verdict.PASS
    with_topology = Wish(cores=1, requests_cpu=-1, dedicated=None)
    assert refuse(answer, with_topology).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("wish", "known"),
    [
        (Wish(limits_cpu="1e30"), True),
        (Wish(cores=0), True),
        (Wish(cores=0, limits_cpu="1e30"), True),
        (Wish(cores=2, requests_memory="64Mi", limits_memory="1e30"), True),
        (Wish(cores=2, requests_memory="1e30", limits_memory="64Mi", dedicated=None), True),
        (Wish(cores=2, requests_memory="64Mi", limits_memory="1e18"), False),
        (Wish(cores=2, requests_memory="1e18", limits_memory="64Mi", dedicated=None), False),
        (Wish(limits_cpu="8Ei"), False),
        (Wish(limits_cpu="3G"), False),
        (Wish(limits_cpu=-1), False),
        (Wish(cores=0, isolate=True, dedicated=False), False),
        (Wish(cores=0, requests_cpu="1500m"), False),
    ],
)
def test_only_what_is_known_to_be_admitted_may_be(wish: Wish, known: bool) -> None:
    assert refuse(None, wish).verdict is (Verdict.KNOWN_DIVERGENCE if known else Verdict.FAIL)


def test_c25_of_a_version_that_is_not_served_nothing_is_judged() -> None:
    manifest = vmi("vm", Wish(cores=2), profile="v1alpha2")
    expectation = Terms("v1alpha2", {}, setting=SETTING).expect(manifest)
    assert expectation.unsupported == "the cluster does not serve kubevirt.io/v1alpha2, only v1"


@pytest.mark.parametrize(
    "body", [b"404 page not found\n", b"", b"<html>\xff</html>", b'{"error": "no"}', b"[1]"]
)
def test_c25_an_answer_that_is_no_status_is_kept(body: bytes) -> None:
    """Where nobody knows which versions are served, a 404 tells nothing of the promise."""
    answer = status_of(404, "Not Found", body)
    manifest = vmi("vm", Wish(cores=2), profile="v1alpha2")
    unread = Setting(unread={"served": "500"})
    finding = judged("ADM-ACCEPT", manifest, answer, setting=unread, profile="v1alpha2")
    assert finding.verdict is Verdict.NOT_OBSERVED
    assert "refused by the API server, which serves no such version" in finding.message
    assert "404" in finding.message


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 422, "kind": "Status", "details": {"causes": ["x", {"field": 1}, None]}},
        {"code": 422, "kind": "Status", "details": [], "message": 7, "reason": None},
        {"code": 422, "kind": "Status", "details": {"causes": {"field": "a"}}},
    ],
)
def test_causes_of_another_form_are_none(answer: Json) -> None:
    assert accept(answer).verdict is Verdict.NOT_OBSERVED
    assert refuse(answer, Wish(1, 1, 3)).verdict is Verdict.NOT_OBSERVED
