"""RBAC: what a service account may do, and what it is told of that."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.reference.apiserver.authorization import ADMINISTRATOR, Attributes, Authorizer
from clusters.reference.apiserver.authorization import attributes as named
from clusters.reference.apiserver.errors import StatusError
from clusters.reference.apiserver.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    ResourceType,
)
from clusters.reference.apiserver.store import Store

SUBJECT = {"kind": "ServiceAccount", "name": "reader", "namespace": "here"}
USER = "system:serviceaccount:here:reader"


def rule(*verbs: str, resources: str = "pods", group: str = "", **more: Any) -> dict[str, Any]:
    return {"verbs": list(verbs), "apiGroups": [group], "resources": [resources], **more}


@pytest.fixture
def store() -> Store:
    store = Store()

    def grant(role: ResourceType, binding: ResourceType, namespace: str, *rules: Any) -> None:
        metadata = {"name": "r", **({"namespace": namespace} if namespace else {})}
        store.create(role, {"metadata": dict(metadata), "rules": list(rules)})
        reference = {"kind": role.kind, "name": "r"}
        store.create(
            binding, {"metadata": dict(metadata), "roleRef": reference, "subjects": [SUBJECT]}
        )

    grant(
        CLUSTER_ROLE,
        CLUSTER_ROLE_BINDING,
        "",
        rule("list"),
        rule("get", "list", resources="leases", group="coordination.k8s.io", resourceNames=["own"]),
    )
    grant(ROLE, ROLE_BINDING, "here", rule("*", resources="pods/exec"))
    return store


LEASES = "/apis/coordination.k8s.io/v1"


@pytest.mark.parametrize(
    ("method", "path", "query", "allowed"),
    [
        ("GET", "/api/v1/pods", {}, True),
        ("GET", "/api/v1/namespaces/any/pods", {}, True),
        ("GET", "/api/v1/namespaces/any/pods", {"watch": "true"}, False),
        ("GET", "/api/v1/namespaces/any/pods/p", {}, False),
        ("DELETE", "/api/v1/namespaces/any/pods", {}, False),
        ("GET", "/api/v1/namespaces/here/pods/p/exec", {}, True),
        ("GET", "/api/v1/namespaces/any/pods/p/exec", {}, False),
        ("GET", f"{LEASES}/leases", {}, False),
        ("GET", f"{LEASES}/leases", {"fieldSelector": "metadata.name=own"}, True),
        ("GET", f"{LEASES}/leases", {"fieldSelector": "metadata.name=other"}, False),
        ("GET", f"{LEASES}/namespaces/any/leases/own", {}, True),
        ("PATCH", f"{LEASES}/namespaces/any/leases/own", {}, False),
        ("GET", "/api/v1/namespaces", {}, False),
        ("POST", "/api/v1/namespaces", {}, False),
    ],
)
def test_a_service_account_may_what_its_roles_say(
    store: Store, method: str, path: str, query: dict[str, str], *, allowed: bool
) -> None:
    wanted = named(method, path, query)
    assert wanted is not None
    authorizer = Authorizer(store)
    assert authorizer.allows(USER, wanted) is allowed
    assert authorizer.allows(ADMINISTRATOR, wanted)
    assert not authorizer.allows("system:serviceaccount:there:reader", wanted)


def test_a_refusal_says_who_may_not_do_what(store: Store) -> None:
    with pytest.raises(StatusError) as caught:
        Authorizer(store).require(USER, Attributes("delete", "", "pods", "any", "p"))
    assert caught.value.code == 403
    assert str(caught.value) == (
        f'pods "p" is forbidden: User "{USER}" cannot delete resource "pods" in API group "" in '
        'the namespace "any"'
    )


def test_a_token_is_its_owners_alone(store: Store) -> None:
    authorizer = Authorizer(store)
    token = authorizer.token_of("here", "reader")
    assert authorizer.user(token) == USER
    assert authorizer.user(authorizer.token) == ADMINISTRATOR
    assert authorizer.user("another") is None


def test_what_is_no_resource_has_no_rights() -> None:
    assert named("GET", "/apis/kubevirt.io/v1", {}) is None
    assert named("GET", "/api", {}) is None
