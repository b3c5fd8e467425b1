"""The CustomResourceDefinition objects of the served custom resources.

`kubectl get crd` lists them, and who looks for KubeVirt finds it by them. They tell clients
which versions and columns there are; what is served does not depend on them, and the schema is
in the OpenAPI documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clusters.reference.apiserver.resources import CRD, ResourceType
from clusters.reference.apiserver.schemas import is_builtin
from clusters.reference.apiserver.store import Store, now

Object = dict[str, Any]


def install(store: Store, types: Sequence[ResourceType]) -> None:
    """Adds the definitions that are missing."""
    for type_ in types:
        definition = _definition(type_)
        if not is_builtin(type_) and store.find(CRD, definition["metadata"]["name"]) is None:
            store.create(CRD, definition)


def _definition(type_: ResourceType) -> Object:
    names = {
        "plural": type_.plural,
        "singular": type_.singular,
        "kind": type_.kind,
        "listKind": f"{type_.kind}List",
        "shortNames": list(type_.short_names),
        "categories": list(type_.categories),
    }
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    conditions = [
        {
            "type": name,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now(),
        }
        for name, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    return {
        "metadata": {"name": f"{type_.plural}.{type_.group}"},
        "spec": {
            "group": type_.group,
            "names": names,
            "scope": "Namespaced" if type_.namespaced else "Cluster",
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == type_.versions[0],
                    "schema": {"openAPIV3Schema": anything},
                    "subresources": {name: {} for name in type_.subresources},
                }
                for version in type_.versions
            ],
        },
        "status": {
            "acceptedNames": names,
            "conditions": conditions,
            "storedVersions": [type_.versions[0]],
        },
    }
