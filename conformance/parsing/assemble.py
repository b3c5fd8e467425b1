"""From everything that was recorded of a moment to the facts that checks see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TypeVar

from conformance.model.cpuset import CpuSet
from conformance.model.evidence import (
    Checkpoint,
    Container,
    Domain,
    Guest,
    Json,
    Kubelet,
    LivePins,
    Node,
    Pod,
    RawSnapshot,
    Snapshot,
    Thread,
)
from conformance.model.same import Same
from conformance.model.topology import Topology
from conformance.parsing import cgroups, domain, guest, kubelet, kubernetes, proc
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError
from conformance.parsing.topology import topology

T = TypeVar("T")

CHECKPOINT = "cpu_manager_state"
"""Name of the kubelet's checkpoint, below its root."""
CONFIGZ = "/configz"
"""How the API path of a kubelet's running configuration ends."""
CONFIG = "/config.yaml"
"""How the path of the file that it was configured by ends."""


class _Layers:
    """Runs parsers; what one of them does not understand becomes not observed."""

    def __init__(self, not_observed: Mapping[str, str]) -> None:
        self.not_observed = dict(not_observed)

    def read(self, layer: str, parse: Callable[[], T]) -> T | None:
        try:
            return parse()
        except ParseError as error:
            self.not_observed.setdefault(layer, str(error))
        except (AttributeError, KeyError, TypeError) as error:
            # Evidence may come from anywhere; an object of another shape is no reason to crash.
            self.not_observed.setdefault(layer, f"{layer} is not what was expected: {error!r}")
        return None


def assemble(raw: RawSnapshot) -> Snapshot:
    """Parses a recording. Pure.

    A layer that cannot be parsed is absent from the snapshot, and `Snapshot.not_observed`
    says why, quoting the text: the layers are ``vmi pod pods node topology kubelet
    checkpoint cgroups threads domain live guest rejection``.
    """
    layers = _Layers(raw.not_observed)
    on_node = _on_node(Same(raw.pods, raw.files))
    pod = layers.read("pod", lambda: _own_pod(raw, on_node))
    pods = _pods(raw, pod, on_node, layers)
    if pod is not None:
        pod = next(other for other in pods if other.uid == pod.uid)
    rejection = raw.rejection
    xml, live = _domain(raw, layers)
    return Snapshot(
        case=raw.case,
        scenario=raw.scenario,
        moment=raw.moment,
        began=raw.began,
        ended=raw.ended,
        manifest=raw.manifest,
        vmi=layers.read("vmi", lambda: kubernetes.vmi(raw.vmi) if raw.vmi else None),
        pod=pod,
        node=_node(raw, on_node, layers),
        pods=pods,
        domain=xml,
        live=live,
        guest=_guest(raw, layers),
        rejection=layers.read(
            "rejection", lambda: kubernetes.rejection(rejection) if rejection else None
        ),
        events=layers.read("events", lambda: kubernetes.events(raw.events)) or (),
        former=raw.former,
        leftovers=_leftovers(raw, on_node),
        not_observed=layers.not_observed,
        torn=raw.torn,
        done=raw.done,
    )


@dataclass(frozen=True)
class _OnNode:
    """What one look at a node showed: the same for every snapshot that shares it.

    Attributes:
        containers: what the files say of containers, those of other pods included.
        listed: each pod of the list, complete; None for one that could not be parsed.
        pods: each of them once.
        not_observed: reason by layer for what of them could not be parsed.
        checkpoints, configurations: paths of the kubelet's files; of its running
            configuration where the API shows it.
    """

    containers: _Containers
    listed: tuple[Pod | None, ...]
    pods: tuple[Pod, ...]
    not_observed: Mapping[str, str]
    checkpoints: tuple[str, ...]
    configurations: tuple[str, ...]


@lru_cache(maxsize=8)
def _on_node(shared: Same[tuple[Json, ...], Mapping[str, str]]) -> _OnNode:
    """Parsed once for the same pods and files: a full node is far larger than what is a VMI's own.

    Args:
        shared: `RawSnapshot.pods` and `RawSnapshot.files`, which must not change.
    """
    objects, files = shared.values
    layers, containers = _Layers({}), _Containers(files)
    listed = tuple(
        _complete(pod, containers, layers) if pod is not None else None
        for pod in (layers.read("pods", partial(kubernetes.pod, obj)) for obj in objects)
    )
    pods: dict[str, Pod] = {}
    for pod in listed:
        if pod is not None:
            pods.setdefault(pod.uid, pod)
    kubelets = [path for path in files if path.endswith(("/" + CHECKPOINT, CONFIGZ, CONFIG))]
    configurations = [path for path in kubelets if path.endswith(CONFIGZ)] or [
        path for path in kubelets if path.endswith(CONFIG)
    ]
    return _OnNode(
        containers,
        listed,
        tuple(pods.values()),
        layers.not_observed,
        tuple(path for path in kubelets if path.endswith("/" + CHECKPOINT)),
        tuple(configurations),
    )


def _complete(pod: Pod, containers: _Containers, layers: _Layers) -> Pod:
    complete = tuple(containers.complete(container, layers) for container in pod.containers)
    return replace(pod, containers=complete)


def _own_pod(raw: RawSnapshot, on_node: _OnNode) -> Pod | None:
    """The launcher pod; one that the list has just the same was parsed with it."""
    if raw.pod is None:
        return None
    for obj, pod in zip(raw.pods, on_node.listed, strict=True):
        if pod is not None and obj == raw.pod:
            return pod
    return kubernetes.pod(raw.pod)


def _pods(raw: RawSnapshot, own: Pod | None, on_node: _OnNode, layers: _Layers) -> tuple[Pod, ...]:
    """The pods listed, and the snapshot's own one where it is not among them."""
    if (raw.pods or raw.pod or raw.former) and not on_node.containers.tree.files:
        layers.not_observed.setdefault("cgroups", _why(raw, cgroups.MOUNT))
    for layer, why in on_node.not_observed.items():
        layers.not_observed.setdefault(layer, why)
    if own is None or any(pod.uid == own.uid for pod in on_node.pods):
        return on_node.pods
    return (*on_node.pods, _complete(own, on_node.containers, layers))


class _Containers:
    """What the node's files say of containers."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.tree = cgroups.tree(files)
        self._files = files
        self._status_paths = {
            int(parts[4]): path
            for path in files
            if path.startswith("/proc/") and len(parts := path.split("/")) == 6
        }

    def complete(self, container: Container, layers: _Layers) -> Container:
        """The container with what its cgroup and its threads say."""
        path = self.tree.containers.get(container.id or "")
        if path is None:
            return container
        files = self.tree.files.get(path, {})
        children = sorted(self.tree.children.get(container.id or "", ()))
        threads = layers.read("threads", lambda: tuple(self._threads([path, *children])))
        return replace(
            container,
            cgroup=path,
            cpuset=self._cpus(path, "cpuset.cpus.effective", layers),
            configured=self._cpus(path, "cpuset.cpus", layers),
            children={
                child[len(path) + 1 :]: cpus
                for child in children
                if (cpus := self._cpus(child, "cpuset.cpus.effective", layers)) is not None
            },
            cpu_max=files["cpu.max"].strip() if "cpu.max" in files else None,
            threads=threads or (),
        )

    def _cpus(self, path: str, name: str, layers: _Layers) -> CpuSet | None:
        text = self.tree.files.get(path, {}).get(name)
        if text is None:
            return None
        return layers.read("cgroups", lambda: cpulist(text, f"{cgroups.MOUNT}{path}/{name}"))

    def _threads(self, paths: list[str]) -> Iterator[Thread]:
        """The threads that ``cgroup.threads`` names and whose status was read.

        A thread that ended in between has no status, and is none.
        """
        members: dict[int, str] = {}
        for path in paths:
            text = self.tree.files.get(path, {}).get("cgroup.threads", "")
            for tid in proc.ids(text, f"{cgroups.MOUNT}{path}/cgroup.threads"):
                members[tid] = path
        for tid, path in sorted(members.items()):
            source = self._status_paths.get(tid)
            if source is not None:
                status = proc.status(self._files[source], source)
                yield Thread(
                    pid=status.pid,
                    tid=status.tid,
                    name=status.name,
                    affinity=status.affinity,
                    cgroup=path,
                    parent=status.parent,
                    inner_pid=status.inner_pid,
                )


def _node(raw: RawSnapshot, on_node: _OnNode, layers: _Layers) -> Node | None:
    obj = raw.node
    if obj is None:
        layers.not_observed.setdefault("node", "no node was recorded")
        return None
    node = layers.read("node", lambda: kubernetes.node(obj))
    if node is None:
        return None
    return Node(
        name=node.name,
        labels=node.labels,
        allocatable_cpu_milli=node.allocatable_cpu_milli,
        topology=_topology(raw, layers),
        kubelet=_kubelet(raw, on_node, layers),
        checkpoint=_checkpoint(raw, on_node, layers),
        kubelet_version=node.kubelet_version,
    )


def _topology(raw: RawSnapshot, layers: _Layers) -> Topology | None:
    if not raw.hardware:
        layers.not_observed.setdefault("topology", _why(raw, "/sys/devices/system/cpu"))
        return None
    return layers.read("topology", lambda: topology(raw.hardware))


def _checkpoint(raw: RawSnapshot, on_node: _OnNode, layers: _Layers) -> Checkpoint | None:
    paths = on_node.checkpoints
    if len(paths) != 1:
        why = f"{len(paths)} checkpoints were read: {', '.join(paths)}" if paths else ""
        layers.not_observed.setdefault("checkpoint", why or _why(raw, CHECKPOINT))
        return None
    return layers.read("checkpoint", lambda: kubelet.checkpoint(raw.files[paths[0]], paths[0]))


def _kubelet(raw: RawSnapshot, on_node: _OnNode, layers: _Layers) -> Kubelet | None:
    paths = on_node.configurations
    if not paths:
        layers.not_observed.setdefault("kubelet", _why(raw, "the kubelet's configuration"))
        return None
    return layers.read("kubelet", lambda: kubelet.kubelet(raw.files[paths[0]], paths[0]))


def _why(raw: RawSnapshot, wanted: str) -> str:
    """Why a file is missing."""
    reasons = [
        f"{path}: {why}" for path, why in sorted(raw.unreadable.items()) if wanted in path
    ] or [raw.not_observed[layer] for layer in ("files",) if layer in raw.not_observed]
    return reasons[0] if reasons else f"{wanted} was not found on the node"


def _domain(raw: RawSnapshot, layers: _Layers) -> tuple[Domain | None, LivePins | None]:
    recorded = raw.domain
    if recorded is None:
        why = raw.not_observed.get("domain", "libvirt was not asked")
        layers.not_observed.setdefault("domain", why)
        layers.not_observed.setdefault("live", why)
        return None, None
    return (
        layers.read("domain", lambda: domain.domain(recorded.xml, recorded.source)),
        layers.read("live", lambda: domain.live(recorded)),
    )


def _guest(raw: RawSnapshot, layers: _Layers) -> Guest | None:
    console = raw.console
    if console is None:
        why = raw.not_observed.get("console", "the guest's console was not read")
        layers.not_observed.setdefault("guest", why)
        return None
    found = layers.read("guest", lambda: guest.guest(console, "the guest's console"))
    if found is None:
        ending = console.strip()[-200:]
        seen = f"ends with {ending!r}" if ending else "is empty"
        layers.not_observed.setdefault(
            "guest", f"no complete line {guest.MARK} on the guest's console, which {seen}"
        )
    return found


def _leftovers(raw: RawSnapshot, on_node: _OnNode) -> tuple[str, ...]:
    tree = on_node.containers.tree
    if raw.former is not None:
        return cgroups.leftovers(tree, raw.former.pod_uid, raw.former.container_ids)
    return () if raw.manifest else _strays(raw, tree)


def _strays(raw: RawSnapshot, tree: cgroups.Tree) -> tuple[str, ...]:
    """Cgroups of pods that the API does not know on this node."""
    known = set()
    for pod in raw.pods:
        metadata = pod.get("metadata") or {}
        # A static pod has one UID in the API and another one on its node.
        static = (metadata.get("annotations") or {}).get("kubernetes.io/config.hash")
        known |= {metadata.get("uid"), static}
    return tuple(
        sorted(
            f"{cgroups.MOUNT}{path}" for uid in tree.pods.keys() - known for path in tree.pods[uid]
        )
    )
