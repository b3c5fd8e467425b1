"""The verbs of the Kubernetes API on stored objects, without HTTP.

Every verb runs from reading to writing without awaiting, so two requests never interleave.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from clusters.reference.apiserver import errors
from clusters.reference.apiserver.backends import Admission, Cause, InvalidError
from clusters.reference.apiserver.names import check_labels, check_name
from clusters.reference.apiserver.patching import APPLY_PATCH, patched
from clusters.reference.apiserver.resources import BY_KIND, NAMESPACE, VMI, ResourceType
from clusters.reference.apiserver.schema import Fit, fit
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

FieldValidation = Literal["Ignore", "Warn", "Strict"]
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True)
class Target:
    """What a request is about.

    Attributes:
        version: the version of the group that is spoken.
        namespace: empty for all namespaces, or for a type without.
        name: empty for the collection.
        rest: path below the subresource.
    """

    type: ResourceType
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""

    @property
    def api_version(self) -> str:
        """``apiVersion`` of the objects that the client sends and gets."""
        return f"{self.type.group}/{self.version}" if self.type.group else self.version


@dataclass
class WriteOptions:
    """How a write is to be done.

    Attributes:
        warnings: filled while the request is carried out; for ``Warning`` headers.
    """

    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    manager: str = "unknown"
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DeleteOptions:
    """How a deletion is to be done.

    A propagation policy is none of it: whoever owns dependents ends them.
    """

    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


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
        obj = self._decoded(target, body)
        metadata = _metadata(obj)
        if metadata.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        generate = metadata.get("generateName") or ""
        if not metadata.get("name") and generate:
            self._check_names(target.type, {**metadata, "name": f"{generate}x"})
        else:
            self._check_names(target.type, metadata)
        obj = self._fitted(target, obj, options)
        self._check_namespace(target)
        return in_version(self._insert(target, obj, options), target)

    def update(self, target: Target, body: Any, options: WriteOptions) -> Object:
        """Replaces an object, or its status. Raises StatusError."""
        obj = self._decoded(target, body)
        metadata = _metadata(obj)
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
        obj = self._fitted(target, obj, options)
        return self._replace(target, obj, old, options)

    def patch(
        self, target: Target, media_type: str, body: Any, options: WriteOptions
    ) -> tuple[Object, bool]:
        """Patches an object; the flag says that server-side apply created it."""
        schema, builtin = schema_of(target.type), is_builtin(target.type)
        applies = media_type == APPLY_PATCH
        if applies:
            body = self._decoded(target, body, typed=True)
            if _metadata(body).setdefault("name", target.name) != target.name:
                raise errors.bad_request(
                    "the name of the object does not match the name on the URL"
                )
            partial = fit(schema, body, owner=target.type.kind)
            # What it leaves out may be in the object already.
            partial.problems = [entry for entry in partial.problems if entry.kind != "required"]
            _fit_or_refuse(target, partial, options)
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
            obj = self._fitted(target, obj, options)
            return in_version(self._insert(target, obj, options), target), True
        _check_patched(obj, original)
        obj = self._fitted(target, obj, options, patch=not applies)
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

    def _decoded(self, target: Target, body: Any, *, typed: bool = False) -> Object:
        """The body as an object of the target's kind, version and namespace."""
        kind = target.type.kind
        if not isinstance(body, dict):
            raise errors.bad_request(
                "the object provided is unrecognized (must be of type "
                f"{kind}): couldn't get version/kind; json parse error: json: cannot unmarshal "
                f"into Go value of type {kind}"
            )
        obj = dict(body if is_builtin(target.type) else _unstructured(body))
        if is_builtin(target.type) and not typed:
            obj.setdefault("kind", kind)
            obj.setdefault("apiVersion", target.api_version)
        for key in ("apiVersion", "kind"):
            if not isinstance(obj.get(key), str) or not obj[key]:
                raise errors.bad_request(f"Object '{key.capitalize()}' is missing in the body")
        if obj["kind"] != kind or obj["apiVersion"] != target.api_version:
            raise errors.bad_request(
                f'{obj["kind"]} in version "{obj["apiVersion"].rpartition("/")[2]}" cannot be '
                f"handled as a {kind}: the API version in the data ({obj['apiVersion']}, "
                f"{obj['kind']}) does not match the expected API version "
                f"({target.api_version}, {kind})"
            )
        metadata = obj["metadata"] = dict(_metadata(obj))
        if target.type.namespaced:
            if metadata.setdefault("namespace", target.namespace) != target.namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on "
                    "the request"
                )
        else:
            metadata.pop("namespace", None)
        return obj

    def _fitted(
        self, target: Target, obj: Object, options: WriteOptions, *, patch: bool = False
    ) -> Object:
        found = fit(schema_of(target.type), obj, owner=target.type.kind)
        _fit_or_refuse(target, found, options, patch=patch)
        causes = check_labels(found.value["metadata"].get("labels") or {})
        if causes:
            name = found.value["metadata"].get("name") or ""
            raise errors.invalid(target.type.kind, target.type.group, name, causes)
        fitted: Object = found.value
        return fitted

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
        elif target.subresource == "finalize":
            pass
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


def in_version(obj: Object, target: Target) -> Object:
    """The object as a client of the asked version sees it."""
    return {**obj, "apiVersion": target.api_version}


def _check_patched(obj: Any, original: Object) -> None:
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise errors.bad_request("the patched object has no metadata")
    before = original["metadata"]
    for key, now_ in (("name", obj["metadata"].get("name")), ("kind", obj.get("kind"))):
        was = before["name"] if key == "name" else original["kind"]
        if now_ != was:
            raise errors.bad_request(
                f"the {key} of the object ({now_}) does not match the {key} on the URL ({was})"
            )
    obj["apiVersion"] = original["apiVersion"]
    if "namespace" in before:
        obj["metadata"]["namespace"] = before["namespace"]


def _unstructured(value: Any) -> Any:
    """As custom resources are read: 2.0 is 2, and what 64 bits cannot hold is a fraction.

    apimachinery pkg/util/json, and what encoding/json writes of it.
    """
    if isinstance(value, dict):
        return {key: _unstructured(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_unstructured(below) for below in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def _metadata(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise errors.bad_request(
            "the object provided is unrecognized: json: cannot unmarshal metadata into Go value "
            "of type v1.ObjectMeta"
        )
    return metadata


def _terminate(namespace: Object) -> None:
    namespace.setdefault("status", {})["phase"] = "Terminating"


def _fit_or_refuse(
    target: Target, found: Fit, options: WriteOptions, *, patch: bool = False
) -> None:
    """Refuses what does not fit, in the words for built-in types or for custom resources."""
    type_ = target.type
    unknown = [f'unknown field "{path}"' for path in found.unknown]
    version_kind = f'{type_.kind} in version "{target.version}" cannot be handled as a {type_.kind}'
    if unknown and options.field_validation == "Strict":
        strict = "strict decoding error: " + ", ".join(unknown)
        if patch:
            cause = Cause("FieldValueInvalid", f"Invalid value: {strict}", "patch")
            raise errors.invalid("", "", "", [cause])
        raise errors.bad_request(f"{version_kind}: {strict}")
    if options.field_validation == "Warn":
        options.warnings += [text for text in unknown if text not in options.warnings]
    problems = found.problems
    if is_builtin(type_):
        undecodable = [entry for entry in problems if entry.kind in {"type", "pattern"}]
        if undecodable:
            raise errors.bad_request(f"{version_kind}: {undecodable[0].decoding_error()}")
        # Statuses come from components, which upstream does not validate as strictly.
        problems = [entry for entry in problems if not entry.path.startswith("status")]
    if type_ is VMI:
        # virt-api's webhooks look at the rest, before the schema of its CRD is asked.
        problems = [entry for entry in problems if entry.path.startswith("metadata")]
    if problems:
        name = found.value.get("metadata", {}).get("name") or ""
        causes = [entry.cause() for entry in problems]
        raise errors.invalid(type_.kind, type_.group, name, causes)
