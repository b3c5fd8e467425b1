"""Drops what a server has written into an object, so that it can be created anew.

The output of ``kubectl get -o yaml`` is a manifest that no API takes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.model.vocabulary import RESTRICTED_LABELS, WRITTEN_ANNOTATIONS

KEPT_METADATA = frozenset({"name", "generateName", "labels", "annotations"})
"""Everything else in ``metadata`` is the server's, the controllers', or about a namespace that
is not the run's; a finalizer of others would keep the object for ever."""


def was_stored(manifest: Mapping[str, Any]) -> bool:
    """Whether the object comes from a server rather than from somebody's editor."""
    metadata = manifest.get("metadata")
    return isinstance(metadata, Mapping) and bool(
        metadata.keys() & {"uid", "resourceVersion", "managedFields"}
    )


def cleaned(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The object as its user wrote it, as far as that can be told.

    Values of a spec that a server has filled in are kept: they say what it understood.
    """
    stored = was_stored(manifest)
    clean = {key: value for key, value in manifest.items() if key != "status"}
    metadata = manifest.get("metadata")
    if isinstance(metadata, Mapping):
        kept = {key: value for key, value in metadata.items() if key in KEPT_METADATA}
        for key, of_server in (("annotations", WRITTEN_ANNOTATIONS), ("labels", RESTRICTED_LABELS)):
            if isinstance(kept.get(key), Mapping):
                kept[key] = {k: v for k, v in kept[key].items() if k not in of_server}
        clean["metadata"] = {key: value for key, value in kept.items() if value not in ({}, None)}
    spec = manifest.get("spec")
    if stored and manifest.get("kind") == "VirtualMachine" and isinstance(spec, Mapping):
        # Up to 1.3 the controller noted there which revision of the instance type it took.
        clean["spec"] = {
            key: {name: part for name, part in value.items() if name != "revisionName"}
            if key in ("instancetype", "preference") and isinstance(value, Mapping)
            else value
            for key, value in spec.items()
        }
    if stored and manifest.get("kind") == "PersistentVolumeClaim" and isinstance(spec, Mapping):
        # Its volume is somebody else's.
        clean["spec"] = {key: value for key, value in spec.items() if key != "volumeName"}
    if stored and manifest.get("kind") == "ServiceAccount":
        clean.pop("secrets", None)
    return clean
