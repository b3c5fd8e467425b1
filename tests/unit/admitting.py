"""The reference stack's API asked for a VMI, and what the harness makes of its answer."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusters.reference.apiserver.errors import StatusError
from clusters.reference.apiserver.operations import Operations
from clusters.reference.apiserver.resources import KUBEVIRT, NAMESPACE, VMI, ResourceType
from clusters.reference.apiserver.store import Object, Store
from clusters.reference.apiserver.target import Target, WriteOptions
from clusters.reference.cluster_config import ClusterConfig
from clusters.reference.faults import NONE, Faults
from clusters.reference.virt_api import VmiAdmission
from conformance.checks.registry import registered
from conformance.judging.terms import Terms
from conformance.model.evidence import Snapshot, Vmi
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.parsing import kubernetes

GATES = ("CPUManager", "Sidecar")
_NAMES = itertools.count()


@dataclass(frozen=True)
class Answer:
    """What the API said: the object that it stored, or a Status."""

    stored: Object | None
    status: Mapping[str, Any] | None


class Api:
    """The API server and virt-api of the reference stack, without its door."""

    def __init__(self, profile: str = "v1", faults: Faults = NONE, **configuration: Any) -> None:
        self.store = Store()
        configuration.setdefault("developerConfiguration", {"featureGates": list(GATES)})
        metadata = {"name": "kubevirt", "namespace": "kubevirt"}
        self.store.create(
            KUBEVIRT, {"metadata": metadata, "spec": {"configuration": configuration}}
        )
        self.store.create(NAMESPACE, {"metadata": {"name": "tests"}})
        self.config = ClusterConfig(self.store, profile)
        self._profile = profile
        self._admission = VmiAdmission(self.config, faults)
        self._operations = Operations(self.store, self)

    def admit(self, _type: ResourceType, obj: Object, old: Object | None) -> Object:
        """As the stack admits."""
        return self._admission.admit(obj, old)

    def answer(self, manifest: Mapping[str, Any], **options: Any) -> Answer:
        """What it says of a manifest; nothing is kept."""
        target = Target(VMI, self._profile, namespace="tests")
        try:
            stored = self._operations.create(
                target, dict(manifest), WriteOptions(dry_run=True, **options)
            )
        except StatusError as error:
            return Answer(None, error.status())
        return Answer(stored, None)


@functools.cache
def api(profile: str = "v1") -> Api:
    """As it comes, with hook sidecars."""
    return Api(profile)


def judge(answer: Answer, expectation: Expectation, terms: Terms | None = None) -> Finding:
    """What ADM-ACCEPT or ADM-REFUSE says of an answer, and the catalogue of that."""
    requirement = "ADM-ACCEPT" if expectation.admitted else "ADM-REFUSE"
    vmi = None
    if answer.stored is not None:
        vmi = Vmi("tests", "vm", f"uid-{next(_NAMES)}", "Pending", None, {})
    snapshot = Snapshot(
        "case",
        "vmi",
        "running",
        "",
        "",
        {},
        vmi=vmi,
        rejection=kubernetes.rejection(answer.status) if answer.status else None,
    )
    finding = registered()[requirement].judge(snapshot, expectation)
    if finding.verdict is not Verdict.KNOWN_DIVERGENCE:
        return finding
    terms = terms or Terms("v1", {})
    rules = expectation.refusal.rule.split("+") if expectation.refusal else ()
    known, _ = terms.known(terms.catalogue.requirement(requirement), rules, "")
    verdict = Verdict.KNOWN_DIVERGENCE if known else Verdict.FAIL
    return Finding(finding.requirement, verdict, finding.message)
