"""Empties namespaces that are being deleted, then lets them go."""

from __future__ import annotations

from clusters.reference.apiserver.resources import ALL, NAMESPACE, POD, ResourceType
from clusters.reference.apiserver.store import Change, Object, Store
from clusters.reference.reconciling import Health, Tasks, WorkQueue, follow

FINALIZER = "kubernetes"


class NamespaceController:
    """Reconciles namespaces."""

    def __init__(self, store: Store, health: Health) -> None:
        self._store = store
        self._tasks = Tasks(health)
        self._queue: WorkQueue[str] = WorkQueue("namespaces", self._reconcile, health)

    async def start(self) -> None:
        """Begins to watch."""
        self._tasks.start("namespaces", follow(self._store, ALL, self._on_change))

    async def stop(self) -> None:
        """Stops."""
        await self._tasks.stop()
        await self._queue.stop()

    def _on_change(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if change.kind == NAMESPACE.kind:
            name = metadata["name"]
        elif change.type == "DELETED":
            name = metadata.get("namespace") or ""
        else:
            return
        found = self._store.find(NAMESPACE, name)
        if found is not None and "deletionTimestamp" in found["metadata"]:
            self._queue.add(name)

    async def _reconcile(self, name: str) -> None:
        namespace = self._store.find(NAMESPACE, name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        contents = [
            (type_, obj)
            for type_ in ALL
            if type_.namespaced
            for obj in self._store.list(type_, name)
        ]
        for type_, obj in contents:
            if "deletionTimestamp" not in obj["metadata"] and not _has_controller(obj):
                grace = _grace(type_, obj)
                self._store.delete(type_, obj["metadata"]["name"], name, grace_seconds=grace)
        if contents:
            self._store.mutate(NAMESPACE, name, "", _terminating)
        else:
            self._store.mutate(NAMESPACE, name, "", _release)


def with_defaults(namespace: Object) -> Object:
    """The namespace as it is stored: active, and not to vanish before its contents."""
    metadata = namespace.setdefault("metadata", {})
    metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata.get("name", "")
    finalizers = metadata.setdefault("finalizers", [])
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    namespace.setdefault("status", {})["phase"] = "Active"
    return namespace


def _grace(type_: ResourceType, obj: Object) -> int:
    if type_ is POD and obj["spec"].get("nodeName"):
        return int(obj["spec"].get("terminationGracePeriodSeconds", 30)) or 1
    return 0


def _has_controller(obj: Object) -> bool:
    return any(owner.get("controller") for owner in obj["metadata"].get("ownerReferences") or ())


def _terminating(namespace: Object) -> None:
    namespace["status"]["phase"] = "Terminating"


def _release(namespace: Object) -> None:
    finalizers = namespace["metadata"].get("finalizers") or []
    namespace["metadata"]["finalizers"] = [f for f in finalizers if f != FINALIZER]
