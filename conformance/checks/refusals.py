"""Whose refusal it is, and of what: a refusal that is not KubeVirt's proves nothing about KubeVirt.

Sources: kubernetes apiserver (admission/plugin/webhook/errors, plugin/policy, resourcequota,
limitranger, security/podsecurity, registry/rest), kubevirt pkg/util/webhooks and
pkg/virt-operator/resource/generate/components/webhooks.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from conformance.model.evidence import Rejection

CONTENT = (400, 422)
"""Codes of a refusal for what is in the object: 422, or 400 where it cannot even be read."""

_WEBHOOK = re.compile(r'admission webhook "(?P<name>[^"]*)" denied the request')
_OWN_WEBHOOK = re.compile(r"virtualmachine[a-z]*-[a-z-]+\.kubevirt\.io")
_OWN_SCHEMA = re.compile(
    r"VirtualMachine[A-Za-z]*\.kubevirt\.io \"[^\"]*\" is invalid"
    r"|VirtualMachine[A-Za-z]* in version \"[^\"]*\" cannot be handled as a VirtualMachine"
)
_OTHERS = (
    (re.compile(r"(?:Validating|Mutating)AdmissionPolicy '[^']*'"), "{}"),
    (re.compile(r"failed calling webhook \"[^\"]*\""), "the API server ({})"),
    (re.compile(r"exceeded quota: [^,]*|failed quota: [^:]*"), "a ResourceQuota ({})"),
    (
        re.compile(
            r"(?:maximum|minimum) \S+ usage per \w+ is [^,]*"
            r"|\S+ max limit to request ratio per \w+ is [^,]*"
        ),
        "a LimitRange ({})",
    ),
    (re.compile(r"violates PodSecurity \S*"), "the namespace's PodSecurity ({})"),
    (re.compile(r"is being terminated"), "the namespace, which {}"),
    (
        re.compile(r"User \"[^\"]*\" cannot \w+ resource|cannot create resource"),
        "RBAC ({})",
    ),
)
_CODES = {
    401: "the API server, which knows no such user",
    403: "somebody who forbids it, not KubeVirt's admission",
    404: "the API server, which serves no such version or namespace",
    408: "the API server, which ran out of time",
    409: "the API server, which has such an object already",
    413: "the API server, for the size of the request",
    429: "the API server, which is asked too much",
}

_PATH = re.compile(
    r"(?<![\w./])(?:(?:spec|metadata|status)(?:\.[A-Za-z0-9_-]+|\[\d+\])+|spec(?= in body))"
)
_GO_FIELD = re.compile(r"Go struct field \w+\.(?P<path>[A-Za-z0-9_.]+) of type")
_OPENAPI_INDEX = re.compile(r"\.(\d+)(?=\.|$)")
_TEMPLATE = re.compile(r"^(?:spec\.virtualMachineTemplate\.)?spec\.template\.")
"""What the fields of a VMI are below in what makes it."""
_NO_FIELD = ("", "<nil>")


def somebody_else(refused: Rejection) -> str | None:
    """Who refused it, unless KubeVirt did: its webhooks, or the schema of its CRDs."""
    webhook = _WEBHOOK.search(refused.message)
    if webhook is not None and not _OWN_WEBHOOK.fullmatch(webhook["name"]):
        return f"the webhook {webhook['name']}"
    if webhook is None:
        for sign, words in _OTHERS:
            if found := sign.search(refused.message):
                return words.format(found[0])
    if webhook is not None and refused.code not in CONTENT:
        return f"KubeVirt, for something else than the content ({refused.code} {refused.reason})"
    if refused.code not in CONTENT:
        default = "the API server, which could not answer" if refused.code >= 500 else "nobody"
        return _CODES.get(refused.code, f"{default} ({refused.code} {refused.reason})")
    if webhook is not None or _OWN_SCHEMA.search(refused.message):
        return None
    return "nobody who gives a name"


def fields(refused: Rejection) -> dict[str, None]:
    """The fields that causes name, by their field or, where they have none, in their message.

    In order; those of a template as if they were the VMI's own. Kubernetes writes ``<nil>`` for a
    field that it does not know.
    """
    return dict.fromkeys(
        own(path)
        for field, message in refused.causes
        for path in (_paths(message) if field in _NO_FIELD else (field,))
    )


def unread_fields(refused: Rejection) -> dict[str, None]:
    """The fields that the message of a refusal without causes names: it could not be read."""
    if refused.causes:
        return {}
    decoded = (match["path"] for match in _GO_FIELD.finditer(refused.message))
    named = (
        path if path.startswith(("spec.", "metadata.")) else f"spec.{path}" for path in decoded
    )
    return dict.fromkeys(map(own, (*named, *_paths(refused.message))))


def unread_quantity(refused: Rejection) -> bool:
    """Whether it was refused for a quantity that cannot be read; which, nobody says."""
    return not refused.causes and "quantit" in refused.message


def about_an_instance_type(refused: Rejection) -> bool:
    """Whether it does not agree with an instance type or preference, which the promise ignores."""
    return re.search(r"instance ?type|preference", refused.message, re.IGNORECASE) is not None


def _paths(message: str) -> Iterator[str]:
    return (match[0] for match in _PATH.finditer(message))


def own(path: str) -> str:
    """A path as a VMI has it; go-openapi writes ``disks.0`` for ``disks[0]``."""
    return _OPENAPI_INDEX.sub(r"[\1]", _TEMPLATE.sub("", path))
