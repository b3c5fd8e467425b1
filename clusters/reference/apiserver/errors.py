"""Refusals in the words of the Kubernetes API (apimachinery/pkg/api/errors)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clusters.reference.apiserver.backends import Cause, InvalidError
from clusters.reference.apiserver.resources import ResourceType

Object = dict[str, Any]


class StatusError(Exception):
    """A request is answered with a Status of failure.

    Attributes:
        code: HTTP status code.
        reason: machine-readable reason, such as ``NotFound``.
    """

    def __init__(
        self, code: int, reason: str, message: str, *, details: Object | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Object:
        """The Status object that is the body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            **({"details": self.details} if self.details or self.reason else {}),
            "code": self.code,
        }


def qualified(type_: ResourceType) -> str:
    """``pods``, ``virtualmachineinstances.kubevirt.io``: as messages name a resource."""
    return f"{type_.plural}.{type_.group}" if type_.group else type_.plural


def _details(type_: ResourceType, name: str) -> Object:
    details = {"name": name, "group": type_.group, "kind": type_.plural}
    return {key: value for key, value in details.items() if value}


def not_found(type_: ResourceType, name: str) -> StatusError:
    """404: there is no such object."""
    message = f'{qualified(type_)} "{name}" not found'
    return StatusError(404, "NotFound", message, details=_details(type_, name))


def no_such_resource() -> StatusError:
    """404: the path means nothing here."""
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message)


def already_exists(type_: ResourceType, name: str) -> StatusError:
    """409: the name is taken."""
    message = f'{qualified(type_)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details=_details(type_, name))


def conflict(type_: ResourceType, name: str, why: str) -> StatusError:
    """409: somebody else was quicker."""
    message = f'Operation cannot be fulfilled on {qualified(type_)} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=_details(type_, name))


def forbidden(type_: ResourceType, name: str, why: str) -> StatusError:
    """403: understood and not allowed."""
    message = f'{qualified(type_)} "{name}" is forbidden: {why}'
    return StatusError(403, "Forbidden", message, details=_details(type_, name))


def bad_request(message: str) -> StatusError:
    """400: the request itself is wrong."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no token, or a wrong one."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> StatusError:
    """405: the resource does not do that."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415: the body is in a format that is not read."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return StatusError(415, "UnsupportedMediaType", message)


def expired(message: str) -> StatusError:
    """410: the version to start from is gone; list again."""
    return StatusError(410, "Expired", message)


def too_large_version(asked: int, current: int) -> StatusError:
    """504: the asked version has not happened yet."""
    message = f"Too large resource version: {asked}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(504, "Timeout", message, details={"causes": [cause], "retryAfterSeconds": 1})


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422: the object breaks a rule of its type; the message is made of the causes."""
    details: Object = {"name": name, "group": group, "kind": kind}
    details = {key: value for key, value in details.items() if value}
    message = invalid_message(kind, group, name, causes)
    return StatusError(422, "Invalid", message, details=details | _causes(causes))


def invalid_message(kind: str, group: str, name: str, causes: Sequence[Cause]) -> str:
    """What the API server says of an object that breaks rules of its type."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    said = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    subject = f"{kind}.{group}" if group else kind
    return f'{subject} "{name}" is invalid: {said}'


def refused(kind: str, group: str, name: str, error: InvalidError) -> StatusError:
    """What admission has refused, in the form of the webhook's answer or of the API server's."""
    named = {"name": name, "group": group, "kind": kind} if error.named else {}
    reason = "Invalid" if error.code == 422 else ""
    details = named | _causes(error.causes)
    return StatusError(error.code, reason, error.message, details=details)


def _causes(causes: Sequence[Cause]) -> Object:
    shown = [
        {
            key: value
            for key, value in (
                ("reason", cause.reason),
                ("message", cause.message),
                ("field", cause.field),
            )
            if value
        }
        for cause in causes
    ]
    return {"causes": shown} if shown else {}
