"""The four kinds of PATCH, by media type."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch

from clusters.reference.apiserver.apply_patch import apply_patch
from clusters.reference.apiserver.errors import StatusError, bad_request, unsupported_media_type
from clusters.reference.apiserver.schema import Schema
from clusters.reference.apiserver.strategic_merge import strategic_merge

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def media_types(*, builtin: bool) -> tuple[str, ...]:
    """What a resource can be patched with; custom resources have no strategic merge."""
    if builtin:
        return (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
    return (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)


def patched(
    media_type: str,
    original: Object,
    patch: Any,
    *,
    schema: Schema,
    builtin: bool,
    manager: str = "",
) -> Object:
    """The object after the patch; the given ones are not changed.

    Args:
        media_type: content type of the request.
        original: the object in the version that the patch speaks of.
        patch: the decoded body.
        schema: of the object.
        builtin: whether the type is built in.
        manager: field manager of a server-side apply.

    Raises:
        StatusError: 415 for a media type that the resource does not take, 400 for a body
            that is no such patch, 422 for a JSON patch that does not apply.
    """
    accepted = media_types(builtin=builtin)
    if media_type not in accepted:
        raise unsupported_media_type(accepted)
    original = copy.deepcopy(original)
    if media_type == JSON_PATCH:
        return _json_patched(original, patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: the patch must be an object")
    if media_type == MERGE_PATCH:
        merged: Object = _merged(original, patch)
        return merged
    if media_type == STRATEGIC_MERGE_PATCH:
        return strategic_merge(original, patch, schema)
    return apply_patch(original, patch, schema, manager)


def _json_patched(original: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: a JSON patch must be a list of operations")
    try:
        result: Object = jsonpatch.JsonPatch(patch).apply(original)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"error decoding patch: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        message = "the server rejected our request due to an error in our request"
        cause = {"reason": "FieldValueInvalid", "message": str(error), "field": "patch"}
        details: Object = {"causes": [cause]}
        raise StatusError(422, "Invalid", message, details=details) from error
    return result


def _merged(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, entry in patch.items():
        if entry is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), entry)
    return result
