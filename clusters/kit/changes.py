"""What a run changes of a cluster beside what it makes: noted in the cluster, put back from there.

A ConfigMap in the run's namespace holds, for each object, what was there and what the run made of
it. It is written before the object is changed, so that whoever finds it can put everything back.
What somebody else has changed since is left alone.

Whoever may write to the namespace may have written the ConfigMap, and whoever puts back may have
more rights: only labels, gates and the annotation that scenarios change are put back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clusters.kit.api import Api, ApiError, Json
from clusters.kit.marks import Mark

NAME = "cpu-conformance-changes"
"""Of the ConfigMap."""
GATES = frozenset({"AlignCPUs", "CPUManager", "Sidecar"})
"""Feature gates that scenarios turn on and off."""
LABEL = re.compile(r"([a-z.]+/)?cpumanager")
"""Labels of nodes that scenarios take and give."""
PARITY = "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity"
"""The annotation of a KubeVirt CR that scenarios put and take."""
KUBEVIRTS, CONFIG_MAPS = "kubevirts", "configmaps"
CONFIG = "kubevirt-config"
"""The ConfigMap with the feature gates of old releases."""
CONFLICT = 409
TRIES = 5
"""How often an object is read again that somebody else changes meanwhile."""
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_VALUES = (None, "true", "false")
_NONE = "none"
_LONGEST = 256
"""Characters of an annotation that is put back: it says nothing but that it is there."""
Say = Callable[[str], None]


class RecordError(ApiError):
    """What is noted is not what this tool notes; nothing of it is put back."""


@dataclass(frozen=True)
class Labels:
    """Labels of a node; None stands for one that is not there.

    Attributes:
        was: before the run changed any of them.
        made: as the run made them.
    """

    node: str
    was: Mapping[str, str | None]
    made: Mapping[str, str | None]

    @property
    def key(self) -> str:
        """Under which it is noted."""
        return f"labels.{self.node}"

    @property
    def path(self) -> str:
        """Of the node in the API."""
        return f"/api/v1/nodes/{self.node}"

    def undone(self, obj: Json, say: Say) -> Json | None:
        """The merge patch that puts the labels of the node back; None when there is nothing to."""
        now = obj["metadata"].get("labels") or {}
        back: dict[str, str | None] = {}
        for label, was in self.was.items():
            value, made = now.get(label), self.made.get(label)
            if value == was:
                continue
            if value == made:
                back[label] = was
            else:
                say(
                    f"label {label} of node {self.node} is left alone: it was {was or _NONE}, the "
                    f"run made it {made or _NONE}, and somebody else {value or _NONE}"
                )
        for label, was in back.items():
            say(f"label {label} of node {self.node} is {was or _NONE} again")
        return {"metadata": {"labels": back}} if back else None


@dataclass(frozen=True)
class Gates:
    """The list of feature gates of a KubeVirt CR, or of the ConfigMap of old releases.

    Attributes:
        resource: ``kubevirts`` or ``configmaps``.
        was: the gates before the run changed them; None where there was no list.
        made: as the run made them.
    """

    resource: str
    namespace: str
    name: str
    was: Sequence[str] | None
    made: Sequence[str] | None

    @property
    def key(self) -> str:
        """Under which it is noted."""
        return f"gates.{self.resource}.{self.namespace}.{self.name}"

    @property
    def path(self) -> str:
        """Of the object in the API."""
        root = "/apis/kubevirt.io/v1" if self.resource == KUBEVIRTS else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{self.resource}/{self.name}"

    def patch(self, gates: Sequence[str] | None) -> Json:
        """The merge patch by which the object has these gates."""
        if self.resource == CONFIG_MAPS:
            return {"data": {"feature-gates": None if gates is None else ",".join(gates)}}
        listed = None if gates is None else list(gates)
        developer = {"developerConfiguration": {"featureGates": listed}}
        return {"spec": {"configuration": developer}}

    def undone(self, obj: Json, say: Say) -> Json | None:
        """The merge patch that puts the gates back; None when there is nothing to."""
        now = gates_of(self.resource, obj)
        if now == _listed(self.was):
            return None
        kept = list(now or ())
        for gate in sorted(set(self.was or ()) ^ set(self.made or ())):
            was = gate in (self.was or ())
            if (gate in kept) == was:
                continue
            kept = [*kept, gate] if was else [each for each in kept if each != gate]
            say(f"feature gate {gate} of {self.namespace}/{self.name} is {_on(was)} again")
        if now == _listed(self.made):
            # Nobody else has touched the list: it gets its old order, or goes.
            return self.patch(self.was)
        say(f"whatever else was changed of {self.namespace}/{self.name} since is left alone")
        return None if kept == now else self.patch(kept)


@dataclass(frozen=True)
class Parity:
    """The annotation of a KubeVirt CR that makes CPUs even; None stands for one that is not there.

    Attributes:
        was: before the run changed it.
        made: as the run made it.
    """

    namespace: str
    name: str
    was: str | None
    made: str | None

    @property
    def key(self) -> str:
        """Under which it is noted."""
        return f"parity.{self.namespace}.{self.name}"

    @property
    def path(self) -> str:
        """Of the KubeVirt CR in the API."""
        return f"/apis/kubevirt.io/v1/namespaces/{self.namespace}/{KUBEVIRTS}/{self.name}"

    def patch(self, value: str | None) -> Json:
        """The merge patch by which the CR has the annotation with this value."""
        return {"metadata": {"annotations": {PARITY: value}}}

    def undone(self, obj: Json, say: Say) -> Json | None:
        """The merge patch that puts the annotation back; None when there is nothing to."""
        now = (obj["metadata"].get("annotations") or {}).get(PARITY)
        if now == self.was:
            return None
        if now != self.made:
            say(f"annotation {PARITY} of {self.name} is left alone: somebody else changed it")
            return None
        say(f"annotation {PARITY} of {self.name} is {_NONE if self.was is None else 'there'} again")
        return self.patch(self.was)


Change = Labels | Gates | Parity


def gates_of(resource: str, obj: Json) -> list[str] | None:
    """The feature gates that an object lists; None without a list."""
    if resource == CONFIG_MAPS:
        text = (obj.get("data") or {}).get("feature-gates")
        return None if text is None else [each.strip() for each in text.split(",") if each.strip()]
    configuration = (obj.get("spec") or {}).get("configuration") or {}
    return _listed((configuration.get("developerConfiguration") or {}).get("featureGates"))


def note(api: Api, namespace: str, mark: Mark, changes: Iterable[Change]) -> None:
    """Notes changes that are about to be made. What was there first is kept. Raises ApiError."""
    found = api.find(_path(namespace))
    noted = {each.key: each for each in _noted(found)}
    data = {}
    for change in changes:
        former = noted.get(change.key)
        data[change.key] = _text(_merged(former, change) if former else change)
    if found is None:
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": data}
        api.create(_path(namespace).removesuffix(f"/{NAME}"), mark.on(obj))
    else:
        api.merge(_path(namespace), {"data": data})


def noted(api: Api, namespace: str) -> list[Change]:
    """What a run has changed and nobody has put back yet. Raises ApiError, RecordError."""
    return _noted(api.find(_path(namespace)))


def put_back(api: Api, namespace: str, say: Say) -> None:
    """Puts back what is noted, labels first, and forgets it.

    Raises ApiError for what could not be; the rest is done all the same.
    """
    changes = sorted(noted(api, namespace), key=lambda each: not isinstance(each, Labels))
    done: dict[str, None] = {}
    failed = []
    for change in changes:
        try:
            _put_back(api, change, say)
            done[change.key] = None
        except ApiError as error:
            failed.append(error)
    if failed:
        if done:
            api.merge(_path(namespace), {"data": done})
        raise failed[0]
    if changes:
        api.delete(_path(namespace))


def _put_back(api: Api, change: Change, say: Say) -> None:
    """Only what nobody else changes in the same moment is written. Raises ApiError."""
    for _ in range(TRIES):
        found = api.find(change.path)
        if found is None:
            say(f"{change.path} is not there any more")
            return
        said: list[str] = []
        patch = change.undone(found, said.append)
        if patch is not None:
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            patch = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
            try:
                api.merge(change.path, patch)
            except ApiError as error:
                if error.code == CONFLICT:
                    continue
                raise
        for line in said:
            say(line)
        return
    raise ApiError(f"{change.path} is changed by somebody else all the time")


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"


def _merged(former: Change, change: Change) -> Change:
    """What was there before the first change, and what the last one makes of it."""
    if isinstance(former, Labels) and isinstance(change, Labels):
        return replace(
            former, was={**change.was, **former.was}, made={**former.made, **change.made}
        )
    if isinstance(former, Gates) and isinstance(change, Gates):
        return replace(former, made=change.made)
    assert isinstance(former, Parity)
    assert isinstance(change, Parity)
    return replace(former, made=change.made)


def _text(change: Change) -> str:
    return json.dumps(vars(change), sort_keys=True)


def _noted(record: Json | None) -> list[Change]:
    data = ((record or {}).get("data") or {}).items()
    return [_change(key, text) for key, text in sorted(data)]


def _change(key: str, text: str) -> Change:
    """What a text notes. Raises RecordError."""
    try:
        told = json.loads(text)
        kind = Labels if "node" in told else Gates if "resource" in told else Parity
        made: Change = kind(**told)
        fine = made.key == key and all(_fine(made))
    except (AttributeError, TypeError, ValueError, RecursionError):
        fine = False
    if not fine:
        raise RecordError(
            f"ConfigMap {NAME}: {key!a} is no change that a run makes: {text[:200]!a}"
        )
    return made


def _fine(change: Change) -> Iterator[bool]:
    """Whether it is about what scenarios change, and nothing else."""
    if isinstance(change, Labels):
        yield _named(change.node)
        for labels in (change.was, change.made):
            yield isinstance(labels, dict)
            for label, value in labels.items():
                yield bool(LABEL.fullmatch(label)) and value in _VALUES
        return
    yield _named(change.namespace) and _named(change.name)
    if isinstance(change, Parity):
        for text in (change.was, change.made):
            yield text is None or (isinstance(text, str) and len(text) < _LONGEST)
        return
    yield change.resource == KUBEVIRTS or (change.resource == CONFIG_MAPS and change.name == CONFIG)
    for gates in (change.was, change.made):
        yield gates is None or (
            isinstance(gates, list) and all(isinstance(gate, str) for gate in gates)
        )
    yield set(change.was or ()) ^ set(change.made or ()) <= GATES


def _named(name: object) -> bool:
    return isinstance(name, str) and _OBJECT.fullmatch(name) is not None


def _listed(gates: Sequence[str] | None) -> list[str] | None:
    return None if gates is None else list(gates)


def _on(on: object) -> str:
    return "on" if on else "off"
