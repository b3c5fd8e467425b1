"""Who has each pCPU of a node, as the report draws it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from conformance.model.evidence import Checkpoint, Node, Snapshot
from reports import document as report

COMPUTE = "compute"


def nodes_of(snapshots: Iterable[Snapshot]) -> tuple[report.Node, ...]:
    """The nodes that were seen, each with one map for every running workload."""
    seen: dict[str, Node] = {}
    maps: dict[str, list[report.CpuMap]] = defaultdict(list)
    for snapshot in snapshots:
        node = snapshot.node
        if node is None or node.topology is None:
            continue
        seen.setdefault(node.name, node)
        if snapshot.moment == "running" and node.checkpoint is not None:
            own = snapshot.vmi or snapshot.pod
            workload = own.name if own else ""
            owners = tuple(_owners(snapshot, node, node.checkpoint))
            maps[node.name].append(report.CpuMap(snapshot.case, snapshot.moment, workload, owners))
    return tuple(
        report.Node(
            name=name,
            cpus=tuple(
                report.Cpu(cpu.id, cpu.core, cpu.socket, cpu.node, tuple(sorted(cpu.siblings)))
                for cpu in (node.topology.cpus if node.topology else ())
            ),
            reserved=tuple(sorted(_reserved(node))),
            maps=tuple(maps[name]),
        )
        for name, node in sorted(seen.items())
    )


def _reserved(node: Node) -> frozenset[int]:
    return (node.kubelet.reserved if node.kubelet else None) or frozenset()


def _owners(snapshot: Snapshot, node: Node, checkpoint: Checkpoint) -> Iterator[report.Owner]:
    reserved = _reserved(node)
    for cpu in sorted(checkpoint.default):
        kind = report.OwnerKind.RESERVED if cpu in reserved else report.OwnerKind.SHARED
        yield report.Owner(cpu, kind)
    names = {pod.uid: pod.labels.get("vm.kubevirt.io/name", pod.name) for pod in snapshot.pods}
    own = snapshot.pod.uid if snapshot.pod else ""
    for (uid, container), cpus in sorted(checkpoint.entries.items()):
        name = names.get(uid, uid)
        uses = _uses(snapshot) if (uid, container) == (own, COMPUTE) else {}
        for cpu in sorted(cpus):
            kind, vcpu = uses.get(cpu, (report.OwnerKind.EXCLUSIVE, None))
            yield report.Owner(cpu, kind, name, container, vcpu)


def _uses(snapshot: Snapshot) -> dict[int, tuple[report.OwnerKind, int | None]]:
    """What the judged workload uses its pCPUs for, by libvirt's live answers."""
    if snapshot.live is None:
        return {}
    uses: dict[int, tuple[report.OwnerKind, int | None]] = dict.fromkeys(
        snapshot.live.emulator_pin, (report.OwnerKind.EMULATOR, None)
    )
    for vcpu, cpus in snapshot.live.vcpu_pins.items():
        uses |= dict.fromkeys(cpus, (report.OwnerKind.VCPU, vcpu))
    return uses
