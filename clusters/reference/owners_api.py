"""virt-api: admission of what makes VirtualMachineInstances.

kubevirt pkg/virt-api/webhooks/validating-webhook/admitters/{vms,vmirs,vmpool}-admitter.go: the
template is validated as its VMI would be, under the path that it has in the object.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from clusters.reference import instancetypes
from clusters.reference.apiserver.backends import Cause, InvalidError
from clusters.reference.apiserver.resources import (
    POOL,
    REPLICA_SET,
    VIRTUAL_MACHINE,
    VMI,
    ResourceType,
)
from clusters.reference.apiserver.store import Object, Store
from clusters.reference.faults import Faults

OWNERS = (VIRTUAL_MACHINE, REPLICA_SET, POOL)
FINALIZER = "kubevirt.io/virtualMachineControllerFinalize"
"""Keeps an owner until what it has made is gone."""

_INVALID = "FieldValueInvalid"
_STRATEGIES = ("Always", "Halted", "Manual", "Once", "RerunOnFailure")
_WEBHOOKS = {
    VIRTUAL_MACHINE.kind: "virtualmachine-validator.kubevirt.io",
    REPLICA_SET.kind: "virtualmachineinstancereplicaset-validator.kubevirt.io",
    POOL.kind: "virtualmachinepool-validator.kubevirt.io",
}

AdmitVmi = Callable[[Object, Object | None], Object]


class OwnersAdmission:
    """Validates VirtualMachines, replica sets and pools."""

    def __init__(self, store: Store, admit_vmi: AdmitVmi, faults: Faults) -> None:
        self._store = store
        self._admit_vmi = admit_vmi
        self._faults = faults

    def admit(self, type_: ResourceType, obj: Object, old: Object | None) -> Object:
        """The object to be stored. Raises InvalidError with every cause at once."""
        owner = copy.deepcopy(obj)
        if old is not None:
            # Of replica sets and pools no change is asked for here.
            if type_.kind == VIRTUAL_MACHINE.kind and owner["spec"] != old["spec"]:
                unchecked = self._faults.template_change_unchecked
                _refuse(type_, [] if unchecked else self._machine(owner))
            return owner
        finalizers = owner["metadata"].setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)
        spec = owner["spec"]
        if type_.kind == REPLICA_SET.kind:
            causes = self._template(spec["template"], "spec.template.", owner)
            causes += _selector(spec, spec["template"])
        elif type_.kind == POOL.kind:
            machine = spec["virtualMachineTemplate"]
            prefix = "spec.virtualMachineTemplate."
            template = (machine.get("spec") or {}).get("template") or {}
            causes = self._template(template, f"{prefix}spec.template.", owner)
            causes += _strategy(machine.get("spec") or {}, f"{prefix}spec")
            causes += _selector(spec, machine)
        else:
            causes = self._machine(owner)
        _refuse(type_, causes)
        owner["status"] = {}
        return owner

    def _machine(self, machine: Object) -> list[Cause]:
        template = machine["spec"]["template"]
        try:
            expanded = instancetypes.expand(template, *instancetypes.find(self._store, machine))
        except instancetypes.MissingError:
            expanded = template  # upstream: found out when it is to be started
            if machine["spec"].get("instancetype"):
                return _strategy(machine["spec"], "spec")
        except instancetypes.ConflictsError as error:
            return error.causes
        causes = self._template(expanded, "spec.template.", machine)
        return causes + _strategy(machine["spec"], "spec")

    def _template(self, template: Object, prefix: str, owner: Object) -> list[Cause]:
        """What is wrong with the VMI of a template."""
        metadata = {
            **(template.get("metadata") or {}),
            "name": owner["metadata"].get("name") or "",
            "namespace": owner["metadata"].get("namespace") or "",
        }
        vmi = {
            "apiVersion": VMI.api_version,
            "kind": VMI.kind,
            "metadata": metadata,
            "spec": copy.deepcopy(template.get("spec") or {"domain": {}}),
        }
        try:
            self._admit_vmi(vmi, None)
        except InvalidError as error:
            return [
                Cause(cause.reason, cause.message, f"{prefix}{cause.field}")
                for cause in error.causes
            ]
        return []


def _refuse(type_: ResourceType, causes: list[Cause]) -> None:
    if causes:
        told = ", ".join(cause.message for cause in causes)
        webhook = _WEBHOOKS[type_.kind]
        raise InvalidError(f'admission webhook "{webhook}" denied the request: {told}', causes)


def _strategy(spec: Object, path: str) -> list[Cause]:
    running, strategy = spec.get("running"), spec.get("runStrategy")
    if running is not None and strategy is not None:
        message = "Running and RunStrategy are mutually exclusive"
        return [Cause(_INVALID, message, f"{path}.running")]
    if running is None and strategy is None:
        return [Cause(_INVALID, "RunStrategy must be specified", f"{path}.running")]
    if strategy is not None and strategy not in _STRATEGIES:
        return [Cause(_INVALID, f"Invalid RunStrategy ({strategy})", f"{path}.runStrategy")]
    return []


def _selector(spec: Object, template: Object) -> list[Cause]:
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if wanted.items() <= labels.items():
        return []
    return [Cause(_INVALID, "selector does not match labels.", "spec.selector")]
