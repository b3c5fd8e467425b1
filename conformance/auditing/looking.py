"""Looks at one node for all the VMIs on it: once, from the API and the node's files.

Nothing of a guest is touched: no console, and no command in a launcher unless libvirt was asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from clusters.contract.access import ClusterAccess
from clusters.kit.api import Json
from conformance.auditing.meter import Meter, MeteredApi, MeteredShell
from conformance.auditing.states import Found, State, dedicated, found
from conformance.collecting import api as paths
from conformance.collecting import least
from conformance.collecting.node import NodeReader
from conformance.collecting.snapshot import (
    NODES,
    PAGE,
    Collector,
    Layers,
    identity,
    maps_numa,
    present,
    utc_now,
)
from conformance.model.evidence import RawSnapshot
from conformance.model.vocabulary import CREATED_BY, EVERY_NODE, ON_NODE, RUNNING

LAUNCHER_COMMANDS = 1
"""In a launcher, of a look through libvirt: one line asks for everything."""


@dataclass(frozen=True)
class Look:
    """What one look at a node showed.

    Attributes:
        node: the node by itself.
        vmis: of each dedicated VMI that was to be looked at, by UID; None in the place of the
            snapshot for one that is not judged in its state.
    """

    node: RawSnapshot
    vmis: Mapping[str, tuple[Found, RawSnapshot | None]]


class Looker(Collector):
    """Looks at nodes; may be used by several threads, for one node each."""

    def __init__(
        self,
        api: MeteredApi,
        access: ClusterAccess,
        version: str,
        meter: Meter,
        *,
        libvirt: bool,
    ) -> None:
        """A looker that has seen nothing yet; `libvirt` is whether launchers' libvirt is asked."""
        super().__init__(api, access, version)
        self._meter, self._libvirt = meter, libvirt

    def vmis(self, namespace: str = "", selector: str = "") -> list[Json]:
        """The dedicated VMIs of a namespace, or of all, that have these labels.

        Raises ApiError.
        """
        query = {"limit": PAGE, **({"labelSelector": selector} if selector else {})}
        scope = f"namespaces/{namespace}/" if namespace else ""
        path = f"/apis/kubevirt.io/{self._version}/{scope}virtualmachineinstances"
        return [least.vmi(each) for each in self.api.items(path, **query) if dedicated(each)]

    def nodes(self) -> list[Json]:
        """Every node. Raises ApiError."""
        return [least.node(each) for each in self.api.items(paths.core("nodes"), limit=PAGE)]

    def look(self, node: Json, wanted: Iterable[Json]) -> Look:
        """A node, with everything on it, and these of its VMIs."""
        name, began, layers = str(node["metadata"]["name"]), utc_now(), Layers()
        known = node if "status" in node else None
        raw = RawSnapshot(
            node_case(name), node_case(name), EVERY_NODE, began, began, {}, node=known
        )
        if known is None:
            layers.missing("node", f"node {name} was not among the nodes that are listed")
        before = self._on(name, layers)
        pods = tuple(layers.read("pods", lambda: self._pods_on(name)) or ())
        files, unreadable, hardware = self._files(name, layers)
        for uid in self._of_numa(wanted, pods):
            guest = layers.read("memory", partial(self._guest, name, uid, files)) or ({}, {})
            files, unreadable = {**files, **guest[0]}, {**unreadable, **guest[1]}
        raw = replace(raw, pods=pods, files=files, unreadable=unreadable, hardware=hardware)
        raw = replace(raw, clock=self._clock(name))
        domains = self._domains(wanted, pods) if self._libvirt else {}
        shared = dict(layers.not_observed)
        after = layers.read("pods", lambda: self._pods_on(name)) or ()
        still = self._on(name, layers)
        came = None if present(pods) == present(after) else "containers came or went"
        raw = replace(raw, ended=utc_now(), not_observed=layers.not_observed, torn=came)
        vmis: dict[str, tuple[Found, RawSnapshot | None]] = {}
        for planned in wanted:
            uid = str(planned["metadata"]["uid"])
            first, last = before.get(uid), still.get(uid)
            again = Layers()
            if first is None or last is None:
                first = first or planned
                last = again.read("vmi", partial(self._again, planned))
            if why := again.not_observed.get("vmi"):
                raw_vmi = replace(raw, **_about(first), torn=f"it could not be read again: {why}")
                vmis[uid] = (found(first), raw_vmi)
            else:
                vmis[uid] = self._vmi_at(raw, shared, (first, last), (pods, after), domains)
        # What they have in common is written once for all of them.
        common = {
            uid: (state, own and own.sharing(raw.look, raw.machine))
            for uid, (state, own) in vmis.items()
        }
        return Look(raw, common)

    def _of_numa(self, wanted: Iterable[Json], pods: Iterable[Json]) -> list[str]:
        """UIDs of the launchers of VMIs whose memory is judged."""
        uids = [str(vmi["metadata"]["uid"]) for vmi in wanted if maps_numa(vmi)]
        return [str(pod["metadata"]["uid"]) for uid in uids for pod in _launchers(pods, uid)]

    def _guest(
        self, node: str, uid: str, files: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        return self._reader(node).guest(uid, files)

    def _on(self, node: str, layers: Layers) -> Mapping[str, Json]:
        """The VMIs of a node, by UID."""
        path = f"/apis/kubevirt.io/{self._version}/virtualmachineinstances"
        query = {"labelSelector": f"{ON_NODE}={node}", "limit": PAGE}
        listed = layers.read("vmi", lambda: self.api.items(path, **query)) or ()
        return {str(each["metadata"]["uid"]): least.vmi(each) for each in listed}

    def _again(self, planned: Json) -> Json | None:
        """One that was not in the list of its node: as it is now, None for a VMI that is gone."""
        metadata = planned["metadata"]
        now = self._vmi(metadata["namespace"], metadata["name"])
        return now if now and now["metadata"]["uid"] == metadata["uid"] else None

    def _vmi_at(
        self,
        node: RawSnapshot,
        not_observed: Mapping[str, str],
        seen: tuple[Json, Json | None],
        pods: tuple[Iterable[Json], Iterable[Json]],
        domains: Mapping[str, Any],
    ) -> tuple[Found, RawSnapshot | None]:
        (vmi, later), (listed, listed_later) = seen, pods
        uid = str(vmi["metadata"]["uid"])
        if later is None:
            return _gone(vmi), None
        launchers, later_ones = _launchers(listed, uid), _launchers(listed_later, uid)
        for each, of in ((vmi, launchers), (later, later_ones)):
            state = found(each, of)
            if not state.judged:
                return state, None
        pod = next(iter(launchers), None)
        was, now = identity(vmi, pod), identity(later, next(iter(later_ones), None))
        changed = "; ".join(f"{k} was {was[k]}, then {now[k]}" for k in was if was[k] != now[k])
        missing = dict(not_observed)
        if pod is None:
            where = (vmi.get("status") or {}).get("nodeName")
            missing.setdefault("pod", f"the VMI has no launcher on node {where}")
        missing["console"] = "nobody else's console is opened"
        domain, why = domains.get(uid, (None, "libvirt was not asked"))
        if domain is None:
            missing.setdefault("domain", why)
        return found(later, later_ones), replace(
            node,
            **_about(vmi),
            vmi=later,
            pod=pod,
            domain=domain,
            not_observed=missing,
            torn=changed or None,
        )

    def _domains(self, wanted: Iterable[Json], pods: Iterable[Json]) -> Mapping[str, Any]:
        answers = {}
        for metadata in (vmi["metadata"] for vmi in wanted):
            launcher = next(iter(_launchers(pods, str(metadata["uid"]))), None)
            layers, about = Layers(), (metadata["namespace"], metadata["name"], launcher)
            self._meter.launcher(LAUNCHER_COMMANDS)
            domain = layers.read("domain", partial(self._domain, *about))
            answers[str(metadata["uid"])] = (domain, layers.not_observed.get("domain", ""))
        return answers

    def _reader(self, node: str) -> NodeReader:
        if node not in self._nodes:
            shell = MeteredShell(self._access.node_shell(node), node, self._meter)
            self._nodes[node] = NodeReader(shell, self._access.kubelet_root)
        return self._nodes[node]


def case_of(vmi: Json) -> str:
    """The id of a VMI's case: ``NAMESPACE.NAME``."""
    return f"{vmi['metadata']['namespace']}.{vmi['metadata']['name']}"


def node_case(name: str) -> str:
    """The id of the case of a node by itself; no VMI has one like it."""
    return f"{NODES}/{name}"


def _about(vmi: Json) -> dict[str, Any]:
    """What a snapshot of a VMI has and one of its node has not."""
    return {
        "case": case_of(vmi),
        "scenario": "",
        "moment": RUNNING,
        "manifest": manifest_of(vmi),
    }


def manifest_of(vmi: Json) -> Json:
    """What was asked for: the stored spec."""
    head = {"apiVersion": vmi.get("apiVersion", "kubevirt.io/v1"), "kind": vmi.get("kind", "")}
    head["kind"] = head["kind"] or "VirtualMachineInstance"
    metadata = {key: value for key, value in vmi["metadata"].items() if key != "uid"}
    return {**head, "metadata": metadata, "spec": vmi["spec"]}


def _launchers(pods: Iterable[Json], uid: str) -> list[Json]:
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(CREATED_BY) == uid]


def _gone(vmi: Json) -> Found:
    return Found(State.STOPPING, f"VMI {case_of(vmi)} was deleted while its node was looked at")
