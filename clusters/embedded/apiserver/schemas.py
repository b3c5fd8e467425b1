"""Which schema a served type has."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from clusters import cache
from clusters.embedded.apiserver import (
    builtin_schema,
    kubevirt_schema,
    owners_schema,
    resources,
    schema,
)
from clusters.embedded.apiserver.resources import (
    CLUSTER_INSTANCETYPE,
    CLUSTER_PREFERENCE,
    INSTANCETYPE,
    KUBEVIRT,
    POOL,
    PREFERENCE,
    REPLICA_SET,
    VIRTUAL_MACHINE,
    VMI,
    ResourceType,
)
from clusters.embedded.apiserver.schema import Schema
from clusters.provider import ClusterError

_SOURCES = (builtin_schema, kubevirt_schema, owners_schema, resources, schema)


def is_builtin(type_: ResourceType) -> bool:
    """Whether the type is Kubernetes' own; the others are custom resources."""
    return builtin_schema.has_schema(type_.kind)


def schema_of(type_: ResourceType) -> Schema:
    """The schema of whole objects of the type."""
    return _schemas()[type_.kind]


@functools.cache
def _schemas() -> Mapping[str, Schema]:
    """The schema of every kind.

    To derive them takes as long as everything else that a server does to start, for which the
    client's models have to be loaded: they are kept.
    """
    parts: list[str | bytes] = [metadata.version("kubernetes")]
    for module in _SOURCES:
        parts += [module.__name__, Path(str(module.__file__)).read_bytes()]
    name = f"schemas-{cache.key(parts)}"
    try:
        directory = cache.kept(name, _write, what="schemas", need_mib=1, progress=lambda _: None)
        kept: Mapping[str, Schema] = pickle.loads((directory / "schemas").read_bytes())
    except (ClusterError, OSError, EOFError, pickle.UnpicklingError):  # no room, or it is damaged
        return _derived()
    return kept


def _write(directory: Path) -> None:
    (directory / "schemas").write_bytes(pickle.dumps(_derived()))


def _derived() -> Mapping[str, Schema]:
    own = {
        VMI.kind: kubevirt_schema.virtual_machine_instance,
        KUBEVIRT.kind: kubevirt_schema.kubevirt,
        VIRTUAL_MACHINE.kind: owners_schema.virtual_machine,
        REPLICA_SET.kind: owners_schema.replica_set,
        POOL.kind: owners_schema.pool,
        INSTANCETYPE.kind: owners_schema.instancetype,
        CLUSTER_INSTANCETYPE.kind: owners_schema.instancetype,
        PREFERENCE.kind: owners_schema.preference,
        CLUSTER_PREFERENCE.kind: owners_schema.preference,
    }
    return {
        type_.kind: own[type_.kind]() if type_.kind in own else builtin_schema.builtin(type_.kind)
        for type_ in resources.ALL
    }
