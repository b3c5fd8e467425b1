from dataclasses import replace

from reports.cpu_map import Box, Layout, lay_out
from reports.cpulist import parsed, written
from reports.document import Claim, Cpu, CpuMap, Mark, Node, OwnerKind, Source


def node(cpus: int = 4) -> Node:
    """One socket of cores with two threads each."""
    return Node(
        "node-1", tuple(Cpu(n, n // 2, 0, 0, (n - n % 2, n - n % 2 + 1)) for n in range(cpus))
    )


def boxes(layout: Layout) -> list[Box]:
    return [
        box
        for socket in layout.sockets
        for numa in socket.numa_nodes
        for core in numa.cores
        for box in core.boxes
    ]


def laid_out(*claims: Claim, marks: tuple[Mark, ...] = (), workload: str = "mine") -> Layout:
    return lay_out(node(), CpuMap("case", "running", workload, claims, marks))


def given(cpus: str, workload: str = "mine", container: str = "compute") -> Claim:
    return Claim(Source.CHECKPOINT, OwnerKind.EXCLUSIVE, cpus, workload, container)


def vcpu(number: int, cpus: str, workload: str = "mine", source: Source = Source.LIBVIRT) -> Claim:
    return Claim(source, OwnerKind.VCPU, cpus, workload, "compute", number)


def test_every_pcpu_is_on_its_core_whoever_has_it() -> None:
    layout = laid_out(given("2-3"))
    (socket,) = layout.sockets
    (numa,) = socket.numa_nodes
    assert [[box.cpus for box in core.boxes] for core in numa.cores] == [["0", "1"], ["2", "3"]]


def test_what_nobody_claims_was_not_observed() -> None:
    assert {box.kind for box in boxes(laid_out())} == {"unseen"}


def test_the_own_vmi_is_a_and_stays_it() -> None:
    layout = laid_out(given("0-1", "another"), given("2-3"), vcpu(0, "2"), vcpu(1, "3"))
    assert layout.workloads == {"A": "mine", "B": "another"}
    assert [box.label for box in boxes(layout)] == ["B·excl", "B·excl", "A·v0", "A·v1"]
    assert laid_out(given("0", "another"), workload="gone").workloads == {"B": "another"}


def test_threads_are_believed_before_libvirt() -> None:
    layout = laid_out(given("0-1"), vcpu(0, "0"), vcpu(0, "0-1", source=Source.AFFINITY))
    assert [box.label for box in boxes(layout)][:2] == ["A·v0", "A·v0"]


def test_a_pin_beyond_what_the_guest_owns_is_not_drawn() -> None:
    pool = Claim(Source.CHECKPOINT, OwnerKind.SHARED, "0-1")
    labels = [box.label for box in boxes(laid_out(pool, given("2-3"), vcpu(0, "0-3")))]
    assert labels == ["pool", "pool", "A·v0", "A·v0"]


def test_a_pin_is_not_drawn_where_another_container_of_the_pod_owns_the_pcpu() -> None:
    emulator = Claim(Source.LIBVIRT, OwnerKind.EMULATOR, "0-3", "mine", "compute")
    found = boxes(laid_out(given("2"), given("3", container="hook"), vcpu(0, "2"), emulator))
    assert [box.label for box in found][2:] == ["A·v0", "A·excl"]
    whole = boxes(laid_out(given("2-3", container=""), vcpu(0, "2"), emulator))
    assert [box.label for box in whole][2:] == ["A·v0", "A·emu"]


def test_what_stands_out_is_marked_and_says_who() -> None:
    io = Claim(Source.AFFINITY, OwnerKind.IOTHREAD, "2", "mine", "compute", 1)
    own = vcpu(0, "2", source=Source.AFFINITY)
    mark = Mark("2", "vCPU 0 and IOThread 1 share it")
    marked = boxes(laid_out(given("2-3"), own, io, marks=(mark,)))[2]
    assert marked.marked
    assert marked.label == "A·v0+io1"
    assert mark.says in marked.title


def test_an_emulator_that_is_not_isolated_is_worth_no_word() -> None:
    emulator = Claim(Source.LIBVIRT, OwnerKind.EMULATOR, "2-3", "mine", "compute")
    labels = [box.label for box in boxes(laid_out(given("2-3"), vcpu(0, "2"), emulator))]
    assert labels[2:] == ["A·v0", "A·emu"]


def test_the_summary_and_the_rows_say_it_without_a_picture() -> None:
    layout = laid_out(given("2-3"), vcpu(0, "2"), marks=(Mark("3", "nobody"),))
    assert "pCPUs that stand out: 3" in layout.summary
    assert [(row.source, row.cpus) for row in layout.rows] == [
        ("checkpoint", "2-3"),
        ("libvirt", "2"),
    ]


def test_many_pcpus_are_small() -> None:
    assert lay_out(node(512), CpuMap("case", "running", "mine", (given("2-3"),))).dense
    assert not laid_out().dense


def test_of_many_pcpus_those_of_the_pool_are_drawn_together_unless_one_stands_out() -> None:
    pool = Claim(Source.CHECKPOINT, OwnerKind.SHARED, "0-1,4-511")
    about = CpuMap("case", "running", "mine", (pool, given("2-3"), vcpu(0, "2")))
    drawn = [box.cpus for box in boxes(lay_out(node(512), about))]
    assert drawn == ["0", "1", "2", "3", "4-511"]
    stands_out = lay_out(node(512), replace(about, marks=(Mark("100", "somebody"),)))
    assert [box.cpus for box in boxes(stands_out)][4:] == ["4-99", "100", "101", "102-511"]
    assert len(boxes(laid_out(Claim(Source.CHECKPOINT, OwnerKind.SHARED, "0-3")))) == 4


def test_cpu_lists_are_read_and_written() -> None:
    assert written(parsed("0-2,7")) == "0-2,7"
    assert parsed("x,3,-,5-") == {3}
    assert written(()) == ""
    assert len(parsed("0-99999")) < 10_000
