"""HTTP requests for what is no part of an object: logs, exec, consoles, evictions, reviews."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from clusters.reference.apiserver import errors
from clusters.reference.apiserver.authorization import Attributes, Authorizer
from clusters.reference.apiserver.backends import PodAccess
from clusters.reference.apiserver.containers import container_of, has_ended, not_started
from clusters.reference.apiserver.discovery import REVIEWS
from clusters.reference.apiserver.operations import Operations
from clusters.reference.apiserver.requests import (
    body_of,
    delete_options,
    flag,
    integer,
    target_of,
)
from clusters.reference.apiserver.resources import VMI, ResourceType
from clusters.reference.apiserver.responses import answer
from clusters.reference.apiserver.store import Store
from clusters.reference.apiserver.streams import (
    STREAMING,
    Streams,
    check_upgrade,
    growing,
    serve_console,
    serve_exec,
    tail,
)
from clusters.reference.apiserver.target import Target
from clusters.reference.machine import NodeError

Object = dict[str, Any]
Answer = web.StreamResponse
USER = web.RequestKey("user", str)
"""Under which a request has who asks."""


class Subresources:
    """Answers for the subresources of pods, nodes and VMIs."""

    def __init__(
        self,
        store: Store,
        types: Sequence[ResourceType],
        operations: Operations,
        pods: PodAccess,
        authorizer: Authorizer,
    ) -> None:
        self._store = store
        self._types = types
        self._operations = operations
        self._pods = pods
        self._authorizer = authorizer

    async def handle(self, request: web.Request, target: Target) -> Answer:
        """One request for a subresource. Raises StatusError."""
        allowed: dict[str, dict[str, Callable[[web.Request, Target], Awaitable[Answer]]]] = {
            "log": {"GET": self._log},
            "exec": {"GET": self._exec, "POST": self._exec},
            "binding": {"POST": self._bind},
            "eviction": {"POST": self._evict},
            "proxy": {"GET": self._proxy},
            "token": {"POST": self._token},
        }
        handler = allowed[target.subresource].get(request.method)
        if handler is None:
            raise errors.method_not_allowed()
        return await handler(request, target)

    async def _bind(self, request: web.Request, target: Target) -> Answer:
        self._operations.bind(target, await body_of(request))
        return answer(_success(), status=201)

    async def _evict(self, request: web.Request, target: Target) -> Answer:
        body = await body_of(request)
        options = (body or {}).get("deleteOptions") if isinstance(body, dict) else None
        self._operations.delete(target, delete_options(request, options))
        return answer(_success(), status=201)

    async def _token(self, request: web.Request, target: Target) -> Answer:
        """A token that never expires."""
        self._operations.get(target)
        body = await body_of(request)
        token = self._authorizer.token_of(target.namespace, target.name)
        shown = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
        spec = (body or {}).get("spec") or {}
        return answer({**shown, "spec": spec, "status": {"token": token}}, status=201)

    async def _proxy(self, _: web.Request, target: Target) -> Answer:
        self._operations.get(target)
        if target.rest == "healthz":
            return web.Response(text="ok")
        if target.rest != "configz":
            raise errors.no_such_resource()
        try:
            config = self._pods.node_config(target.name)
        except KeyError:
            message = f"error trying to reach the kubelet of node {target.name}"
            raise errors.StatusError(503, "ServiceUnavailable", message) from None
        return answer({"kubeletconfig": config})

    async def _log(self, request: web.Request, target: Target) -> Answer:
        pod = self._operations.get(target)
        container = container_of(pod, request.query.get("container", ""))
        if flag(request, "previous"):
            raise errors.bad_request(
                f'previous terminated container "{container}" in pod "{target.name}" not found'
            )

        async def read() -> str:
            return await self._pods.log(target.namespace, target.name, container)

        try:
            so_far = await read()
        except KeyError:
            raise not_started(pod, container) from None
        except NodeError as error:
            raise errors.StatusError(500, "InternalError", str(error)) from error
        shown = tail(so_far, integer(request, "tailLines"))
        limit = integer(request, "limitBytes")
        data = shown.encode()[:limit] if limit is not None else shown.encode()
        if not flag(request, "follow"):
            return web.Response(body=data, content_type="text/plain")
        response = web.StreamResponse()
        response.content_type = "text/plain"
        response.enable_chunked_encoding()
        request[STREAMING] = True
        await response.prepare(request)
        if data:
            await response.write(data)

        def is_over() -> bool:
            now = self._store.find(target.type, target.name, target.namespace)
            return now is None or has_ended(now, container)

        skipped = len(so_far)
        async for text in growing(read, is_over):
            new = text[skipped:]
            skipped = max(skipped - len(text), 0)
            if new:
                await response.write(new.encode())
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request, target: Target) -> Answer:
        query = request.query
        pod = self._operations.get(target)
        container = container_of(pod, query.get("container", ""))
        check_upgrade(request)
        command = query.getall("command", [])
        if not command:
            raise errors.bad_request("you must specify at least 1 command for the container")
        phase = pod.get("status", {}).get("phase")
        if phase in {"Succeeded", "Failed"}:
            raise errors.bad_request(
                f"cannot exec into a container in a completed pod; current phase is {phase}"
            )
        tty = flag(request, "tty")
        streams = Streams(flag(request, "stdin"), flag(request, "stdout"), flag(request, "stderr"))
        try:
            session = await self._pods.execute(
                target.namespace, target.name, container, command, tty=tty
            )
        except KeyError:
            message = f'unable to upgrade connection: container not found ("{container}")'
            raise errors.StatusError(500, "InternalError", message) from None
        except NodeError as error:
            raise errors.StatusError(500, "InternalError", str(error)) from error
        return await serve_exec(request, session, streams)

    async def console(self, request: web.Request, version: str, path: str) -> Answer:
        """The console of a VMI, which has a group of its own. Raises StatusError."""
        base, _, subresource = path.strip("/").rpartition("/")
        target = target_of(VMI.group, version, base, self._types)
        if subresource != "console" or target.type.kind != VMI.kind or not target.name:
            raise errors.no_such_resource()
        vmi = self._operations.get(target)
        check_upgrade(request)
        if vmi.get("status", {}).get("phase") != "Running":
            raise errors.conflict(target.type, target.name, "VMI is not in running state")

        async def read() -> str:
            return await self._pods.console(target.namespace, target.name)

        def is_over() -> bool:
            now = self._store.find(target.type, target.name, target.namespace)
            return now is None or now.get("status", {}).get("phase") != "Running"

        return await serve_console(request, read, is_over)

    async def review(self, request: web.Request, path: str) -> Answer:
        """What whoever asks may do, which of everything only the administrator may."""
        kinds = {review.plural: review for review in REVIEWS}
        review = kinds.get(path.strip("/"))
        if review is None:
            raise errors.no_such_resource()
        if request.method != "POST":
            raise errors.method_not_allowed()
        body = await body_of(request)
        if not isinstance(body, dict):
            raise errors.bad_request(f"the body must be a {review.kind}")
        if review.kind == "SelfSubjectAccessReview":
            asked = (body.get("spec") or {}).get("resourceAttributes") or {}
            resource = "/".join(filter(None, map(asked.get, ("resource", "subresource"))))
            wanted = Attributes(
                asked.get("verb", ""),
                asked.get("group", ""),
                resource,
                asked.get("namespace", ""),
                asked.get("name", ""),
            )
            status: Object = {"allowed": self._authorizer.allows(request[USER], wanted)}
        else:
            namespace = (body.get("spec") or {}).get("namespace", "")
            status = {
                "resourceRules": list(self._authorizer.rules(request[USER], namespace)),
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": False,
            }
        shown = {"kind": review.kind, "apiVersion": f"{review.group}/v1", "metadata": {}}
        return answer({**shown, "spec": body.get("spec") or {}, "status": status}, status=201)


def _success() -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
