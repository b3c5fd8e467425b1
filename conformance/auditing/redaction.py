"""Names in evidence that is handed on: each is replaced by one and the same pseudonym.

What is judged are relations, which pseudonyms keep. They are made with a key that nobody keeps, so
that no list of names tries them out. Names of containers, images, processes and cgroups stay.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from conformance.collecting.snapshot import NODES
from conformance.model.evidence import RawDomain, RawSnapshot
from conformance.model.vocabulary import HOSTNAME, MIGRATES_TO, ON_NODE, VM_NAME

Json = dict[str, Any]

_BY_KEY = {
    **dict.fromkeys(("nodeName", "targetNode", "sourceNode", ON_NODE), "node"),
    **dict.fromkeys(("targetPod", "sourcePod"), "pod"),
    HOSTNAME: "node",
    MIGRATES_TO: "node",
    "namespace": "ns",
    VM_NAME: "vmi",
}
"""Members, labels and selectors whose value is a name, and of what."""


class Redaction:
    """Replaces names; this one replaces none."""

    def snapshot(self, raw: RawSnapshot) -> RawSnapshot:
        """A snapshot as it is written."""
        return raw

    def run(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        """A ``run.json`` as it is written."""
        return run


PLAIN = Redaction()


class Pseudonyms(Redaction):
    """Replaces names of nodes, namespaces, pods and VMIs by ``KIND-DIGITS``, always the same."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._known: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def name(self, kind: str, name: str) -> str:
        """The pseudonym of a name, which is replaced in texts from now on."""
        if name not in self._known:
            digest = hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:10]
            self._known[name] = f"{kind}-{digest}"
            self._pattern = None
        return self._known[name]

    def snapshot(self, raw: RawSnapshot) -> RawSnapshot:
        """As `Redaction.snapshot`."""
        pods = tuple(self._object("pod", pod) for pod in raw.pods)
        changed = replace(
            raw,
            manifest=self._object("vmi", raw.manifest),
            vmi=raw.vmi and self._object("vmi", raw.vmi),
            pod=raw.pod and self._object("pod", raw.pod),
            node=raw.node and self._object("node", raw.node),
            pods=pods,
        )
        case = _case(changed.manifest, changed.node) if raw.case else raw.case
        return replace(
            changed,
            case=case,
            scenario=case if raw.scenario else "",
            files={self._text(path): text for path, text in raw.files.items()},
            domain=raw.domain and RawDomain(**self._texts(asdict(raw.domain))),
            not_observed=self._texts(raw.not_observed),
            unreadable=self._texts(raw.unreadable),
            torn=raw.torn and self._text(raw.torn),
        )

    def run(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `Redaction.run`; where the API server is goes as well."""
        setting = dict(run.get("setting") or {})
        setting["nodes"] = self._keys("node", setting.get("nodes") or {})
        cases = []
        for each in run["cases"]:
            manifest = self._object("vmi", each["manifest"])
            case = _case(manifest, None)
            cases.append({"id": case, "title": f"VMI {case}", "manifest": manifest})
        audit = run["audit"]
        nodes = [self.name("node", each.removeprefix(f"{NODES}/")) for each in audit["nodes"]]
        return {
            **run,
            "run": {**run["run"], "id": self.name("cluster", run["run"]["id"]), "command": ""},
            "matrix": "what runs on a cluster whose names are hidden",
            "setting": setting,
            "cases": cases,
            "cluster": {
                **run["cluster"],
                "stack": "a cluster whose names are hidden",
                "nodes": self._keys("node", run["cluster"].get("nodes") or {}),
            },
            "capabilities": {
                name: {**each, "reason": "names are hidden"}
                for name, each in run["capabilities"].items()
            },
            "audit": {**audit, "nodes": [f"{NODES}/{name}" for name in nodes]},
            "unjudged": [
                {"what": self._case_id(each["what"]), "why": self._text(each["why"])}
                for each in run.get("unjudged", ())
            ],
        }

    def _case_id(self, case: str) -> str:
        namespace, _, name = case.partition(".")
        return f"{self.name('ns', namespace)}.{self.name('vmi', name)}"

    def _keys(self, kind: str, mapping: Mapping[str, Any]) -> Json:
        return {self.name(kind, key): value for key, value in mapping.items()}

    def _object(self, kind: str, obj: Mapping[str, Any]) -> Json:
        """An API object; the name of one of that kind is in its metadata."""
        changed = self._value(dict(obj), "")
        metadata = changed.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
            metadata["name"] = self.name(kind, metadata["name"])
        return dict(changed)

    def _value(self, value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: self._value(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self._value(each, key) for each in value]
        kind = _BY_KEY.get(key)
        return self.name(kind, value) if kind and isinstance(value, str) and value else value

    def _texts(self, value: Mapping[str, Any]) -> Json:
        return {
            self._text(key): self._text(each)
            if isinstance(each, str)
            else (self._texts(each) if isinstance(each, Mapping) else each)
            for key, each in value.items()
        }

    def _text(self, text: str) -> str:
        """A text with the names in it replaced, where they stand as words of their own."""
        if self._pattern is None:
            names = sorted(self._known, key=len, reverse=True)
            words = "|".join(map(re.escape, names))
            # libvirt calls a domain NAMESPACE_NAME; a sentence may end with a name.
            self._pattern = re.compile(rf"(?<![A-Za-z0-9-])(?:{words})(?![A-Za-z0-9-])")
        return self._pattern.sub(lambda found: self._known[found[0]], text)


def _case(manifest: Mapping[str, Any], node: Mapping[str, Any] | None) -> str:
    metadata = manifest.get("metadata") or {}
    if metadata:
        return f"{metadata['namespace']}.{metadata['name']}"
    return f"{NODES}/{((node or {}).get('metadata') or {}).get('name', '')}"
