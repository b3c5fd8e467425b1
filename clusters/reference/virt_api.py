"""virt-api's part in the life of a VMI: what is refused, and what it fills in.

A creation is answered by the first stage that objects: the mutating webhook's schema and
decoding, the schema of the CRD after defaulting, the validating webhook.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from clusters.reference import virt_api_rules
from clusters.reference.apiserver.backends import Cause, InvalidError
from clusters.reference.apiserver.errors import invalid_message
from clusters.reference.apiserver.resources import VMI
from clusters.reference.apiserver.store import Object
from clusters.reference.cluster_config import ClusterConfig
from clusters.reference.faults import Faults
from clusters.reference.virt_api_defaults import set_defaults
from clusters.reference.virt_api_schema import DecodingError, decode, schema_causes, stored_causes

MUTATOR = "virtualmachineinstances-mutator.kubevirt.io"
VALIDATOR = "virtualmachineinstances-create-validator.kubevirt.io"
UPDATE_VALIDATOR = "virtualmachineinstances-update-validator.kubevirt.io"

FINALIZER = "kubevirt.io/foregroundDeleteVirtualMachine"
"""Keeps a VMI until its launcher pod has gone."""

_MOST_CAUSES = 10
"""pkg/util/webhooks, ToAdmissionResponse."""


class VmiAdmission:
    """Defaulting and validation of VirtualMachineInstances without unknown fields."""

    def __init__(self, config: ClusterConfig, faults: Faults) -> None:
        self._config = config
        self._faults = faults

    def admit(self, obj: Object, old: Object | None) -> Object:
        """The VMI to be stored. Raises InvalidError."""
        if old is not None:
            return self._admit_update(obj, old)
        vmi = read(copy.deepcopy(obj))
        set_defaults(vmi, self._config)
        finalizers = vmi["metadata"].setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)
        if causes := list(stored_causes(vmi)):
            name = vmi["metadata"].get("name") or ""
            message = invalid_message(VMI.kind, VMI.group, name, causes)
            raise InvalidError(message, causes, named=True)
        gate = not self._faults.sidecar_gate_ignored
        self._refuse(virt_api_rules.causes(vmi, self._config, sidecar_gate=gate))
        return vmi

    def _admit_update(self, obj: Object, old: Object) -> Object:
        if read(obj).get("spec") != old.get("spec"):
            message = "update of VMI object is restricted"
            cause = Cause(virt_api_rules.INVALID, message, "spec")
            raise InvalidError(_denied(UPDATE_VALIDATOR, message), [cause])
        return obj

    def _refuse(self, found: Iterable[Cause]) -> None:
        causes = list(found)
        if self._faults.refuse_everything:
            causes = [Cause(virt_api_rules.INVALID, "everything is refused", "spec")]
        if admitted := self._faults.admit_field:
            causes = [cause for cause in causes if cause.field != admitted]
        if causes:
            raise _by(VALIDATOR, causes)


def read(vmi: Object) -> Object:
    """The VMI with its quantities as Kubernetes writes them. Raises InvalidError."""
    if causes := list(schema_causes(vmi)):
        raise _by(MUTATOR, causes)
    try:
        return decode(vmi)
    except DecodingError as error:
        raise InvalidError(_denied(MUTATOR, str(error)), code=400) from error


def _by(webhook: str, causes: list[Cause]) -> InvalidError:
    shown = causes[:_MOST_CAUSES]
    told = ", ".join(cause.message for cause in shown)
    if more := len(causes) - len(shown):
        told += f", and {more} more validation errors"
    return InvalidError(_denied(webhook, told), shown)


def _denied(webhook: str, told: str) -> str:
    return f'admission webhook "{webhook}" denied the request: {told}'
