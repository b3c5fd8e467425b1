"""Two independent witnesses, the oracle and the embedded stack, judge every case alike."""

from __future__ import annotations

import pytest

from clusters.embedded import launcher_pod, pod_resources, vmi
from clusters.embedded.apiserver import kubevirt_schema
from clusters.embedded.apiserver.backends import InvalidError
from clusters.embedded.apiserver.resources import KUBEVIRT
from clusters.embedded.apiserver.schema import fit
from clusters.embedded.apiserver.store import Object, Store
from clusters.embedded.cluster_config import ClusterConfig
from clusters.embedded.faults import NONE
from clusters.embedded.virt_api import VmiAdmission
from conformance.matrix.cases import Case
from conformance.matrix.matrices import matrix

KNOWN_DIVERGENCES = "-positive"
"""Rules that released KubeVirt, and so the stack, does not keep: zero is taken for unset."""


def config(profile: str) -> ClusterConfig:
    store = Store()
    developer = {"featureGates": ["CPUManager", "Sidecar"]}
    spec = {"configuration": {"developerConfiguration": developer}}
    store.create(
        KUBEVIRT, {"metadata": {"name": "kubevirt", "namespace": "kubevirt"}, "spec": spec}
    )
    return ClusterConfig(store, profile)


def refused_fields(case: Case, profile: str) -> tuple[set[str], Object]:
    """Fields that the stack refuses, and the VMI as it would store it."""
    metadata = {**case.manifest["metadata"], "namespace": "default", "uid": "1"}
    fitting = fit(
        kubevirt_schema.virtual_machine_instance(), {**case.manifest, "metadata": metadata}
    )
    if fitting.problems:
        return {problem.path for problem in fitting.problems}, {}
    try:
        return set(), VmiAdmission(config(profile), NONE).admit(fitting.value, None)
    except InvalidError as refused:
        return {cause.field for cause in refused.causes}, {}


@pytest.mark.parametrize("profile", ["v1", "v1alpha2"])
def test_the_same_is_admitted_and_refused_with_the_same_numbers(profile: str) -> None:
    differences: list[tuple[str, object, object]] = []
    for case in matrix("standard", profile):
        fields, stored = refused_fields(case, profile)
        expected = case.expectation
        if expected.refusal is not None:
            diverges = all(
                rule.endswith(KNOWN_DIVERGENCES) for rule in expected.refusal.rule.split("+")
            )
            known = diverges and profile == "v1"
            if not fields & set(expected.refusal.fields) and not (known and not fields):
                differences.append((case.id, expected.refusal, fields))
            continue
        if fields:
            differences.append((case.id, "admitted", fields))
            continue
        pod = pod_resources.with_defaults(launcher_pod.render(stored, config(profile), NONE))
        cpus = int(pod["spec"]["containers"][0]["resources"].get("limits", {}).get("cpu", 0))
        topology = (expected.sockets, expected.cores, expected.threads)
        if (vmi.vcpus(stored), vmi.topology(stored)) != (expected.vcpus, topology):
            differences.append((case.id, topology, vmi.topology(stored)))
        if expected.dedicated and cpus != expected.compute_cpus:
            differences.append((case.id, expected.compute_cpus, cpus))
    assert not differences, f"{len(differences)} cases, such as {differences[0]}"
