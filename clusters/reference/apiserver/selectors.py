"""Label and field selectors, as lists and watches take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from clusters.reference.apiserver.errors import bad_request

Object = dict[str, Any]
Predicate = Callable[[Object], bool]

_FIELDS: Mapping[str, frozenset[str]] = {
    "Pod": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "Event": frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
    "Node": frozenset({"spec.unschedulable"}),
    "Namespace": frozenset({"status.phase"}),
    "Secret": frozenset({"type"}),
    "VirtualMachineInstance": frozenset({"status.phase", "status.nodeName"}),
}
"""Fields that can be selected by, besides metadata.name and metadata.namespace."""


def label_selector(text: str) -> Predicate:
    """Understands ``a=b,c!=d,e in (f,g),h notin (i),j,!k``; empty selects everything.

    Raises StatusError 400.
    """
    requirements = [_label_requirement(part) for part in _split(text)]

    def matches(obj: Object) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def field_selector(text: str, kind: str) -> Predicate:
    """Understands ``a=b,c==d,e!=f`` over the selectable fields of the kind.

    Raises StatusError 400, also for a field that cannot be selected by.
    """
    wanted: list[tuple[tuple[str, ...], str, bool]] = []
    for part in (part for part in text.split(",") if part):
        found = re.fullmatch(r"\s*([^=!]+?)\s*(==|=|!=)\s*(.*?)\s*", part)
        if found is None:
            message = f"invalid selector: '{text}'; can't understand '{part}'"
            raise bad_request(f'unable to parse requirement: "{text}": {message}')
        field, operator, value = found.groups()
        allowed = {"metadata.name", "metadata.namespace"} | _FIELDS.get(kind, frozenset())
        if field not in allowed:
            raise bad_request(
                f'Unable to find "{kind}" that match label selector "", field selector "{text}": '
                f'"{field}" is not a known field selector: only '
                + ", ".join(f'"{name}"' for name in sorted(allowed))
            )
        wanted.append((tuple(field.split(".")), value, operator != "!="))

    def matches(obj: Object) -> bool:
        return all((_field(obj, path) == value) is equal for path, value, equal in wanted)

    return matches


def _field(obj: Object, path: tuple[str, ...]) -> str:
    value: Any = obj
    if path == ("source",):
        path = ("source", "component")
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return "false" if path[-1] in {"unschedulable", "hostNetwork"} else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _split(text: str) -> list[str]:
    """Splits at commas that are not between parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


_KEY = r"[A-Za-z0-9_./-]+"


def _label_requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := re.fullmatch(rf"!\s*({_KEY})", text):
        return _absent(found[1])
    if re.fullmatch(_KEY, text):
        return _present(text)
    if found := re.fullmatch(rf"({_KEY})\s*(==|=|!=)\s*([A-Za-z0-9_.-]*)", text):
        return _one_of(found[1], frozenset({found[3]}), wanted=found[2] != "!=")
    if found := re.fullmatch(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)", text):
        values = frozenset(value.strip() for value in found[3].split(","))
        return _one_of(found[1], values, wanted=found[2] == "in")
    raise bad_request(
        f'unable to parse requirement: found "{text}", expected: =, !=, ==, in, notin, or a key'
    )


def _absent(key: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: key not in labels


def _present(key: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: key in labels


def _one_of(
    key: str, values: frozenset[str], *, wanted: bool
) -> Callable[[Mapping[str, str]], bool]:
    # A missing label is "not equal" and "not in", as upstream has it.
    return lambda labels: (key in labels and labels[key] in values) is wanted
