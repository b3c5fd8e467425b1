"""What is served: the documents by which clients find groups, versions and resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clusters.reference.apiserver.resources import VMI, ResourceType, versions_of
from clusters.reference.release import KUBERNETES, VERSION

Object = dict[str, Any]

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

CONSOLE_GROUP = "subresources.kubevirt.io"

REVIEWS = (
    ResourceType(
        "authorization.k8s.io",
        ("v1",),
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        False,
    ),
    ResourceType(
        "authorization.k8s.io",
        ("v1",),
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        False,
    ),
)
"""Answered on the spot and never stored."""

_SUBRESOURCES = {
    "binding": ("Binding", ("create",)),
    "eviction": ("Eviction", ("create",)),
    "exec": ("PodExecOptions", ("create", "get")),
    "log": ("Pod", ("get",)),
    "proxy": ("NodeProxyOptions", ("get",)),
    "token": ("TokenRequest", ("create",)),
}


def version_info() -> Object:
    """The answer of ``/version``."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


class Discovery:
    """The discovery documents of a server with these types."""

    def __init__(self, types: Sequence[ResourceType]) -> None:
        console = ResourceType(
            CONSOLE_GROUP,
            versions_of(VMI.group, types),
            VMI.kind,
            VMI.plural,
            VMI.singular,
            namespaced=True,
            subresources=("console",),
        )
        self._stored = tuple(types)
        self._types = (*types, *REVIEWS, console)

    @property
    def groups(self) -> tuple[str, ...]:
        """Named groups, without the core one."""
        return tuple(dict.fromkeys(type_.group for type_ in self._types if type_.group))

    def core_versions(self) -> Object:
        """The answer of ``/api``."""
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}

    def group_list(self) -> Object:
        """The answer of ``/apis``."""
        groups = [
            {key: value for key, value in (self.group(name) or {}).items() if key != "kind"}
            for name in self.groups
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def group(self, name: str) -> Object | None:
        """The answer of ``/apis/GROUP``, None for an unknown one."""
        versions = [
            {"groupVersion": f"{name}/{version}", "version": version}
            for version in versions_of(name, self._types)
        ]
        if not versions:
            return None
        return {
            "kind": "APIGroup",
            "apiVersion": "v1",
            "name": name,
            "versions": versions,
            "preferredVersion": versions[0],
        }

    def resource_list(self, group: str, version: str) -> Object | None:
        """The answer of ``/apis/GROUP/VERSION`` or ``/api/v1``, None for an unknown one."""
        types = self._in(group, version)
        if not types:
            return None
        resources: list[Object] = []
        for type_ in types:
            if type_.group != CONSOLE_GROUP:
                resources.append(
                    {
                        "name": type_.plural,
                        "singularName": type_.singular,
                        "namespaced": type_.namespaced,
                        "kind": type_.kind,
                        "verbs": list(self._verbs(type_)),
                        **({"shortNames": list(type_.short_names)} if type_.short_names else {}),
                        **({"categories": list(type_.categories)} if type_.categories else {}),
                    }
                )
            for name in type_.subresources:
                kind, verbs = _subresource(type_, name)
                resources.append(
                    {
                        "name": f"{type_.plural}/{name}",
                        "singularName": "",
                        "namespaced": type_.namespaced,
                        "kind": kind,
                        "verbs": list(verbs),
                    }
                )
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": resources,
        }

    def aggregated(self, groups: Sequence[str]) -> Object:
        """The same as one document (apidiscovery.k8s.io/v2), for some groups."""
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": [
                {
                    "metadata": {"name": group, "creationTimestamp": None},
                    "versions": [
                        {
                            "version": version,
                            "freshness": "Current",
                            "resources": [
                                self._aggregated(type_, version)
                                for type_ in self._in(group, version)
                            ],
                        }
                        for version in versions_of(group, self._types)
                    ],
                }
                for group in groups
            ],
        }

    def _aggregated(self, type_: ResourceType, version: str) -> Object:
        def kind(name: str) -> Object:
            return {"group": type_.group, "version": version, "kind": name}

        scope = "Namespaced" if type_.namespaced else "Cluster"
        entry: Object = {
            "resource": type_.plural,
            "responseKind": kind(type_.kind),
            "scope": scope,
            "singularResource": type_.singular,
            "verbs": list(self._verbs(type_)),
        }
        if type_.short_names:
            entry["shortNames"] = list(type_.short_names)
        if type_.categories:
            entry["categories"] = list(type_.categories)
        if type_.subresources:
            entry["subresources"] = [
                {
                    "subresource": name,
                    "responseKind": kind(_subresource(type_, name)[0]),
                    "verbs": list(_subresource(type_, name)[1]),
                }
                for name in type_.subresources
            ]
        return entry

    def _in(self, group: str, version: str) -> list[ResourceType]:
        return [
            type_ for type_ in self._types if type_.group == group and version in type_.versions
        ]

    def _verbs(self, type_: ResourceType) -> tuple[str, ...]:
        if type_ in self._stored:
            return VERBS
        return () if type_.group == CONSOLE_GROUP else ("create",)


def _subresource(type_: ResourceType, name: str) -> tuple[str, tuple[str, ...]]:
    if name == "console":
        return type_.kind, ("get",)
    return _SUBRESOURCES.get(name, (type_.kind, ("get", "patch", "update")))
