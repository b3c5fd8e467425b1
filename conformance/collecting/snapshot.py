"""Takes a snapshot of one workload: every layer, between two looks at its identity.

Longer than 400 lines: each layer is a few lines, and all of them fill one snapshot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from clusters.contract.access import AccessError, ClusterAccess
from clusters.kit.api import Api, ApiError, Json
from clusters.kit.launchers import launchers
from conformance.collecting import api as paths
from conformance.collecting import least
from conformance.collecting.node import KUBELET, NodeReader
from conformance.model.defect import defect
from conformance.model.evidence import Former, RawDomain, RawSnapshot
from conformance.model.vocabulary import DELETED, EVERY_NODE
from conformance.parsing.errors import ParseError
from conformance.parsing.guest import guest
from conformance.parsing.proc import RT_RUNTIME

T = TypeVar("T")

TORN_TRIES = 3
"""A pod that changes each time it is looked at is not settled; then the last try is kept."""

NODES = "_nodes"
"""Under this name stands what was seen of every node by itself; no case can be called so."""
NODES_AT_ONCE = 8
PAGE = "500"
"""Objects that one answer of a list has at the most."""
STILL_THERE = "still there"
"""`RawSnapshot.gone` of a workload whose pod has not gone yet."""
_MIGRATION = ("startTimestamp", "endTimestamp", "failed", "targetPod")


def utc_now() -> str:
    """Now, as evidence writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Collector:
    """Takes snapshots on one cluster, for one process."""

    def __init__(
        self, api: Api, access: ClusterAccess, version: str, *, own: str | None = None
    ) -> None:
        """A collector that has read nothing yet.

        Args:
            api: of the cluster.
            access: to the cluster.
            version: API version in which VMIs are read, such as ``v1``.
            own: the namespace that the run has for itself. Consoles are opened nowhere else: a key
                would be pressed in somebody's guest, and whoever uses its console be cut off. Of
                what is elsewhere no more is kept than is judged (`conformance.collecting.least`).
        """
        self.api = api
        self._access = access
        self._version = version
        self._own = own
        self._nodes: dict[str, NodeReader] = {}

    def refused(self, case: str, manifest: Json, status: Json, moment: str) -> RawSnapshot:
        """The record of a creation that the API refused."""
        now = utc_now()
        return RawSnapshot(case, "", moment, now, now, manifest, rejection=status)

    def running(
        self, case: str, manifest: Json, namespace: str, moment: str, *, scenario: str = ""
    ) -> RawSnapshot:
        """Everything about the VMI or pod of that manifest, whatever its state."""
        raw = self._running(case, manifest, namespace, moment, scenario)
        for _ in range(TORN_TRIES - 1):
            if raw.torn is None:
                break
            raw = self._running(case, manifest, namespace, moment, scenario)
        return raw

    def node(self, scenario: str, moment: str, node: str) -> RawSnapshot:
        """A node with everything on it; torn when a container came or went meanwhile."""
        began, layers = utc_now(), Layers()
        raw = RawSnapshot(scenario, scenario, moment, began, began, {})
        raw = self._on_node(raw, node, layers)
        after = layers.read("pods", lambda: self._pods_on(node)) or ()
        torn = None if present(raw.pods) == present(after) else "containers came or went"
        return replace(raw, ended=utc_now(), not_observed=layers.not_observed, torn=torn)

    def labels(self) -> list[RawSnapshot]:
        """What labels and the CPU manager say on every node of the cluster, and nothing else.

        Nodes that may not be looked into are there as well, with the reason. Raises ApiError,
        TransientError.
        """
        nodes = self.api.items(paths.core("nodes"))
        with ThreadPoolExecutor(NODES_AT_ONCE, thread_name_prefix="labels") as pool:
            return list(pool.map(self._labels, nodes))

    def _labels(self, node: Json) -> RawSnapshot:
        began, layers, name = utc_now(), Layers(), node["metadata"]["name"]
        layers.missing("pods", "they were not asked for: only labels were looked at")
        files: dict[str, str] = {}
        unreadable: Mapping[str, str] = {}
        if name in self._access.nodes:
            paths_ = [*(f"{self._access.kubelet_root}/{file}" for file in KUBELET), RT_RUNTIME]
            read = layers.read("files", lambda: self._access.node_shell(name).read(paths_))
            if read is not None:
                files, unreadable = dict(read.files), read.unreadable
        else:
            layers.missing("files", f"node {name} is none that may be looked into")
        if _ready(node):
            self._configz(name, files, layers)
        return RawSnapshot(
            NODES,
            NODES,
            EVERY_NODE,
            began,
            utc_now(),
            {},
            node=least.node(node),
            files=files,
            unreadable=unreadable,
            not_observed=layers.not_observed,
        )

    def console(self, manifest: Json, namespace: str) -> RawSnapshot | None:
        """A snapshot of nothing but the guest's console; None when it cannot be read."""
        now, layers = utc_now(), Layers()
        name = manifest["metadata"]["name"]
        text = self._read_console(namespace, name, layers)
        if text is None:
            return None
        return RawSnapshot("", "", "booting", now, now, manifest, console=text)

    def deleted(
        self,
        case: str,
        manifest: Json,
        node: str,
        former: Former,
        *,
        gone: str = "",
        scenario: str = "",
    ) -> RawSnapshot:
        """What there still is of a workload that has been deleted.

        `gone` is when its pod was first seen to have gone, by an earlier look.
        """
        began, layers, pod = utc_now(), Layers(), None
        # One that has gone does not come back with its UID.
        if gone in ("", STILL_THERE):
            pod = layers.read("pod", lambda: self.pod(former))
            there = pod is not None or "pod" in layers.not_observed
            gone = STILL_THERE if there else began
        raw = RawSnapshot(
            case,
            scenario,
            DELETED,
            began,
            began,
            manifest,
            pod=pod,
            former=former,
            gone=gone,
        )
        raw = self._on_node(raw, node, layers)
        return replace(raw, ended=utc_now(), not_observed=layers.not_observed)

    def _running(
        self, case: str, manifest: Json, namespace: str, moment: str, scenario: str
    ) -> RawSnapshot:
        began = utc_now()
        layers = Layers()
        name = manifest["metadata"]["name"]
        plain = _is_pod(manifest)
        vmi = None if plain else layers.read("vmi", lambda: self._vmi(namespace, name))
        pod = layers.read("pod", lambda: self._own_pod(manifest, namespace, vmi))
        raw = RawSnapshot(case, scenario, moment, began, began, manifest, vmi=vmi, pod=pod)
        raw = replace(raw, events=tuple(layers.read("events", lambda: self._events(raw)) or ()))
        node = ((pod or {}).get("spec") or {}).get("nodeName")
        if vmi is None and not plain:
            layers.missing("vmi", f"there is no VMI {namespace}/{name}")
        elif pod is None:
            nothing = f"there is no pod {namespace}/{name}"
            lacking = f"VMI {namespace}/{name} has no launcher pod"
            layers.missing("pod", nothing if plain else lacking)
        elif node is None:
            layers.missing("node", f"pod {pod['metadata']['name']} is not bound to a node")
        else:
            raw = self._on_node(raw, node, layers)
            if maps_numa(manifest):
                raw = self._of_guest(raw, node, str(pod["metadata"]["uid"]), layers)
            if not plain:
                domain = layers.read("domain", lambda: self._domain(namespace, name, pod))
                console = self._read_console(namespace, name, layers)
                raw = replace(raw, domain=domain, console=console)
        there = vmi is not None or pod is not None
        torn = self._identity_changed(raw, namespace) if there else None
        return replace(raw, ended=utc_now(), not_observed=layers.not_observed, torn=torn)

    def _on_node(self, raw: RawSnapshot, node: str, layers: Layers) -> RawSnapshot:
        node_object = layers.read("node", lambda: self._node(node))
        pods = layers.read("pods", lambda: self._pods_on(node)) or ()
        files, unreadable, hardware = self._files(node, layers)
        return replace(
            raw,
            node=node_object,
            pods=tuple(pods),
            hardware=hardware,
            files=files,
            unreadable=unreadable,
            clock=self._clock(node),
        )

    def _clock(self, node: str) -> str:
        """The time of a node when its files were last read; empty where that is not known."""
        return self._nodes[node].clock if node in self._nodes else ""

    def _files(
        self, node: str, layers: Layers
    ) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]:
        reader = layers.read("files", lambda: self._reader(node))
        if reader is None:
            return {}, {}, {}
        files, unreadable = layers.read("files", reader.files) or ({}, {})
        self._configz(node, files, layers)
        return files, unreadable, layers.read("files", reader.hardware) or {}

    def _of_guest(self, raw: RawSnapshot, node: str, uid: str, layers: Layers) -> RawSnapshot:
        """With how the guest in a pod is scheduled, and where its memory is."""
        read = layers.read("memory", lambda: self._reader(node).guest(uid, raw.files))
        if read is None:
            return raw
        files, unreadable = read
        return replace(
            raw,
            files={**raw.files, **files},
            unreadable={**raw.unreadable, **unreadable},
        )

    def work(self, pod: Json) -> float:
        """CPU time that a pod has had so far, seconds; 0 where that cannot be seen."""
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            return 0.0
        uid = str(pod["metadata"]["uid"])
        return Layers().read("work", lambda: self._reader(node).work(uid)) or 0.0

    def _reader(self, node: str) -> NodeReader:
        if node not in self._nodes:
            shell = self._access.node_shell(node)
            self._nodes[node] = NodeReader(shell, self._access.kubelet_root)
        return self._nodes[node]

    def _configz(self, node: str, files: dict[str, str], layers: Layers) -> None:
        """Adds the running configuration of a kubelet, where it may be read."""
        configz = f"/api/v1/nodes/{node}/proxy/configz"
        answer = layers.read("configz", lambda: self.api.find(configz))
        if answer is not None:
            files[configz] = json.dumps(answer, sort_keys=True)

    def _vmi(self, namespace: str, name: str) -> Json | None:
        found = self.api.find(paths.vmis(self._version, namespace, name))
        return found if found is None or namespace == self._own else least.vmi(found)

    def _own_pod(
        self, manifest: Mapping[str, Any], namespace: str, vmi: Json | None
    ) -> Json | None:
        if _is_pod(manifest):
            return self.api.find(paths.core("pods", namespace, manifest["metadata"]["name"]))
        if vmi is None:
            return None
        found = next(iter(launchers(self.api, namespace, vmi)), None)
        return found and self._kept(found)

    def pod(self, former: Former) -> Json | None:
        """The pod of a workload that was deleted, as long as it is there.

        Raises ApiError, TransientError.
        """
        pod = self.api.find(paths.core("pods", former.pod_namespace, former.pod_name))
        return pod if pod and pod["metadata"]["uid"] == former.pod_uid else None

    def _pods_on(self, node: str) -> list[Json]:
        where = f"spec.nodeName={node}"
        listed = self.api.items(paths.core("pods"), fieldSelector=where, limit=PAGE)
        return [self._kept(pod) for pod in listed]

    def _node(self, name: str) -> Json | None:
        found = self.api.find(paths.core("nodes", name=name))
        return found and least.node(found)

    def _kept(self, pod: Json) -> Json:
        return pod if pod["metadata"].get("namespace") == self._own else least.pod(pod)

    def _events(self, raw: RawSnapshot) -> Iterable[Json]:
        # They tell why something does not run; of what runs nobody asks.
        if ((raw.vmi or {}).get("status") or {}).get("phase") == "Running":
            return []
        # Asked for by name: those of a whole namespace grow with every case of the run.
        return [
            event
            for metadata in (obj["metadata"] for obj in (raw.vmi, raw.pod) if obj)
            for event in self.api.items(
                paths.core("events", metadata["namespace"]),
                fieldSelector=f"involvedObject.name={metadata['name']}",
            )
        ]

    def _read_console(self, namespace: str, name: str, layers: Layers) -> str | None:
        if namespace != self._own:
            why = "its VMI is not one of this run, and nobody else's console is opened"
            layers.missing("console", why)
            return None
        return layers.read("console", lambda: self._console(namespace, name))

    def _console(self, namespace: str, name: str) -> str:
        def enough(text: str) -> bool:
            try:
                return guest(text, "the guest's console") is not None
            except ParseError:
                return True

        return self._access.guest_console.text(namespace, name, enough)

    def _domain(self, namespace: str, name: str, pod: Json | None) -> RawDomain:
        if pod is None or not _works(pod):
            raise AccessError(f"no launcher pod of {namespace}/{name} runs")
        view = self._access.libvirt.view(namespace, name, pod)
        return RawDomain(
            xml=view.xml if namespace == self._own else least.domain(view.xml),
            vcpu_pins={str(vcpu): _cpus(pins) for vcpu, pins in view.vcpu_pins.items()},
            emulator_pin=_cpus(view.emulator_pin),
            iothread_pins={str(thread): _cpus(pins) for thread, pins in view.iothread_pins.items()},
            source=view.source,
            versions=view.versions,
        )

    def _identity_changed(self, raw: RawSnapshot, namespace: str) -> str | None:
        """What of the workload's identity is no longer what it was when reading began."""
        try:
            name = raw.manifest["metadata"]["name"]
            vmi = None if _is_pod(raw.manifest) else self._vmi(namespace, name)
            pod = self._own_pod(raw.manifest, namespace, vmi)
        except ApiError as error:
            return f"the identity could not be read again: {error}"
        before, after = identity(raw.vmi, raw.pod), identity(vmi, pod)
        changed = [
            f"{what} was {before[what]}, then {after[what]}"
            for what in before
            if before[what] != after[what]
        ]
        return "; ".join(changed) or None


def former(raw: RawSnapshot, exclusive: str) -> Former | None:
    """What must be looked for when this workload is gone; None when it never had a pod."""
    if raw.pod is None:
        return None
    metadata = raw.pod["metadata"]
    return Former(
        pod_namespace=metadata["namespace"],
        pod_name=metadata["name"],
        pod_uid=metadata["uid"],
        container_ids=tuple(sorted(_container_ids(raw.pod).values())),
        exclusive=exclusive,
    )


def _works(pod: Mapping[str, Any]) -> bool:
    """Whether it runs, and is not being deleted."""
    running = (pod.get("status") or {}).get("phase") == "Running"
    return running and not pod["metadata"].get("deletionTimestamp")


def maps_numa(manifest: Mapping[str, Any]) -> bool:
    """Whether a VMI asks for the host's NUMA nodes: of no other is its memory judged."""
    return '"guestMappingPassthrough"' in json.dumps(manifest, default=str)


def _is_pod(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("kind") == "Pod"


def identity(vmi: Mapping[str, Any] | None, pod: Mapping[str, Any] | None) -> dict[str, object]:
    """What must not change of a workload while it is looked at, by what it is."""
    status = (vmi or {}).get("status") or {}
    migration = status.get("migrationState") or {}
    return {
        "the VMI's uid": vmi and vmi["metadata"]["uid"],
        "the VMI's phase": status.get("phase"),
        "the VMI's node": status.get("nodeName"),
        "the VMI's deletion": vmi and vmi["metadata"].get("deletionTimestamp"),
        "the VMI's migration": tuple(map(migration.get, _MIGRATION)),
        "the pod's uid": pod and pod["metadata"]["uid"],
        "the pod's phase": ((pod or {}).get("status") or {}).get("phase"),
        "the pod's deletion": pod and pod["metadata"].get("deletionTimestamp"),
        "the node": pod and pod["spec"].get("nodeName"),
        "the container ids": pod and _container_ids(pod),
        "restarts": pod and _restarts(pod),
    }


def present(pods: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The ids of containers by name, by the UID of their pod."""
    return {pod["metadata"]["uid"]: _container_ids(pod) for pod in pods}


def _container_ids(pod: Mapping[str, Any]) -> dict[str, str]:
    status = pod.get("status") or {}
    return {
        item["name"]: re.sub("^.*://", "", item["containerID"])
        for key in ("initContainerStatuses", "containerStatuses")
        for item in status.get(key) or ()
        if item.get("containerID")
    }


def _restarts(pod: Mapping[str, Any]) -> dict[str, int]:
    status = pod.get("status") or {}
    return {
        item["name"]: item.get("restartCount", 0)
        for key in ("initContainerStatuses", "containerStatuses")
        for item in status.get(key) or ()
    }


def _ready(node: Mapping[str, Any]) -> bool:
    """Whether a kubelet answers there: one that is away is not waited for."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any((c.get("type"), c.get("status")) == ("Ready", "True") for c in conditions)


class Layers:
    """Reads layers; one that cannot be read is not observed, and says why."""

    def __init__(self) -> None:
        self.not_observed: dict[str, str] = {}

    def read(self, layer: str, call: Callable[[], T]) -> T | None:
        """What is read, None where it cannot be."""
        try:
            return call()
        except AccessError as error:
            self.missing(layer, str(error))
        except Exception as error:
            # What the harness does not understand of one layer costs that layer, and not the run.
            self.missing(layer, defect(error))
        return None

    def missing(self, layer: str, why: str) -> None:
        """Notes why a layer is not observed; the first reason counts."""
        self.not_observed.setdefault(layer, why)


def _cpus(cpus: Iterable[int]) -> str:
    return ",".join(map(str, sorted(cpus)))
