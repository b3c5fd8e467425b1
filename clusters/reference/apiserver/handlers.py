"""HTTP requests for objects and collections of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from clusters.reference.apiserver import errors
from clusters.reference.apiserver.authorization import Authorizer
from clusters.reference.apiserver.backends import Admission, Cause, PodAccess
from clusters.reference.apiserver.discovery import CONSOLE_GROUP, REVIEWS
from clusters.reference.apiserver.operations import Operations
from clusters.reference.apiserver.requests import (
    body_of,
    delete_options,
    flag,
    integer,
    patch_of,
    target_of,
    write_options,
)
from clusters.reference.apiserver.resources import ResourceType
from clusters.reference.apiserver.responses import Accepted, accepted, answer, encode
from clusters.reference.apiserver.selectors import Predicate, field_selector, label_selector
from clusters.reference.apiserver.store import Store
from clusters.reference.apiserver.streams import (
    STREAMING,
)
from clusters.reference.apiserver.subresources import Subresources
from clusters.reference.apiserver.tables import Include, table
from clusters.reference.apiserver.target import Target
from clusters.reference.apiserver.watching import LONGEST_WATCH_SECONDS, Watch, events

Object = dict[str, Any]
Answer = web.StreamResponse

_RETURNED_WHEN_DELETED = {"Pod", "ServiceAccount"}
"""Kinds whose deletion answers with the object even when it has gone, as upstream's
OpenAPI document promises; the others answer with a Status."""


class ResourceHandler:
    """Answers everything below ``/api/v1`` and ``/apis/GROUP/VERSION``."""

    def __init__(
        self,
        store: Store,
        types: Sequence[ResourceType],
        admission: Admission,
        pods: PodAccess,
        authorizer: Authorizer,
    ) -> None:
        self._store = store
        self._types = types
        self._operations = Operations(store, admission)
        self._subresources = Subresources(store, types, self._operations, pods, authorizer)

    async def handle(self, request: web.Request) -> Answer:
        """One request. Raises StatusError."""
        group = request.match_info.get("group", "")
        version = request.match_info.get("version", "v1")
        path = request.match_info["path"]
        if group == REVIEWS[0].group:
            return await self._subresources.review(request, path)
        if group == CONSOLE_GROUP:
            return await self._subresources.console(request, version, path)
        target = target_of(group, version, path, self._types)
        if target.subresource and target.subresource != "status":
            return await self._subresources.handle(request, target)
        verbs: dict[str, Callable[[web.Request, Target], Awaitable[Answer]]]
        if target.name:
            verbs = {"GET": self._get, "PUT": self._update, "PATCH": self._patch}
            if not target.subresource:
                verbs["DELETE"] = self._delete
        else:
            verbs = {"GET": self._list_or_watch, "DELETE": self._delete_collection}
            if not target.type.namespaced or target.namespace:
                verbs["POST"] = self._create
        if request.method not in verbs:
            raise errors.method_not_allowed()
        return await verbs[request.method](request, target)

    # Objects and collections.

    async def _get(self, request: web.Request, target: Target) -> Answer:
        how = _accepted(request)
        return answer(_shaped(request, target, self._operations.get(target), how), how)

    async def _create(self, request: web.Request, target: Target) -> Answer:
        how = _accepted(request)
        body = await body_of(request)
        options = write_options(request, "Create")
        obj = self._operations.create(target, body, options)
        shaped = _shaped(request, target, obj, how)
        return answer(shaped, how, status=201, warnings=options.warnings)

    async def _update(self, request: web.Request, target: Target) -> Answer:
        how = _accepted(request)
        body = await body_of(request)
        options = write_options(request, "Update")
        obj = self._operations.update(target, body, options)
        return answer(_shaped(request, target, obj, how), how, warnings=options.warnings)

    async def _patch(self, request: web.Request, target: Target) -> Answer:
        how = _accepted(request)
        body = await patch_of(request)
        options = write_options(request, "Patch")
        if request.content_type.startswith("application/apply-patch"):
            manager = request.query.get("fieldManager")
            if not manager:
                cause = Cause(
                    "FieldValueRequired",
                    "Required value: is required for apply patch",
                    "fieldManager",
                )
                raise errors.invalid("PatchOptions", "meta.k8s.io", "", [cause])
        obj, created = self._operations.patch(target, request.content_type, body, options)
        shaped = _shaped(request, target, obj, how)
        status = 201 if created else 200
        return answer(shaped, how, status=status, warnings=options.warnings)

    async def _delete(self, request: web.Request, target: Target) -> Answer:
        how = accepted(request.headers.get("Accept", ""))
        options = delete_options(request, await body_of(request))
        obj, gone = self._operations.delete(target, options)
        says_so = gone and target.type.kind not in _RETURNED_WHEN_DELETED
        return answer(_deleted(target, obj) if says_so else obj, how)

    async def _delete_collection(self, request: web.Request, target: Target) -> Answer:
        how = accepted(request.headers.get("Accept", ""))
        options = delete_options(request, await body_of(request))
        doomed = self._operations.list(target, _selection(request, target))
        for obj in doomed:
            metadata = obj["metadata"]
            one = Target(
                target.type, target.version, metadata.get("namespace") or "", metadata["name"]
            )
            self._operations.delete(one, options)
        return answer(self._list(target, doomed), how)

    async def _list_or_watch(self, request: web.Request, target: Target) -> Answer:
        matches = _selection(request, target)
        version = self._asked_version(request)
        if flag(request, "watch"):
            return await self._watch(request, target, matches, version)
        how = _accepted(request)
        objects = self._operations.list(target, matches)
        if how.form == "Table":
            metadata = {"resourceVersion": str(self._store.version)}
            kind = target.type.kind
            return answer(table(kind, objects, metadata=metadata, include=_include(request)), how)
        return answer(self._list(target, objects), how)

    def _list(self, target: Target, objects: list[Object]) -> Object:
        return {
            "kind": f"{target.type.kind}List",
            "apiVersion": target.api_version,
            "metadata": {"resourceVersion": str(self._store.version)},
            "items": objects,
        }

    def _asked_version(self, request: web.Request) -> int | None:
        """The resourceVersion of a list or watch; None for "" and 0: whatever there is."""
        text = request.query.get("resourceVersion", "")
        match = request.query.get("resourceVersionMatch", "")
        allowed = ("Exact", "NotOlderThan")
        why = ""
        if match and not text and not flag(request, "sendInitialEvents"):
            why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        elif match and match not in allowed:
            why = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
        elif match == "Exact" and text == "0":
            why = 'Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
        if why:
            cause = Cause("FieldValueForbidden", why, "resourceVersionMatch")
            raise errors.invalid("ListOptions", "meta.k8s.io", "", [cause])
        if text in {"", "0"}:
            return None
        if not text.isdigit():
            raise errors.bad_request(
                f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
            )
        version = int(text)
        if version > self._store.version:
            raise errors.too_large_version(version, self._store.version)
        if match == "Exact" and version != self._store.version:
            raise errors.expired(
                f"The provided resource version {version} is not available: only the present "
                f"state is kept ({self._store.version})"
            )
        return version

    async def _watch(
        self, request: web.Request, target: Target, matches: Predicate, since: int | None
    ) -> Answer:
        how = _accepted(request)
        initial = flag(request, "sendInitialEvents")
        seconds = integer(request, "timeoutSeconds")
        watch = Watch(
            target=target,
            matches=matches,
            since=None if initial else since,
            timeout_seconds=float(seconds) if seconds else LONGEST_WATCH_SECONDS,
            bookmarks=flag(request, "allowWatchBookmarks"),
            mark_initial=initial,
        )
        response = web.StreamResponse()
        response.headers["Content-Type"] = (
            f"{how.content_type};stream=watch" if how.form else (how.content_type)
        )
        response.headers["Cache-Control"] = "no-cache, private"
        response.enable_chunked_encoding()
        request[STREAMING] = True
        await response.prepare(request)
        header = True
        async for type_, obj in events(self._store, watch):
            shown = obj
            if type_ not in {"ERROR", "BOOKMARK"}:
                shown = _shaped(request, target, obj, how, header=header)
                header = False
            elif type_ == "BOOKMARK" and how.form == "Table":
                shown = table(target.type.kind, [], metadata=obj["metadata"], header=False)
            line = encode({"type": type_, "object": shown})
            await response.write(line.encode() + b"\n")
        await response.write_eof()
        return response


def _accepted(request: web.Request) -> Accepted:
    return accepted(request.headers.get("Accept", ""), ("Table",))


def _include(request: web.Request) -> Include:
    asked = request.query.get("includeObject", "Metadata")
    for known in ("None", "Metadata", "Object"):
        if asked == known:
            return known
    raise errors.bad_request(f"unrecognized includeObject value: {asked}")


def _shaped(
    request: web.Request, target: Target, obj: Object, how: Accepted, *, header: bool = True
) -> Object:
    """One object in the form that the client asked for."""
    if how.form == "Table":
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        include = _include(request)
        return table(target.type.kind, [obj], metadata=metadata, include=include, header=header)
    return obj


def _selection(request: web.Request, target: Target) -> Predicate:
    labels = label_selector(request.query.get("labelSelector", ""))
    fields = field_selector(request.query.get("fieldSelector", ""), target.type.kind)
    return lambda obj: labels(obj) and fields(obj)


def _deleted(target: Target, obj: Object) -> Object:
    details = {
        "name": target.name,
        "group": target.type.group,
        "kind": target.type.plural,
        "uid": obj["metadata"]["uid"],
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
