"""Objects, resource versions and watches: what etcd is to a real API server.

Everything runs on one asyncio loop and nothing here awaits between reading and writing,
so every method is atomic. Objects are plain JSON dicts in their stored version; what goes
in and what comes out is a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from clusters.reference.apiserver.resources import ResourceType

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace (empty when not namespaced), name."""

LONGEST_BASE = 58
"""Of a generated name: apiserver pkg/storage/names, maxGeneratedNameLength."""
HISTORY = 20_000
"""Changes that a watch may still start from; an older start is 410 Gone, as with etcd."""


class NotFoundError(Exception):
    """No such object."""


class AlreadyExistsError(Exception):
    """The name is taken."""


class ConflictError(Exception):
    """The object has changed since it was read."""


class ExpiredError(Exception):
    """The resourceVersion to watch from is too old."""


@dataclass(frozen=True)
class Change:
    """One change of one object.

    Attributes:
        previous: the object before, None when it was added.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    version: int
    kind: str
    object: Object
    previous: Object | None = None


def now() -> str:
    """The time as Kubernetes writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def copied(obj: Object) -> Object:
    """A copy of a JSON object that shares nothing with it."""
    # Several times faster than copy.deepcopy, which must expect anything.
    return {key: _copied(value) for key, value in obj.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value


def key_of(kind: str, obj: Object) -> Key:
    """Where an object is stored."""
    metadata = obj["metadata"]
    return kind, metadata.get("namespace") or "", metadata["name"]


class Subscription:
    """Changes that are yet to be seen. Their objects are the stored ones: never change them."""

    def __init__(self, kinds: frozenset[str], backlog: Sequence[Change]) -> None:
        self._kinds = kinds
        self._queue: asyncio.Queue[Change] = asyncio.Queue()
        for change in backlog:
            self.put(change)

    def put(self, change: Change) -> None:
        """Adds a change, unless it is of another kind."""
        if change.kind in self._kinds:
            self._queue.put_nowait(change)

    async def next(self) -> Change:
        """The next change."""
        return await self._queue.get()

    def is_drained(self) -> bool:
        """Whether everything that has happened so far has been seen."""
        return self._queue.empty()


class Store:
    """Every object of the cluster."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._version = itertools.count(1)
        self.version = 0
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._subscriptions: set[Subscription] = set()

    def create(self, type_: ResourceType, obj: Object, *, dry_run: bool = False) -> Object:
        """Adds an object; sets uid, creationTimestamp, generation and resourceVersion.

        ``metadata.generateName`` is honoured. A dry run, here and below, answers the same
        and writes nothing. Raises AlreadyExistsError.
        """
        obj = copied(obj)
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            base = metadata["generateName"][:LONGEST_BASE]
            metadata["name"] = base + uuid.uuid4().hex[:5]
        key = key_of(type_.kind, obj)
        if self._at(key) is not None:
            raise AlreadyExistsError(f'{type_.plural} "{key[2]}" already exists')
        obj["apiVersion"], obj["kind"] = type_.api_version, type_.kind
        metadata.update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
        return obj if dry_run else self._write("ADDED", key, obj, None)

    def get(self, type_: ResourceType, name: str, namespace: str = "") -> Object:
        """One object. Raises NotFoundError."""
        return copied(self._get((type_.kind, namespace, name), type_))

    def find(self, type_: ResourceType, name: str, namespace: str = "") -> Object | None:
        """One object, or None."""
        found = self._at((type_.kind, namespace, name))
        return copied(found) if found is not None else None

    def stored(
        self,
        type_: ResourceType,
        namespace: str | None = None,
        *,
        where: Callable[[Object], bool] = lambda _obj: True,
    ) -> Sequence[Object]:
        """As `list`, but the stored objects themselves, for who only reads: never change them."""
        return [
            obj
            for key, obj in sorted(self._objects[type_.kind].items(), key=lambda item: item[0])
            if (namespace is None or key[0] == namespace) and where(obj)
        ]

    def list(
        self,
        type_: ResourceType,
        namespace: str | None = None,
        *,
        where: Callable[[Object], bool] = lambda _obj: True,
    ) -> list[Object]:
        """Every object of a type, in every namespace when that is None, by key.

        `where` says which of them; it looks at the stored ones, and must not change them.
        """
        return [copied(obj) for obj in self.stored(type_, namespace, where=where)]

    def update(self, type_: ResourceType, obj: Object, *, dry_run: bool = False) -> Object:
        """Replaces an object; a resourceVersion in it must be the current one.

        System metadata cannot be changed; generation grows when the spec changes. An
        update that changes nothing writes nothing. An object that is being deleted goes
        when its last finalizer does. Raises NotFoundError, ConflictError.
        """
        obj = copied(obj)
        key = key_of(type_.kind, obj)
        old = self._get(key, type_)
        metadata, before = obj["metadata"], old["metadata"]
        claimed = metadata.get("resourceVersion")
        if claimed and claimed != before["resourceVersion"]:
            raise ConflictError(
                f'Operation cannot be fulfilled on {type_.plural} "{key[2]}": the object has been '
                "modified; please apply your changes to the latest version and try again"
            )
        for name in ("uid", "creationTimestamp", "generation", "resourceVersion"):
            metadata[name] = before[name]
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            if name in before:
                metadata.setdefault(name, before[name])
        obj["apiVersion"], obj["kind"] = old["apiVersion"], old["kind"]
        if obj == old:
            return copied(old)
        if obj.get("spec") != old.get("spec"):
            metadata["generation"] += 1
        if dry_run:
            return obj
        if metadata.get("deletionTimestamp") and self._may_go(metadata):
            return self._drop(key, obj)
        return self._write("MODIFIED", key, obj, old)

    def mutate(
        self, type_: ResourceType, name: str, namespace: str, change: Callable[[Object], object]
    ) -> Object:
        """Reads, lets `change` edit the copy in place, and writes. Raises NotFoundError."""
        obj = self.get(type_, name, namespace)
        change(obj)
        return self.update(type_, obj)

    def delete(
        self,
        type_: ResourceType,
        name: str,
        namespace: str = "",
        *,
        grace_seconds: int | None = 0,
        dry_run: bool = False,
    ) -> Object:
        """Deletes, or marks as being deleted while finalizers or a grace period hold it.

        A positive grace (pods bound to a node) leaves the object until it is deleted with
        grace 0. Raises NotFoundError.
        """
        key = (type_.kind, namespace, name)
        obj = copied(self._get(key, type_))
        metadata = obj["metadata"]
        metadata.setdefault("deletionTimestamp", now())
        metadata["deletionGracePeriodSeconds"] = grace_seconds or 0
        if dry_run:
            return obj
        if self._may_go(metadata):
            return self._drop(key, obj)
        old = self._get(key, type_)
        return copied(old) if obj == old else self._write("MODIFIED", key, obj, old)

    async def watch(
        self, types: Sequence[ResourceType], since: int | None = None
    ) -> AsyncIterator[Change]:
        """Changes of these types after a version, for ever.

        With `since` None it starts with ADDED for everything that exists. Raises
        ExpiredError when the version is no longer in the history.
        """
        with self.subscribe(types, since) as subscription:
            while True:
                yield await subscription.next()

    @contextlib.contextmanager
    def subscribe(
        self, types: Sequence[ResourceType], since: int | None = None
    ) -> Iterator[Subscription]:
        """As `watch`, for who has to do something between two changes."""
        kinds = frozenset(type_.kind for type_ in types)
        if since is None:
            backlog = [
                Change("ADDED", int(obj["metadata"]["resourceVersion"]), kind, obj)
                for kind in sorted(kinds)
                for _, obj in sorted(self._objects[kind].items(), key=lambda item: item[0])
            ]
        else:
            oldest = self._history[0].version if self._history else self.version + 1
            if since < oldest - 1:
                raise ExpiredError(f"too old resource version: {since} ({oldest})")
            backlog = [change for change in self._history if change.version > since]
        subscription = Subscription(kinds, backlog)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    @staticmethod
    def _may_go(metadata: Object) -> bool:
        return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")

    def _at(self, key: Key) -> Object | None:
        return self._objects[key[0]].get(key[1:])

    def _get(self, key: Key, type_: ResourceType) -> Object:
        found = self._at(key)
        if found is None:
            name = type_.plural if not type_.group else f"{type_.plural}.{type_.group}"
            raise NotFoundError(f'{name} "{key[2]}" not found')
        return found

    def _write(
        self, type_: Literal["ADDED", "MODIFIED"], key: Key, obj: Object, previous: Object | None
    ) -> Object:
        self._objects[key[0]][key[1:]] = obj
        self._publish(type_, key, obj, previous)
        return copied(obj)

    def _drop(self, key: Key, obj: Object) -> Object:
        previous = self._objects[key[0]].pop(key[1:])
        self._publish("DELETED", key, obj, previous)
        return copied(obj)

    def _publish(
        self,
        type_: Literal["ADDED", "MODIFIED", "DELETED"],
        key: Key,
        obj: Object,
        previous: Object | None,
    ) -> None:
        self.version = next(self._version)
        obj["metadata"]["resourceVersion"] = str(self.version)
        change = Change(type_, self.version, key[0], obj, previous)
        self._history.append(change)
        for subscription in self._subscriptions:
            subscription.put(change)
