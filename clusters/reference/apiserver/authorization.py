"""Who asks, and whether RBAC lets them: service accounts beside the administrator.

As kubernetes plugin/pkg/auth/authorizer/rbac and apiserver pkg/endpoints/request/requestinfo.go.
Whoever has the administrator's token may do everything. Aggregated roles and groups of users are
not known.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clusters.reference.apiserver.errors import StatusError
from clusters.reference.apiserver.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
)
from clusters.reference.apiserver.store import Object, Store

ADMINISTRATOR = "system:admin"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_BY_NAME = "metadata.name="


@dataclass(frozen=True)
class Attributes:
    """What a request wants, in the words of RBAC.

    Attributes:
        resource: with its subresource, such as ``pods/exec``.
        namespace: empty for all of them, and for what has none.
        name: empty where the request names no object.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


class Authorizer:
    """Tokens of service accounts, and what roles grant to them.

    Attributes:
        token: the administrator's.
    """

    def __init__(self, store: Store) -> None:
        self.token = secrets.token_urlsafe(32)
        self._store = store
        self._users: dict[str, str] = {}

    def token_of(self, namespace: str, service_account: str) -> str:
        """A new token of a service account."""
        token = secrets.token_urlsafe(32)
        self._users[token] = f"system:serviceaccount:{namespace}:{service_account}"
        return token

    def user(self, token: str) -> str | None:
        """Whose token it is; None for nobody's."""
        if hmac.compare_digest(token.encode(), self.token.encode()):
            return ADMINISTRATOR
        return self._users.get(token)

    def require(self, user: str, wanted: Attributes) -> None:
        """Raises StatusError 403 when a user may not do it."""
        if self.allows(user, wanted):
            return
        where = f' in the namespace "{wanted.namespace}"' if wanted.namespace else (
            " at the cluster scope"
        )  # fmt: skip
        plural, _, _ = wanted.resource.partition("/")
        subject = f"{plural}.{wanted.group}" if wanted.group else plural
        named = f' "{wanted.name}"' if wanted.name else ""
        message = (
            f'{subject}{named} is forbidden: User "{user}" cannot {wanted.verb} resource '
            f'"{wanted.resource}" in API group "{wanted.group}"{where}'
        )
        details = {"name": wanted.name, "group": wanted.group, "kind": plural}
        shown = {key: value for key, value in details.items() if value}
        raise StatusError(403, "Forbidden", message, details=shown)

    def allows(self, user: str, wanted: Attributes) -> bool:
        """Whether a user may do it."""
        return any(_covers(rule, wanted) for rule in self.rules(user, wanted.namespace))

    def rules(self, user: str, namespace: str) -> Iterator[Mapping[str, Sequence[str]]]:
        """What a user may do in a namespace, and everywhere."""
        if user == ADMINISTRATOR:
            yield {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            return
        bindings = list(self._store.stored(CLUSTER_ROLE_BINDING))
        if namespace:
            bindings += self._store.stored(ROLE_BINDING, namespace)
        for binding in bindings:
            if any(_is(subject, user) for subject in binding.get("subjects") or ()):
                reference = binding["roleRef"]
                role = (
                    self._store.find(ROLE, reference["name"], namespace)
                    if reference["kind"] == ROLE.kind
                    else self._store.find(CLUSTER_ROLE, reference["name"])
                )
                yield from (role or {}).get("rules") or ()


def attributes(method: str, path: str, query: Mapping[str, str]) -> Attributes | None:
    """What a request of a resource wants; None for anything else, such as discovery."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, parts = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, parts = parts[1], parts[3:]
    else:
        return None
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        parts = parts[2:] if len(parts) > 2 else parts
    resource, name, subresource = [*parts, "", ""][:3]
    selected = query.get("fieldSelector", "")
    if not name and selected.startswith(_BY_NAME) and "," not in selected:
        name = selected.removeprefix(_BY_NAME)
        verb = {"GET": "list", "DELETE": "deletecollection"}.get(method) or _VERBS[method]
    elif name:
        verb = {"GET": "get", "DELETE": "delete"}.get(method) or _VERBS[method]
    else:
        verb = {"GET": "list", "DELETE": "deletecollection"}.get(method) or _VERBS[method]
    if verb == "list" and query.get("watch", "false").lower() not in {"false", "0"}:
        verb = "watch"
    return Attributes(
        verb, group, f"{resource}/{subresource}" if subresource else resource, namespace, name
    )


def _is(subject: Object, user: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        named = f"system:serviceaccount:{subject.get('namespace', '')}:{subject['name']}"
        return named == user
    return bool(subject["kind"] == "User" and subject["name"] == user)


def _covers(rule: Mapping[str, Sequence[str]], wanted: Attributes) -> bool:
    names = rule.get("resourceNames") or ()
    return bool(
        _has(rule.get("verbs"), wanted.verb)
        and _has(rule.get("apiGroups"), wanted.group)
        and _has(rule.get("resources"), wanted.resource)
        and (not names or wanted.name in names)
    )


def _has(values: Sequence[str] | None, value: str) -> bool:
    return bool({"*", value} & set(values or ()))
