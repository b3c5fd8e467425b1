from reports.cpu_map import Box, Layout, lay_out
from reports.document import Cpu, CpuMap, Node, Owner, OwnerKind


def node() -> Node:
    """Two sockets, each a NUMA node, of two cores of two threads, siblings far apart."""
    cpus = [Cpu(n, n % 2, n // 2 % 2, n // 2 % 2, (n % 4, n % 4 + 4)) for n in range(8)]
    return Node("node-1", tuple(reversed(cpus)))


def boxes(layout: Layout) -> dict[int, Box]:
    return {
        box.cpu: box
        for socket in layout.sockets
        for numa in socket.numa_nodes
        for core in numa.cores
        for box in core.boxes
    }


def laid_out(*owners: Owner, workload: str = "mine") -> Layout:
    return lay_out(node(), CpuMap("case", "running", workload, owners))


def test_the_layout_is_the_hardware() -> None:
    layout = laid_out()
    shape = [
        [[[box.cpu for box in core.boxes] for core in numa.cores] for numa in socket.numa_nodes]
        for socket in layout.sockets
    ]
    assert shape == [[[[0, 4], [1, 5]]], [[[2, 6], [3, 7]]]]


def test_a_pcpu_without_an_owner_was_not_observed() -> None:
    assert boxes(laid_out())[3].kind == "unseen"


def test_the_vmi_that_the_map_is_about_is_a() -> None:
    layout = laid_out(
        Owner(0, OwnerKind.VCPU, "another", "compute", 0),
        Owner(1, OwnerKind.VCPU, "mine", "compute", 1),
        Owner(2, OwnerKind.EMULATOR, "mine", "compute"),
    )
    assert layout.workloads == {"A": "mine", "B": "another"}
    labels = {cpu: box.label for cpu, box in boxes(layout).items() if box.letter}
    assert labels == {0: "B·v0", 1: "A·v1", 2: "A·emu"}


def test_nobody_else_is_a() -> None:
    layout = laid_out(Owner(0, OwnerKind.EXCLUSIVE, "another", "main"), workload="deleted")
    assert layout.workloads == {"B": "another"}


def test_several_owners_collide() -> None:
    layout = laid_out(
        Owner(0, OwnerKind.VCPU, "mine", "compute", 0),
        Owner(0, OwnerKind.SHARED),
    )
    box = boxes(layout)[0]
    assert (box.kind, box.label) == ("collision", "A·v0+pool")
    assert box.title == "pCPU 0: collision: vCPU 0 of mine and shared pool"


def test_many_workloads_all_have_their_letters() -> None:
    owners = [Owner(0, OwnerKind.VCPU, f"vmi-{number:03}", "compute", 0) for number in range(60)]
    layout = laid_out(*owners, workload="vmi-000")
    assert len(layout.workloads) == 60
    assert list(layout.workloads)[25:28] == ["Z", "AA", "AB"]
