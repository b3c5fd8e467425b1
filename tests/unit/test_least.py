"""Evidence of what is not the run's own holds what checks need, and no more."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from conformance.collecting import least
from conformance.collecting.bundle import read
from conformance.matrix.oracle import expect
from conformance.model.evidence import RawSnapshot
from conformance.parsing import domain
from conformance.parsing.assemble import assemble
from tests.selfproof import recording as good
from tests.truth.recordings import Recording

SECRET = "hunter2"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[RawSnapshot]:
    directory = Recording(tmp_path_factory.mktemp("recording")).directory
    found = read(directory).snapshots
    return [raw for case in found for _file, raw in found[case]]


def reduced(raw: RawSnapshot) -> RawSnapshot:
    return replace(
        raw,
        vmi=raw.vmi and least.vmi(raw.vmi),
        pod=raw.pod and least.pod(raw.pod),
        node=raw.node and least.node(raw.node),
        pods=tuple(map(least.pod, raw.pods)),
    )


def test_facts_are_those_of_the_whole_objects(recorded: list[RawSnapshot]) -> None:
    assert len(recorded) > 5
    for raw in recorded:
        whole, less = assemble(raw), assemble(reduced(raw))
        assert less.node == whole.node
        assert less.pod == (whole.pod and replace(whole.pod, labels=less.pod.labels))  # type: ignore[union-attr]
        assert [replace(pod, labels={}) for pod in less.pods] == [
            replace(pod, labels={}) for pod in whole.pods
        ]
        assert less.not_observed == whole.not_observed
        if whole.vmi is not None:
            assert less.vmi is not None
            assert (less.vmi.phase, less.vmi.reached) == (whole.vmi.phase, whole.vmi.reached)


def test_expectations_are_those_of_the_whole_spec(recorded: list[RawSnapshot]) -> None:
    for raw in recorded:
        if raw.vmi is not None:
            assert expect(least.vmi(raw.vmi)) == expect(raw.vmi)
    assert expect(least.vmi(good.MANIFEST)) == expect(good.MANIFEST)


def test_no_secret_of_a_pod_is_kept() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p",
            "namespace": "n",
            "uid": "u",
            "annotations": {"a": SECRET, "kubernetes.io/config.hash": "h"},
            "labels": {"token": SECRET, "kubevirt.io": "virt-launcher"},
            "managedFields": [{"manager": SECRET}],
        },
        "spec": {
            "nodeName": "node-1",
            "volumes": [{"name": SECRET}],
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "env": [{"name": "PASSWORD", "value": SECRET}],
                    "envFrom": [{"secretRef": {"name": SECRET}}],
                    "command": ["sh", SECRET],
                    "args": [SECRET],
                    "livenessProbe": {"exec": {"command": [SECRET]}},
                    "lifecycle": {"preStop": {"exec": {"command": [SECRET]}}},
                    "resources": {"requests": {"cpu": "1"}, "claims": [{"name": SECRET}]},
                }
            ],
            "ephemeralContainers": [{"name": "debug", "command": [SECRET]}],
        },
        "status": {
            "phase": "Running",
            "message": SECRET,
            "conditions": [{"type": "Ready", "status": "True", "message": SECRET}],
            "containerStatuses": [
                {
                    "name": "c",
                    "containerID": "x://1",
                    "lastState": {"terminated": {"exitCode": 1, "message": SECRET}},
                }
            ],
        },
    }
    kept = least.pod(pod)
    assert SECRET not in json.dumps(kept)
    assert kept["metadata"]["annotations"] == {"kubernetes.io/config.hash": "h"}
    assert kept["spec"]["containers"] == [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    ]
    assert kept["status"]["containerStatuses"][0]["lastState"] == {"terminated": {"exitCode": 1}}


def test_no_secret_of_a_vmi_is_kept() -> None:
    hooks = json.dumps([{"args": [SECRET]}, {"image": SECRET}])
    vmi = {
        "metadata": {
            "name": "v",
            "namespace": "n",
            "uid": "u",
            "annotations": {"other": SECRET, "hooks.kubevirt.io/hookSidecars": hooks},
        },
        "spec": {
            "accessCredentials": [{"sshPublicKey": SECRET}],
            "hostname": SECRET,
            "readinessProbe": {"exec": {"command": [SECRET]}},
            "networks": [{"name": SECRET}],
            "domain": {
                "cpu": {"cores": 2, "dedicatedCpuPlacement": True},
                "memory": {"guest": "64Mi"},
                "firmware": {"serial": SECRET, "kernelBoot": {"kernelArgs": SECRET}},
                "launchSecurity": {"sev": {"session": SECRET}},
                "devices": {"interfaces": [{"macAddress": SECRET}], "disks": [{"name": "d"}]},
            },
            "volumes": [
                {"name": "init", "cloudInitNoCloud": {"userData": SECRET}},
                {"name": "d", "containerDisk": {"image": "i", "imagePullSecret": SECRET}},
            ],
        },
        "status": {"phase": "Running", "interfaces": [{"ipAddress": SECRET}]},
    }
    kept = least.vmi(vmi)
    assert SECRET not in json.dumps(kept)
    expected = expect(kept)
    assert [each.name for each in expected.sidecars] == [
        "hook-sidecar-0",
        "hook-sidecar-1",
        "volumed",
    ]
    assert "asked for, not judged: launch security" in expected.notes


def test_of_a_node_the_heartbeat_is_kept() -> None:
    annotations = {"kubevirt.io/heartbeat": "2026-01-01T00:00:00Z", "other": SECRET}
    node = {
        "metadata": {"name": "n", "labels": {"a": "b"}, "annotations": annotations},
        "status": {"addresses": [{"address": SECRET}], "images": [{"names": [SECRET]}]},
    }
    kept = least.node(node)
    assert SECRET not in json.dumps(kept)
    assert kept["metadata"]["labels"] == {"a": "b"}


def test_the_recording_has_secrets_to_lose(recorded: list[RawSnapshot]) -> None:
    """Otherwise nothing above would prove anything."""
    pods = [pod for raw in recorded for pod in raw.pods]
    assert any('"env"' in json.dumps(pod) for pod in pods)
    assert not any('"env"' in json.dumps(least.pod(pod)) for pod in pods)


def test_of_a_domain_disks_and_hints_are_kept_and_no_path() -> None:
    xml = (
        "<domain type='kvm'><name>ns_vm</name><vcpu>1</vcpu><metadata>secret</metadata>"
        "<features><acpi/><hyperv><vendor_id state='on' value='secret'/></hyperv>"
        "<kvm><hint-dedicated state='on'/></kvm></features>"
        "<devices><disk type='file'><driver name='secret' iothread='2'/><source file='secret'/>"
        "<serial>secret</serial><alias name='ua-root'/></disk><interface>secret</interface>"
        "<disk><driver><iothreads><iothread id='1'/></iothreads></driver></disk></devices></domain>"
    )
    kept = least.domain(xml)
    assert "secret" not in kept
    less, whole = domain.domain(kept, "here"), domain.domain(xml, "here")
    assert less.kvm == whole.kvm == {"hint-dedicated": "on"}
    assert less.disk_iothreads == whole.disk_iothreads
    assert (less.disk_iothreads or {})["root"] == {2}
