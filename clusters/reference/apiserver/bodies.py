"""Bodies of requests as objects: decoded, held against the schema of their type."""

from __future__ import annotations

from typing import Any

from clusters.reference.apiserver import errors
from clusters.reference.apiserver.backends import Cause
from clusters.reference.apiserver.names import check_labels
from clusters.reference.apiserver.resources import VMI
from clusters.reference.apiserver.schema import Fit, fit
from clusters.reference.apiserver.schemas import is_builtin, schema_of
from clusters.reference.apiserver.store import Object
from clusters.reference.apiserver.target import Target, WriteOptions


def decoded(target: Target, body: Any, *, typed: bool = False) -> Object:
    """The body as an object of the target's kind, version and namespace. Raises StatusError."""
    kind = target.type.kind
    if not isinstance(body, dict):
        raise errors.bad_request(
            "the object provided is unrecognized (must be of type "
            f"{kind}): couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"into Go value of type {kind}"
        )
    obj = dict(body if is_builtin(target.type) else _unstructured(body))
    if is_builtin(target.type) and not typed:
        obj.setdefault("kind", kind)
        obj.setdefault("apiVersion", target.api_version)
    for key in ("apiVersion", "kind"):
        if not isinstance(obj.get(key), str) or not obj[key]:
            raise errors.bad_request(f"Object '{key.capitalize()}' is missing in the body")
    if obj["kind"] != kind or obj["apiVersion"] != target.api_version:
        raise errors.bad_request(
            f'{obj["kind"]} in version "{obj["apiVersion"].rpartition("/")[2]}" cannot be '
            f"handled as a {kind}: the API version in the data ({obj['apiVersion']}, "
            f"{obj['kind']}) does not match the expected API version "
            f"({target.api_version}, {kind})"
        )
    metadata = obj["metadata"] = dict(metadata_of(obj))
    if target.type.namespaced:
        if metadata.setdefault("namespace", target.namespace) != target.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on "
                "the request"
            )
    else:
        metadata.pop("namespace", None)
    return obj


def fitted(target: Target, obj: Object, options: WriteOptions, *, patch: bool = False) -> Object:
    """The object with the fields of its type. Raises StatusError for what does not fit."""
    found = fit(schema_of(target.type), obj, owner=target.type.kind)
    fit_or_refuse(target, found, options, patch=patch)
    causes = check_labels(found.value["metadata"].get("labels") or {})
    if causes:
        name = found.value["metadata"].get("name") or ""
        raise errors.invalid(target.type.kind, target.type.group, name, causes)
    value: Object = found.value
    return value


def check_patched(obj: Any, original: Object) -> None:
    """Raises StatusError for what a patch made another object."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise errors.bad_request("the patched object has no metadata")
    before = original["metadata"]
    for key, now_ in (("name", obj["metadata"].get("name")), ("kind", obj.get("kind"))):
        was = before["name"] if key == "name" else original["kind"]
        if now_ != was:
            raise errors.bad_request(
                f"the {key} of the object ({now_}) does not match the {key} on the URL ({was})"
            )
    obj["apiVersion"] = original["apiVersion"]
    if "namespace" in before:
        obj["metadata"]["namespace"] = before["namespace"]


def _unstructured(value: Any) -> Any:
    """As custom resources are read: 2.0 is 2, and what 64 bits cannot hold is a fraction.

    apimachinery pkg/util/json, and what encoding/json writes of it.
    """
    if isinstance(value, dict):
        return {key: _unstructured(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_unstructured(below) for below in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def metadata_of(obj: Object) -> Object:
    """The metadata of an object, made where there is none. Raises StatusError."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise errors.bad_request(
            "the object provided is unrecognized: json: cannot unmarshal metadata into Go value "
            "of type v1.ObjectMeta"
        )
    return metadata


def fit_or_refuse(
    target: Target, found: Fit, options: WriteOptions, *, patch: bool = False
) -> None:
    """Refuses what does not fit, in the words for built-in types or for custom resources."""
    type_ = target.type
    unknown = [f'unknown field "{path}"' for path in found.unknown]
    version_kind = f'{type_.kind} in version "{target.version}" cannot be handled as a {type_.kind}'
    if unknown and options.field_validation == "Strict":
        strict = "strict decoding error: " + ", ".join(unknown)
        if patch:
            cause = Cause("FieldValueInvalid", f"Invalid value: {strict}", "patch")
            raise errors.invalid("", "", "", [cause])
        raise errors.bad_request(f"{version_kind}: {strict}")
    if options.field_validation == "Warn":
        options.warnings += [text for text in unknown if text not in options.warnings]
    problems = found.problems
    if is_builtin(type_):
        undecodable = [entry for entry in problems if entry.kind in {"type", "pattern"}]
        if undecodable:
            raise errors.bad_request(f"{version_kind}: {undecodable[0].decoding_error()}")
        # Statuses come from components, which upstream does not validate as strictly.
        problems = [entry for entry in problems if not entry.path.startswith("status")]
    if type_ is VMI:
        # virt-api's webhooks look at the rest, before the schema of its CRD is asked.
        problems = [entry for entry in problems if entry.path.startswith("metadata")]
    if problems:
        name = found.value.get("metadata", {}).get("name") or ""
        causes = [entry.cause() for entry in problems]
        raise errors.invalid(type_.kind, type_.group, name, causes)
