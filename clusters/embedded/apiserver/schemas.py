"""Which schema a served type has."""

from __future__ import annotations

from clusters.embedded.apiserver import builtin_schema, kubevirt_schema
from clusters.embedded.apiserver.resources import KUBEVIRT, VMI, ResourceType
from clusters.embedded.apiserver.schema import Schema


def is_builtin(type_: ResourceType) -> bool:
    """Whether the type is Kubernetes' own; the others are custom resources."""
    return builtin_schema.has_schema(type_.kind)


def schema_of(type_: ResourceType) -> Schema:
    """The schema of whole objects of the type."""
    if type_.kind == VMI.kind:
        return kubevirt_schema.virtual_machine_instance()
    if type_.kind == KUBEVIRT.kind:
        return kubevirt_schema.kubevirt()
    return builtin_schema.builtin(type_.kind)
