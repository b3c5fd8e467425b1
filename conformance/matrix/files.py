"""Turns users' own manifests into cases: VMIs, and what makes VMIs, with what they need.

Takes text and gives cases; reading the file is the caller's business.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.matrix import kinds, owners, templates
from conformance.matrix.cases import Case, of_manifest, shortened
from conformance.matrix.cleaning import cleaned, was_stored
from conformance.matrix.documents import (
    MatrixFileError,
    documents,
    mapping,
    require_json,
    shown,
)
from conformance.matrix.fields import unknown_fields
from conformance.model.vocabulary import V1

Json = dict[str, Any]

ID_LENGTH = 80
"""Longest id of a case: files of evidence are called by it, beside moment and time."""
_NAME_LENGTH = 253
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MOST_LISTS = 8
_SHORT = {kinds.VMI: "vmi", kinds.VM: "vm", kinds.REPLICA_SET: "replicas", kinds.POOL: "pool"}
_TEMPLATES = frozenset({"Template", "VirtualMachineTemplate"})
"""template.openshift.io, template.kubevirt.io."""


@dataclass(frozen=True)
class Unjudged:
    """An object of the file that no requirement is about.

    Attributes:
        what: kind and name.
        why: one clause.
    """

    what: str
    why: str

    def __str__(self) -> str:
        return f"not judged: {self.what}: {self.why}"


@dataclass(frozen=True)
class UserFile:
    """What is in one or several files of a user.

    Attributes:
        cases: what is judged, in the order of the file.
        helpers: what is made in the namespace of the run before the first case.
        unjudged: the rest.
    """

    cases: tuple[Case, ...]
    helpers: tuple[Mapping[str, Any], ...] = ()
    unjudged: tuple[Unjudged, ...] = ()


@dataclass(frozen=True)
class _Item:
    """One object: where it is, and the namespace that it is written for."""

    where: str
    line: int
    obj: Json
    namespace: str


def cases_of(text: str, source: str, profile: str = V1) -> tuple[Case, ...]:
    """The cases of a text. Raises MatrixFileError; see `user_file`."""
    return user_file([(source, text)], profile).cases


def user_file(texts: Iterable[tuple[str, str]], profile: str = V1) -> UserFile:
    """What texts of YAML or JSON documents hold, together.

    Namespaces are dropped, since a run has its own; so is what only a server writes. An object
    without a name is called after its place. Of a replica set or pool one VMI is made, and a
    VirtualMachine that is stopped is started: of the one nothing more is to be learnt, of the
    other nothing at all.

    Args:
        texts: name of the file, for messages, and its text.
        profile: the generation whose promise is the measure.

    Raises:
        MatrixFileError: a text is neither YAML nor JSON, or a template; a document is no object
            of Kubernetes; a field of a VMI's CPUs is not known; a name cannot be used or is there
            twice; or there is nothing to judge.
    """
    items: list[_Item] = []
    sources = []
    for source, text in texts:
        sources.append(source)
        items += _items(text, source)
    judged = [item for item in items if _is_of(item, kinds.JUDGED)]
    types = [item for item in items if _is_of(item, kinds.TYPES)]
    helpers = [item for item in items if _is_of(item, kinds.HELPERS)]
    unjudged = tuple(
        Unjudged(kinds.words(item.obj), "no requirement is about it, and it is not made")
        for item in items
        if not any(_is_of(item, group) for group in (kinds.JUDGED, kinds.TYPES, kinds.HELPERS))
    )
    for item in (*judged, *types, *helpers):
        _require_expanded(item)
        _require_known(item)
    if not judged:
        rest = "".join(f"; {each}" for each in unjudged[:5])
        raise MatrixFileError(
            f"{', '.join(sources)}:1: there is no {kinds.VMI} in this file, and nothing that "
            f"makes one{rest}"
        )
    local, renamed = _made_local([cleaned(item.obj) for item in types])
    cases = tuple(_cases(judged, local, renamed, profile))
    return UserFile(cases, (*_once(helpers), *local), unjudged)


# From documents to objects.


def _items(text: str, source: str) -> Iterator[_Item]:
    for line, document in documents(text, source):
        where = f"{source}:{line}"
        require_json(document, where)
        for obj in _flat(mapping(document, where), where):
            kind, version = obj.get("kind"), obj.get("apiVersion")
            if not isinstance(kind, str) or not kind:
                raise MatrixFileError(
                    f"{where}: this is no object of Kubernetes: its kind is {kind!r}"
                )
            if kind in _TEMPLATES and isinstance(version, str) and version.startswith("template."):
                raise MatrixFileError(f"{where}: kind {kind}: {templates.ADVICE}")
            if kind in kinds.JUDGED and not kinds.known(kind, version):
                raise MatrixFileError(
                    f"{where}: the apiVersion of a {kind} is such as "
                    f"{kinds.JUDGED[kind].group}/v1, not {shown(version)}"
                )
            metadata = obj.get("metadata")
            namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
            yield _Item(where, line, obj, namespace if isinstance(namespace, str) else "")


def _flat(obj: Mapping[str, Any], where: str, depth: int = 0) -> Iterator[Json]:
    """The objects of a list, of whatever kind, or the one object."""
    kind, items = obj.get("kind"), obj.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        yield dict(obj)
        return
    if depth == _MOST_LISTS:
        raise MatrixFileError(f"{where}: lists are nested too deeply")
    # The API leaves kind and version of the items to their list.
    own = kind.removesuffix("List")
    lacking = {"apiVersion": obj.get("apiVersion"), "kind": own} if own else {}
    for item in items:
        yield from _flat({**lacking, **mapping(item, where)}, where, depth + 1)


def _is_of(item: _Item, group: Mapping[str, kinds.Kind]) -> bool:
    kind = item.obj["kind"]
    return kind in group and kinds.known(kind, item.obj.get("apiVersion"))


def _require_expanded(item: _Item) -> None:
    for path, text in templates.placeholders(item.obj):
        raise MatrixFileError(f"{item.where}: {path} is {shown(text)}: {templates.ADVICE}")


def _require_known(item: _Item) -> None:
    """What an API server would drop must not change what is judged."""
    if was_stored(item.obj):
        return  # A server knew it.
    for unknown in unknown_fields(item.obj):
        if not unknown.harmless:
            raise MatrixFileError(
                f"{item.where}: {unknown}: an API server drops what it does not know, and what is "
                "judged would not be what is written"
            )


# Objects that are not judged, but needed.


def _once(items: Iterable[_Item]) -> Iterator[Json]:
    found: dict[tuple[str, str], tuple[Json, _Item]] = {}
    for item in items:
        obj = cleaned(item.obj)
        key = obj["kind"], _name_of(obj, item.where)
        if key in found and found[key][0] != obj:
            raise MatrixFileError(
                f"{item.where}: {kinds.words(obj)} is there twice, first at {found[key][1].where}; "
                "a run has one namespace for both"
            )
        if key not in found:
            found[key] = obj, item
            yield obj


def _made_local(types: Iterable[Json]) -> tuple[list[Json], Mapping[owners.Reference, str]]:
    """Instance types and preferences as objects of a namespace.

    A run makes nothing that reaches beyond its namespace: what the file has for a whole cluster is
    made as the namespaced kind, which differs in nothing else.

    Returns:
        The objects, and the new names of those that were a cluster's.
    """
    local = {
        kinds.CLUSTER_INSTANCETYPE: kinds.INSTANCETYPE,
        kinds.CLUSTER_PREFERENCE: kinds.PREFERENCE,
    }
    found: dict[tuple[str, str], Json] = {}
    renamed: dict[owners.Reference, str] = {}
    for obj in sorted(types, key=lambda obj: obj["kind"] in local):
        kind, name = str(obj["kind"]), _name_of(obj, kinds.words(obj))
        own_kind, own_name = local.get(kind, kind), name
        if kind in local:
            reference = owners.Reference(kind, name)
            taken = (own_kind, name) in found and reference not in renamed
            own_name = renamed.setdefault(reference, f"{name}-of-cluster" if taken else name)
        own = {**obj, "kind": own_kind, "metadata": {**obj["metadata"], "name": own_name}}
        if found.setdefault((own_kind, own_name), own) != own:
            raise MatrixFileError(f"{kinds.words(obj)} is there twice, and differs")
    return list(found.values()), renamed


# Objects that are judged.


def _cases(
    items: Iterable[_Item],
    types: list[Json],
    renamed: Mapping[owners.Reference, str],
    profile: str,
) -> Iterator[Case]:
    taken: dict[str, _Item] = {}
    for number, item in enumerate(items, start=1):
        manifest = cleaned(item.obj)
        written = _name(manifest, number, item.where)
        name = _own_name(written, item, taken)
        taken[name] = item
        manifest["metadata"]["name"] = name
        remark = _prepare(manifest, renamed)
        wanted = {(each.kind, each.name) for each in owners.references(manifest)}
        beside = tuple(obj for obj in types if (obj["kind"], obj["metadata"]["name"]) in wanted)
        kind = "" if item.obj["kind"] == kinds.VMI else f"{item.obj['kind']} "
        source = item.where.rpartition(":")[0]
        title = f"{kind}{written}{remark}, of {source}"
        yield of_manifest(
            shortened(name, ID_LENGTH),
            title,
            manifest,
            profile,
            beside=beside,
            namespace=item.namespace,
        )


def _prepare(manifest: Json, renamed: Mapping[owners.Reference, str]) -> str:
    """Lets the object make one VMI, at once, of what is in the file; says what that changed."""
    spec = manifest.get("spec")
    if manifest["kind"] == kinds.VMI or not isinstance(spec, Mapping):
        return ""
    spec = manifest["spec"] = copy.deepcopy(dict(spec))
    remark = ""
    if manifest["kind"] in (kinds.REPLICA_SET, kinds.POOL):
        if (replicas := spec.get("replicas", 1)) != 1 and isinstance(replicas, int):
            remark = f", one instead of {replicas} replicas"
            spec["replicas"] = 1
        machine = spec.get("virtualMachineTemplate")
        spec = machine.get("spec") if isinstance(machine, dict) else None
    if not isinstance(spec, dict):
        return remark
    strategy = spec.get("runStrategy")
    if isinstance(strategy, str) and strategy in owners.STOPPED:
        remark += f", Always instead of {spec['runStrategy']}"
        spec["runStrategy"] = "Always"
    if spec.get("running") is False:
        remark += ", running instead of stopped"
        spec["running"] = True
    for key in ("instancetype", "preference"):
        matcher = spec.get(key)
        for reference in owners.references(manifest):
            if reference in renamed and key in reference.kind.lower() and isinstance(matcher, dict):
                local = kinds.INSTANCETYPE if key == "instancetype" else kinds.PREFERENCE
                matcher.update(kind=local, name=renamed[reference])
    return remark


def _own_name(written: str, item: _Item, taken: Mapping[str, _Item]) -> str:
    """A name that nothing else of the run has: a VirtualMachine and its VMI share theirs."""
    if written not in taken:
        return written
    first = taken[written]
    same = (first.obj["kind"], first.namespace) == (item.obj["kind"], item.namespace)
    if same:
        raise MatrixFileError(
            f"{item.where}: the name {written} is used twice, first in line {first.line}"
        )
    base = f"{written}-{_SHORT[item.obj['kind']]}"
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _name(manifest: Json, number: int, where: str) -> str:
    """Its name, given where it has none."""
    metadata = manifest.setdefault("metadata", {})
    if metadata is None:
        metadata = manifest["metadata"] = {}
    if not isinstance(metadata, dict):
        raise MatrixFileError(f"{where}: metadata is a mapping, not {shown(metadata)}")
    generated = metadata.pop("generateName", None)
    metadata.setdefault("name", f"{generated or _SHORT[manifest['kind']] + '-'}{number}")
    return _name_of(manifest, where)


def _name_of(obj: Mapping[str, Any], where: str) -> str:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise MatrixFileError(
            f"{where}: metadata.name is {shown(name)}; it is made of at most {_NAME_LENGTH} small "
            "letters, digits, dashes and dots, with a letter or digit at both ends of each part"
        )
    return name
