"""Kubernetes protobuf, as far as kubectl sends it.

kubectl's own typed calls (``create namespace``, ``create configmap``, ``auth can-i``,
``drain``) come as ``application/vnd.kubernetes.protobuf``, whatever the server would like
better; manifests come as JSON. Field numbers are those of the ``generated.proto`` files of
k8s.io/api and k8s.io/apimachinery.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clusters.reference.apiserver.errors import bad_request

Object = dict[str, Any]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

Scalar = Literal["string", "bytes", "int", "bool"]


@dataclass(frozen=True)
class _Field:
    name: str
    type: Scalar | _Message = "string"
    repeated: bool = False
    is_map: bool = False


@dataclass(frozen=True)
class _Message:
    fields: Mapping[int, _Field] = field(default_factory=dict)


def _map(name: str, type_: Scalar = "string") -> _Field:
    return _Field(name, type_, is_map=True)


_OWNER = _Message(
    {
        1: _Field("kind"),
        3: _Field("name"),
        4: _Field("uid"),
        5: _Field("apiVersion"),
        6: _Field("controller", "bool"),
        7: _Field("blockOwnerDeletion", "bool"),
    }
)
_METADATA = _Field(
    "metadata",
    _Message(
        {
            1: _Field("name"),
            2: _Field("generateName"),
            3: _Field("namespace"),
            5: _Field("uid"),
            6: _Field("resourceVersion"),
            11: _map("labels"),
            12: _map("annotations"),
            13: _Field("ownerReferences", _OWNER, repeated=True),
            14: _Field("finalizers", repeated=True),
        }
    ),
)
_DELETE_OPTIONS = _Message(
    {
        1: _Field("gracePeriodSeconds", "int"),
        2: _Field("preconditions", _Message({1: _Field("uid"), 2: _Field("resourceVersion")})),
        3: _Field("orphanDependents", "bool"),
        4: _Field("propagationPolicy"),
        5: _Field("dryRun", repeated=True),
    }
)
_RESOURCE_ATTRIBUTES = _Message(
    dict(
        enumerate(
            map(
                _Field,
                ("namespace", "verb", "group", "version", "resource", "subresource", "name"),
            ),
            start=1,
        )
    )
)
_ACCESS = _Message(
    {
        1: _Field("resourceAttributes", _RESOURCE_ATTRIBUTES),
        2: _Field("nonResourceAttributes", _Message({1: _Field("path"), 2: _Field("verb")})),
    }
)
_REFERENCE = _Message({3: _Field("name")})

_KINDS = {
    "Namespace": _Message({1: _METADATA}),
    "ConfigMap": _Message(
        {
            1: _METADATA,
            2: _map("data"),
            3: _map("binaryData", "bytes"),
            4: _Field("immutable", "bool"),
        }
    ),
    "Secret": _Message(
        {
            1: _METADATA,
            2: _map("data", "bytes"),
            3: _Field("type"),
            4: _map("stringData"),
            5: _Field("immutable", "bool"),
        }
    ),
    "ServiceAccount": _Message({1: _METADATA, 2: _Field("secrets", _REFERENCE, repeated=True)}),
    "SelfSubjectAccessReview": _Message({1: _METADATA, 2: _Field("spec", _ACCESS)}),
    "SelfSubjectRulesReview": _Message(
        {1: _METADATA, 2: _Field("spec", _Message({1: _Field("namespace")}))}
    ),
    "DeleteOptions": _DELETE_OPTIONS,
    "Eviction": _Message({1: _METADATA, 2: _Field("deleteOptions", _DELETE_OPTIONS)}),
}

_ENVELOPE = _Message(
    {
        1: _Field("type", _Message({1: _Field("apiVersion"), 2: _Field("kind")})),
        2: _Field("raw", "bytes"),
    }
)


def decode(data: bytes) -> Object | None:
    """The object of a body; None when its kind is not among those that are known here.

    Raises StatusError 400 for a body that is no protobuf of Kubernetes.
    """
    if not data.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message")
    try:
        envelope = _decode(data[len(_MAGIC) :], _ENVELOPE)
        type_ = envelope.get("type", {})
        message = _KINDS.get(type_.get("kind", ""))
        if message is None:
            return None
        return {**type_, **_decode(base64.b64decode(envelope.get("raw", "")), message)}
    except (IndexError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is a broken protobuf message: {error}") from error


def _decode(data: bytes, message: _Message) -> Object:
    result: Object = {}
    for number, raw in _fields(data):
        known = message.fields.get(number)
        if known is None:
            continue
        if known.is_map:
            entry = _decode(raw, _Message({1: _Field("key"), 2: _Field("value", known.type)}))
            result.setdefault(known.name, {})[entry.get("key", "")] = entry.get("value", "")
        elif known.repeated:
            result.setdefault(known.name, []).append(_value(raw, known.type))
        else:
            result[known.name] = _value(raw, known.type)
    # Go writes empty strings for what is not set.
    return {key: value for key, value in result.items() if value != ""}


def _value(raw: Any, type_: Scalar | _Message) -> Any:
    if isinstance(type_, _Message):
        return _decode(raw, type_)
    if type_ == "string":
        return raw.decode()
    if type_ == "bytes":
        return base64.b64encode(raw).decode()
    return bool(raw) if type_ == "bool" else raw


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values: integers, or bytes for everything with a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise IndexError("it ends in the middle of a field")
                yield tag >> 3, data[at : at + length]
                at += length
            case 1 | 5 as wire:
                at += 8 if wire == 1 else 4
            case wire:
                raise IndexError(f"wire type {wire} is unknown")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
