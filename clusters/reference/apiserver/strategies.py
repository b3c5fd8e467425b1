"""What is particular to a kind when its objects are written through the API.

The rules of kubernetes pkg/registry/core/*/strategy.go and pkg/apis/core/validation.
"""

from __future__ import annotations

import base64
from typing import Any

from clusters.reference.apiserver.backends import Cause
from clusters.reference.apiserver.errors import invalid
from clusters.reference.apiserver.resources import NODE, POD, ResourceType
from clusters.reference.apiserver.schemas import is_builtin
from clusters.reference.apiserver.store import Object, copied


def prepare_new(type_: ResourceType, obj: Object) -> Object:
    """An object as it is on creation, whatever status the client sent."""
    if "status" in type_.subresources and type_ != NODE:
        obj.pop("status", None)
    if type_.kind == "Namespace":
        obj["status"] = {"phase": "Active"}
    elif type_.kind == "Pod":
        obj["status"] = {"phase": "Pending"}
    elif type_.kind == "Secret":
        _encode_secret(obj)
    return obj


def prepare_update(type_: ResourceType, obj: Object, old: Object) -> Object:
    """An update of everything but the status.

    Raises StatusError 422 when it changes what cannot be changed.
    """
    if "status" in type_.subresources or type_.kind == "Namespace":
        _keep(obj, old, "status")
    if type_.kind == "Secret":
        _encode_secret(obj)
    elif type_.kind == "Pod" and _fixed(obj["spec"]) != _fixed(old["spec"]):
        text = (
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
            "was previously negative)"
        )
        cause = Cause("FieldValueForbidden", text, "spec")
        raise invalid("Pod", "", obj["metadata"]["name"], [cause])
    return obj


def prepare_status_update(type_: ResourceType, obj: Object, old: Object) -> Object:
    """An update of the status: everything else stays as it was.

    Labels and annotations go along for built-in kinds, as kubelets rely on.
    """
    result = copied(old)
    _keep(result, obj, "status")
    metadata = obj.get("metadata") or {}
    if is_builtin(type_):
        for key in ("labels", "annotations"):
            _keep(result["metadata"], metadata, key)
    if "resourceVersion" in metadata:
        result["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    else:
        result["metadata"].pop("resourceVersion", None)
    return result


def default_grace(type_: ResourceType, obj: Object, asked: int | None) -> int:
    """Seconds until an object is gone: for pods that a kubelet has to stop, else 0."""
    if type_.kind != POD.kind:
        return 0
    if not obj["spec"].get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    if asked is not None:
        return max(asked, 0)
    grace: int = obj["spec"].get("terminationGracePeriodSeconds", 30)
    return grace


def _keep(obj: Object, old: Object, key: str) -> None:
    if key in old:
        obj[key] = old[key]
    else:
        obj.pop(key, None)


def _fixed(spec: Object) -> Object:
    """The part of a pod's spec that never changes."""
    open_fields = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"}
    fixed: dict[str, Any] = {key: value for key, value in spec.items() if key not in open_fields}
    for key in ("containers", "initContainers"):
        fixed[key] = [
            {name: value for name, value in container.items() if name != "image"}
            for container in spec.get(key) or ()
        ]
    return fixed


def _encode_secret(obj: Object) -> None:
    plain = obj.pop("stringData", None) or {}
    obj["type"] = obj.get("type") or "Opaque"
    if plain:
        data = obj.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode()
