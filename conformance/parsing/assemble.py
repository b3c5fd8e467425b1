"""From everything that was recorded of a moment to the facts that checks see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from conformance.model.defect import defect
from conformance.model.evidence import (
    Around,
    Checkpoint,
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
    Unlisted,
    Vmi,
)
from conformance.model.shared import Shared
from conformance.model.topology import Topology
from conformance.parsing import cgroups, domain, guest, kubelet, kubernetes
from conformance.parsing.errors import ParseError
from conformance.parsing.layers import Layers
from conformance.parsing.moments import last_movement
from conformance.parsing.proc import RT_RUNTIME
from conformance.parsing.residents import Residents
from conformance.parsing.topology import topology

_LAYERS = (
    *("vmi", "pod", "pods", "node", "topology", "kubelet", "checkpoint", "cgroups", "threads"),
    *("domain", "live", "guest", "rejection", "files", "events", "memory", "realtime", "owner"),
)
CHECKPOINT = "cpu_manager_state"
"""Name of the kubelet's checkpoint, below its root."""
CONFIGZ = "/configz"
"""How the API path of a kubelet's running configuration ends."""
CONFIG = "/config.yaml"
"""How the path of the file that it was configured by ends."""


def assemble(raw: RawSnapshot) -> Snapshot:
    """Parses a recording. Pure, and it never raises.

    A layer that cannot be parsed is absent from the snapshot, and `Snapshot.not_observed`
    says why, quoting the text: the layers are ``vmi pod pods node topology kubelet
    checkpoint cgroups threads host domain live guest rejection``.
    """
    try:
        return _assemble(raw)
    except Exception as error:
        return Snapshot(
            case=raw.case,
            scenario=raw.scenario,
            moment=raw.moment,
            began=raw.began,
            ended=raw.ended,
            manifest=raw.manifest,
            not_observed=dict.fromkeys(_LAYERS, defect(error)),
        )


def _assemble(raw: RawSnapshot) -> Snapshot:
    layers = Layers(raw.not_observed)
    on_node = raw.look.once(_on_node)
    pod = layers.read("pod", lambda: _own_pod(raw, on_node))
    pods = _pods(raw, pod, on_node, layers)
    if pod is not None:
        pod = next(other for other in pods if other.uid == pod.uid)
    rejection = raw.rejection
    xml, live = _domain(raw, layers)
    vmi = layers.read("vmi", lambda: kubernetes.vmi(raw.vmi) if raw.vmi else None)
    return Snapshot(
        case=raw.case,
        scenario=raw.scenario,
        moment=raw.moment,
        began=raw.began,
        ended=raw.ended,
        manifest=raw.manifest,
        vmi=vmi,
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
        unlisted=_unlisted(pods, on_node),
        unreadable=raw.unreadable,
        not_observed=layers.not_observed,
        torn=raw.torn or _moving(vmi),
        done=raw.done,
        given_back=raw.given_back,
        gone=raw.gone,
        clock=raw.clock,
        moved="" if _runs(raw) else last_movement(raw),
        owner_conditions=layers.read(
            "owner", lambda: None if raw.owner is None else kubernetes.conditions(raw.owner)
        ),
    ).sharing(on_node.around)


def _moving(vmi: Vmi | None) -> str | None:
    """Why a look at a VMI is as good as torn although nothing changed meanwhile: it migrates.

    Its guest leaves the source before the API says so (kubevirt pkg/virt-handler,
    migration-target.go, ackMigrationCompletion), so that for a while the pod that the API names
    has no guest, by nobody's fault.
    """
    found = vmi.migration if vmi else None
    if found is None or not found.under_way:
        return None
    return (
        f"a migration from node {found.source or '(not told)'} to {found.target or '(not told)'} "
        f"was under way (.status.migrationState, pod {found.pod or '(not told)'})"
    )


def _runs(raw: RawSnapshot) -> bool:
    status = (raw.vmi or {}).get("status")
    return isinstance(status, dict) and status.get("phase") == "Running"


@dataclass(frozen=True)
class _OnNode:
    """What one look at a node showed: the same for every snapshot that shares it.

    Attributes:
        residents: what the files say of everybody who runs there.
        unlisted: of them those that belong to no pod of the list.
        listed: each pod of the list, complete; None for one that could not be parsed.
        pods: each of them once.
        checkpoint: the kubelet's, where there is one and it could be parsed; unparsed: why not.
        around: what checks make of them all.
        not_observed: reason by layer for what of them could not be parsed.
        checkpoints, configurations: paths of the kubelet's files; of its running
            configuration where the API shows it.
        host, timers: see `Node`.
    """

    residents: Residents
    unlisted: tuple[Unlisted, ...]
    listed: tuple[Pod | None, ...]
    pods: tuple[Pod, ...]
    checkpoint: Checkpoint | None
    unparsed: Mapping[str, str]
    around: Around
    not_observed: Mapping[str, str]
    checkpoints: tuple[str, ...]
    configurations: tuple[str, ...]
    host: tuple[Thread, ...] | None
    timers: tuple[Thread, ...] | None


def _on_node(objects: tuple[Json, ...], files: Mapping[str, str]) -> _OnNode:
    """Of `RawSnapshot.look`, once for everybody who was looked at then."""
    layers, residents = Layers({}), Residents(files)
    listed = tuple(
        _complete(pod, residents, layers) if pod is not None else None
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
    ids = {each.id for pod in pods.values() for each in pod.containers if each.id}
    there, unlisted = tuple(pods.values()), residents.unlisted(ids, layers)
    checkpoints = tuple(path for path in kubelets if path.endswith("/" + CHECKPOINT))
    own = Layers({})
    state = own.read("checkpoint", lambda: _state(files, checkpoints, there))
    return _OnNode(
        residents,
        unlisted,
        listed,
        there,
        state,
        own.not_observed,
        Shared(there, state, unlisted),
        layers.not_observed,
        checkpoints,
        tuple(configurations),
        layers.read("host", residents.host),
        layers.read("host", residents.timers),
    )


def _complete(pod: Pod, residents: Residents, layers: Layers) -> Pod:
    complete = tuple(residents.complete(container, layers) for container in pod.containers)
    return replace(pod, containers=complete)


def _own_pod(raw: RawSnapshot, on_node: _OnNode) -> Pod | None:
    """The launcher pod; one that the list has just the same was parsed with it."""
    if raw.pod is None:
        return None
    for obj, pod in zip(raw.pods, on_node.listed, strict=True):
        if pod is not None and obj == raw.pod:
            return pod
    return kubernetes.pod(raw.pod)


def _pods(raw: RawSnapshot, own: Pod | None, on_node: _OnNode, layers: Layers) -> tuple[Pod, ...]:
    """The pods listed, and the snapshot's own one where it is not among them."""
    if (raw.pods or raw.pod or raw.former) and on_node.residents.empty:
        layers.not_observed.setdefault("cgroups", _why(raw, cgroups.MOUNT))
    for layer, why in on_node.not_observed.items():
        layers.not_observed.setdefault(layer, why)
    if own is None or any(pod.uid == own.uid for pod in on_node.pods):
        return on_node.pods
    if own.node is not None and own.phase == "Running":
        why = f"the list of the node's pods lacks {own.name} itself, which runs there"
        layers.not_observed.setdefault("pods", why)
    return (*on_node.pods, _complete(own, on_node.residents, layers))


def _node(raw: RawSnapshot, on_node: _OnNode, layers: Layers) -> Node | None:
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
        capacity_cpu_milli=node.capacity_cpu_milli,
        host=on_node.host,
        timers=on_node.timers,
        heartbeat=node.heartbeat,
        ready=node.ready,
        ready_since=node.ready_since,
        skips_labeller=node.skips_labeller,
        rt_runtime=layers.read("realtime", lambda: _rt_runtime(raw.files)),
    )


def _rt_runtime(files: Mapping[str, str]) -> int | None:
    text = files.get(RT_RUNTIME)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ParseError("a number of microseconds", text, RT_RUNTIME) from None


def _topology(raw: RawSnapshot, layers: Layers) -> Topology | None:
    if not raw.hardware:
        layers.not_observed.setdefault("topology", _why(raw, "/sys/devices/system/cpu"))
        return None
    return layers.read("topology", lambda: raw.machine.once(topology))


def _checkpoint(raw: RawSnapshot, on_node: _OnNode, layers: Layers) -> Checkpoint | None:
    paths = on_node.checkpoints
    if len(paths) != 1:
        why = f"{len(paths)} checkpoints were read: {', '.join(paths)}" if paths else ""
        layers.not_observed.setdefault("checkpoint", why or _why(raw, CHECKPOINT))
        return None
    for layer, unparsed in on_node.unparsed.items():
        layers.not_observed.setdefault(layer, unparsed)
    return on_node.checkpoint


def _state(
    files: Mapping[str, str], paths: tuple[str, ...], pods: Iterable[Pod]
) -> Checkpoint | None:
    """The only checkpoint. A static pod has one UID in the API and another one on its node."""
    if len(paths) != 1:
        return None
    state = kubelet.checkpoint(files[paths[0]], paths[0])
    names = {pod.static_uid: pod.uid for pod in pods if pod.static_uid}
    if not names.keys() & {*(uid for uid, _name in state.entries), *state.pods}:
        return state
    return replace(
        state,
        entries={(names.get(uid, uid), name): cpus for (uid, name), cpus in state.entries.items()},
        pods={names.get(uid, uid): cpus for uid, cpus in state.pods.items()},
    )


def _kubelet(raw: RawSnapshot, on_node: _OnNode, layers: Layers) -> Kubelet | None:
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


def _domain(raw: RawSnapshot, layers: Layers) -> tuple[Domain | None, LivePins | None]:
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


def _guest(raw: RawSnapshot, layers: Layers) -> Guest | None:
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
    tree = on_node.residents.tree
    if raw.former is not None:
        return cgroups.leftovers(tree, raw.former.pod_uid, raw.former.container_ids)
    return () if raw.manifest else _strays(raw, tree)


def _unlisted(pods: Iterable[Pod], on_node: _OnNode) -> tuple[Unlisted, ...]:
    """Without the containers of a pod that is not in the list of its node."""
    if len(pods := tuple(pods)) == len(on_node.pods):
        return on_node.unlisted
    ids = {each.id for pod in pods for each in pod.containers}
    return tuple(each for each in on_node.unlisted if each.container_id not in ids)


def _strays(raw: RawSnapshot, tree: cgroups.Tree) -> tuple[str, ...]:
    """Cgroups of pods that the API does not know on this node."""
    if "pods" in raw.not_observed:
        return ()
    known = set()
    for pod in raw.pods:
        metadata = pod.get("metadata") or {}
        known |= {metadata.get("uid"), kubernetes.static_uid(metadata)}
    return tuple(
        sorted(
            f"{cgroups.MOUNT}{path}" for uid in tree.pods.keys() - known for path in tree.pods[uid]
        )
    )
