"""Two independent witnesses: the oracle and the reference stack, on every case of every matrix.

They share no code. Where they disagree, one of them is wrong about the promise, unless the
catalogue knows that released software, which the reference stack reproduces, diverges there.
"""

from __future__ import annotations

from typing import Any

import pytest

from clusters.reference import pod_resources, vmi
from clusters.reference.faults import NONE
from clusters.reference.launcher_pod import render
from conformance.matrix.cases import Case
from conformance.matrix.matrices import matrix
from conformance.matrix.quantity import parse_quantity
from conformance.model.expectation import Expectation
from conformance.model.finding import Verdict
from conformance.model.vocabulary import API_VERSIONS, PROFILES
from tests.unit.admitting import Api, api, judge


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["smoke", "standard", "full"])
def test_the_reference_stack_does_what_the_oracle_expects(name: str, profile: str) -> None:
    cases = matrix(name, profile)
    found = [disagreement(case, api(API_VERSIONS[profile])) for case in cases]
    assert cases
    assert [each for each in found if each] == []


def disagreement(case: Case, asked: Api) -> str | None:
    answer = asked.answer(case.manifest)
    finding = judge(answer, case.expectation)
    if finding.verdict not in (Verdict.PASS, Verdict.KNOWN_DIVERGENCE):
        return f"{case.id}: {finding.verdict} {finding.message}"
    if answer.stored is None or not case.expectation.admitted:
        return None
    return differs(answer.stored, case.expectation, asked, case.id)


def differs(
    stored: dict[str, Any], expected: Expectation, asked: Api, case: str = ""
) -> str | None:
    """What the stored VMI and its launcher pod have otherwise than the oracle expects."""
    topology = (expected.sockets, expected.cores, expected.threads)
    if vmi.topology(stored) != topology or vmi.vcpus(stored) != expected.vcpus:
        return f"{case}: the guest has {vmi.topology(stored)}, not {topology}"
    pod = pod_resources.with_defaults(render(stored, asked.config, NONE))
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
