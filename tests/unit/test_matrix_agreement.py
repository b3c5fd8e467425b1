"""Two independent witnesses: the oracle and the embedded stack, on every case of every matrix.

They share no code. Where they disagree, one of them is wrong about the promise, unless the
catalogue knows that released software, which the embedded stack reproduces, diverges there.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from clusters.embedded.apiserver.backends import Cause, InvalidError
from clusters.embedded.apiserver.kubevirt_schema import virtual_machine_instance
from clusters.embedded.apiserver.resources import KUBEVIRT
from clusters.embedded.apiserver.schema import fit
from clusters.embedded.apiserver.store import Store
from clusters.embedded.cluster_config import ClusterConfig
from clusters.embedded.faults import NONE
from clusters.embedded.launcher_pod import render
from clusters.embedded.virt_api import VmiAdmission
from conformance.matrix.cases import Case
from conformance.matrix.matrices import matrix
from conformance.matrix.quantity import parse_quantity
from conformance.model.expectation import Expectation, Refusal
from conformance.requirements.catalogue import catalogue


@pytest.mark.parametrize("profile", ["v1", "v1alpha2"])
@pytest.mark.parametrize("name", ["smoke", "standard", "full"])
def test_the_embedded_stack_does_what_the_oracle_expects(name: str, profile: str) -> None:
    cases = matrix(name, profile)
    found = [disagreement(case, profile) for case in cases]
    assert cases
    assert [each for each in found if each] == []


def disagreement(case: Case, profile: str) -> str | None:
    expected = case.expectation
    admitted = admit(case.manifest, profile)
    if isinstance(admitted, dict):
        if expected.refusal is None:
            pod = render(admitted, configuration(profile), NONE)
            return differs(pod, expected, case.id)
        if is_known_to_be_admitted(expected.refusal, profile):
            return None
        return f"{case.id}: admitted in spite of {expected.refusal.rule}"
    if expected.refusal is None:
        return f"{case.id}: refused for {admitted}"
    named = any(
        cause.field in expected.refusal.fields and expected.refusal.fragment in cause.message
        for cause in admitted
    )
    return None if named else f"{case.id}: {expected.refusal} was refused for {admitted}"


def differs(pod: dict[str, Any], expected: Expectation, case: str) -> str | None:
    """What the launcher pod has otherwise than the oracle expects."""
    containers = {each["name"]: each["resources"] for each in pod["spec"]["containers"]}
    if expected.dedicated:
        for kind in ("requests", "limits"):
            cpus = containers["compute"][kind]["cpu"]
            if parse_quantity(cpus) != expected.compute_cpus:
                return f"{case}: compute {kind} {cpus} CPUs, not {expected.compute_cpus}"
    for sidecar in expected.sidecars:
        if sidecar.name not in containers:
            return f"{case}: there is no {sidecar.name}, only {', '.join(containers)}"
        limits = containers[sidecar.name].get("limits", {})
        if sidecar.cpu_milli is not None and (
            parse_quantity(limits["cpu"]) * 1000 != sidecar.cpu_milli
            or parse_quantity(limits["memory"]) != sidecar.memory_bytes
        ):
            return f"{case}: {sidecar.name} has {limits}, not {sidecar}"
    return None


def is_known_to_be_admitted(refusal: Refusal, profile: str) -> bool:
    rules = refusal.rule.split("+")
    known = catalogue().requirement("ADM-REFUSE").known_divergences
    return "schema" not in rules and any(each.concerns(profile, rules) for each in known)


def admit(manifest: Any, profile: str) -> dict[str, Any] | tuple[Cause, ...]:
    """The VMI as it would be stored, or the causes of the refusal."""
    fitted = fit(virtual_machine_instance(), copy.deepcopy(manifest))
    if fitted.problems:
        return tuple(problem.cause() for problem in fitted.problems)
    try:
        stored = VmiAdmission(configuration(profile), NONE).admit(fitted.value, None)
    except InvalidError as refused:
        return tuple(refused.causes)
    stored["metadata"] |= {"namespace": "tests", "uid": "00000000-0000-0000-0000-000000000001"}
    return stored


def configuration(profile: str) -> ClusterConfig:
    store = Store()
    metadata = {"name": "kubevirt", "namespace": "kubevirt"}
    gates = {"developerConfiguration": {"featureGates": ["CPUManager", "Sidecar"]}}
    store.create(KUBEVIRT, {"metadata": metadata, "spec": {"configuration": gates}})
    return ClusterConfig(store, profile)
