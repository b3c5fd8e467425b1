"""The verbs of the Kubernetes API on stored objects, without HTTP.

Every verb runs from reading to writing without awaiting, so two requests never interleave.
"""

from __future__ import annotations

from typing import Any

from clusters.reference.apiserver import errors
from clusters.reference.apiserver.backends import Admission, Cause, InvalidError
from clusters.reference.apiserver.bodies import (
    check_patched,
    decoded,
    fit_or_refuse,
    fitted,
    metadata_of,
)
from clusters.reference.apiserver.names import check_name
from clusters.reference.apiserver.patching import APPLY_PATCH, patched
from clusters.reference.apiserver.resources import BY_KIND, NAMESPACE, ResourceType
from clusters.reference.apiserver.schema import fit
from clusters.reference.apiserver.schemas import is_builtin, schema_of
from clusters.reference.apiserver.selectors import Predicate
from clusters.reference.apiserver.store import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    Object,
    Store,
    now,
)
from clusters.reference.apiserver.strategies import (
    default_grace,
    prepare_new,
    prepare_status_update,
    prepare_update,
)
from clusters.reference.apiserver.target import (
    DeleteOptions,
    Target,
    WriteOptions,
    in_version,
)

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class Operations:
    """Create, read, update, patch, delete."""

    def __init__(
        self,
        store: Store,
        admission: Admission,
    ) -> None:
        self.store = store
        self._admission = admission

    def get(self, target: Target) -> Object:
        """One object, in the version of the request."""
        try:
            obj = self.store.get(target.type, target.name, target.namespace)
        except NotFoundError:
            raise errors.not_found(target.type, target.name) from None
        return in_version(obj, target)

    def list(self, target: Target, matches: Predicate) -> list[Object]:
        """The selected objects, in the version of the request; what is in them is the store's."""
        namespace = target.namespace or None
        return [
            in_version(obj, target)
            for obj in self.store.stored(target.type, namespace, where=matches)
        ]

    def create(self, target: Target, body: Any, options: WriteOptions) -> Object:
        """Adds an object. Raises StatusError."""
        obj = decoded(target, body)
        metadata = metadata_of(obj)
        if metadata.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        generate = metadata.get("generateName") or ""
        if not metadata.get("name") and generate:
            self._check_names(target.type, {**metadata, "name": f"{generate}x"})
        else:
            self._check_names(target.type, metadata)
        obj = fitted(target, obj, options)
        self._check_namespace(target)
        return in_version(self._insert(target, obj, options), target)

    def update(self, target: Target, body: Any, options: WriteOptions) -> Object:
        """Replaces an object, or its status. Raises StatusError."""
        obj = decoded(target, body)
        metadata = metadata_of(obj)
        name = metadata.setdefault("name", target.name)
        if name != target.name:
            raise errors.bad_request(
                f"the name of the object ({name}) does not match the name on the URL "
                f"({target.name})"
            )
        old = self.get(target)
        if not is_builtin(target.type) and not metadata.get("resourceVersion"):
            cause = Cause(
                "FieldValueInvalid",
                "Invalid value: 0x0: must be specified for an update",
                "metadata.resourceVersion",
            )
            raise errors.invalid(target.type.plural, target.type.group, name, [cause])
        obj = fitted(target, obj, options)
        return self._replace(target, obj, old, options)

    def patch(
        self, target: Target, media_type: str, body: Any, options: WriteOptions
    ) -> tuple[Object, bool]:
        """Patches an object; the flag says that server-side apply created it."""
        schema, builtin = schema_of(target.type), is_builtin(target.type)
        applies = media_type == APPLY_PATCH
        if applies:
            body = decoded(target, body, typed=True)
            if metadata_of(body).setdefault("name", target.name) != target.name:
                raise errors.bad_request(
                    "the name of the object does not match the name on the URL"
                )
            partial = fit(schema, body, owner=target.type.kind)
            # What it leaves out may be in the object already.
            partial.problems = [entry for entry in partial.problems if entry.kind != "required"]
            fit_or_refuse(target, partial, options)
        old = self.store.find(target.type, target.name, target.namespace)
        if old is None and not applies:
            raise errors.not_found(target.type, target.name)
        original = in_version(old, target) if old is not None else {}
        obj = patched(
            media_type,
            original,
            body,
            schema=schema,
            builtin=builtin,
            manager=options.manager,
        )
        if old is None:
            self._check_names(target.type, obj["metadata"])
            self._check_namespace(target)
            obj = fitted(target, obj, options)
            return in_version(self._insert(target, obj, options), target), True
        check_patched(obj, original)
        obj = fitted(target, obj, options, patch=not applies)
        return self._replace(target, obj, original, options), False

    def delete(self, target: Target, options: DeleteOptions) -> tuple[Object, bool]:
        """Deletes an object; the flag says that it is gone already."""
        obj = self.get(target)
        metadata = obj["metadata"]
        if options.uid and options.uid != metadata["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: "
                f"{metadata['uid']}"
            )
            raise errors.conflict(target.type, target.name, why)
        if options.resource_version and options.resource_version != metadata["resourceVersion"]:
            why = (
                f"Precondition failed: ResourceVersion in precondition: "
                f"{options.resource_version}, ResourceVersion in object meta: "
                f"{metadata['resourceVersion']}"
            )
            raise errors.conflict(target.type, target.name, why)
        if target.type.kind == NAMESPACE.kind and target.name in {"default", "kube-system"}:
            raise errors.forbidden(target.type, target.name, "this namespace may not be deleted")
        grace = default_grace(target.type, obj, options.grace_seconds)
        deleted = self.store.delete(
            target.type,
            target.name,
            target.namespace,
            grace_seconds=grace,
            dry_run=options.dry_run,
        )
        left = self.store.find(target.type, target.name, target.namespace)
        if left is not None and target.type.kind == NAMESPACE.kind and not options.dry_run:
            left = self.store.mutate(NAMESPACE, target.name, "", _terminate)
        gone = left is None or (options.dry_run and not grace and not metadata.get("finalizers"))
        return in_version(left or deleted, target), gone

    def bind(self, target: Target, body: Any) -> None:
        """Assigns a pod to a node (pods/binding)."""
        node = ((body or {}).get("target") or {}).get("name") or ""
        if not node:
            cause = Cause("FieldValueRequired", "Required value", "target.name")
            raise errors.invalid("Binding", "", target.name, [cause])
        bound = self.get(target)["spec"].get("nodeName")
        if bound:
            why = f'pod {target.name} is already assigned to node "{bound}"'
            raise errors.conflict(target.type, target.name, why)

        def bind(pod: Object) -> None:
            pod["spec"]["nodeName"] = node
            conditions = pod.setdefault("status", {}).setdefault("conditions", [])
            conditions[:] = [entry for entry in conditions if entry["type"] != "PodScheduled"]
            conditions.append(
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
            )

        self.store.mutate(target.type, target.name, target.namespace, bind)

    # What the verbs share.

    def _check_names(self, type_: ResourceType, metadata: Object) -> None:
        name = metadata.get("name")
        if not name:
            cause = Cause(
                "FieldValueRequired",
                "Required value: name or generateName is required",
                "metadata.name",
            )
            raise errors.invalid(type_.kind, type_.group, "", [cause])
        causes = check_name(type_.kind, str(name))
        if causes:
            raise errors.invalid(type_.kind, type_.group, str(name), causes)

    def _check_namespace(self, target: Target) -> None:
        if not target.type.namespaced:
            return
        namespace = self.store.find(NAMESPACE, target.namespace)
        if namespace is None:
            raise errors.not_found(NAMESPACE, target.namespace)
        if namespace["metadata"].get("deletionTimestamp"):
            why = (
                f"unable to create new content in namespace {target.namespace} because it is "
                "being terminated"
            )
            refusal = errors.forbidden(target.type, target.name, why)
            refusal.details["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {target.namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise refusal

    def _insert(self, target: Target, obj: Object, options: WriteOptions) -> Object:
        obj = self._admitted(target, prepare_new(target.type, obj), None)
        try:
            return self.store.create(target.type, obj, dry_run=options.dry_run)
        except AlreadyExistsError:
            raise errors.already_exists(target.type, obj["metadata"]["name"]) from None

    def _replace(self, target: Target, obj: Object, old: Object, options: WriteOptions) -> Object:
        uid = obj["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                f"{old['metadata']['uid']}"
            )
            raise errors.conflict(target.type, target.name, why)
        if target.subresource == "status":
            obj = prepare_status_update(target.type, obj, old)
        else:
            obj = self._admitted(target, prepare_update(target.type, obj, old), old)
        try:
            updated = self.store.update(target.type, obj, dry_run=options.dry_run)
        except ConflictError:
            raise errors.conflict(target.type, target.name, MODIFIED) from None
        except NotFoundError:
            raise errors.not_found(target.type, target.name) from None
        return in_version(updated, target)

    def _admitted(self, target: Target, obj: Object, old: Object | None) -> Object:
        try:
            return self._admission.admit(BY_KIND[target.type.kind], obj, old)
        except InvalidError as error:
            name = obj["metadata"].get("name") or ""
            raise errors.refused(target.type.kind, target.type.group, name, error) from error


def _terminate(namespace: Object) -> None:
    namespace.setdefault("status", {})["phase"] = "Terminating"
