"""Slices of the host: whole cores, disjoint, along the hardware."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.contract.provider import ClusterError
from clusters.kind.host import Core, cores
from clusters.kind.slices import WORKER_CPUS, divide
from tests.unit.kind.conftest import write_topology


def made(sockets: int, per_socket: int, threads: int) -> list[Core]:
    number = sockets * per_socket
    return [
        Core(frozenset(core + number * t for t in range(threads)), core // per_socket, 0)
        for core in range(number)
    ]


def test_the_smallest_host_for_one_worker() -> None:
    slices = divide(made(1, 3, 2), 1)
    assert slices.control_plane == {0, 3}
    assert [worker.cpus for worker in slices.workers] == [{1, 2, 4, 5}]
    # All that is not the worker's, and its first core, for system pods.
    assert slices.workers[0].reserved == {0, 3, 1, 4}


def test_workers_keep_to_their_socket() -> None:
    slices = divide(made(2, 4, 2), 2)
    assert slices.control_plane == {0, 8}
    assert [worker.cpus for worker in slices.workers] == [
        {1, 2, 3, 9, 10, 11},
        {4, 5, 6, 7, 12, 13, 14, 15},
    ]


def test_a_large_host_has_room_for_another_cluster() -> None:
    host = made(2, 16, 2)
    first = divide(host, 1)
    assert len(first.workers[0].cpus) == WORKER_CPUS
    second = divide(host, 1, first.all)
    assert not first.all & second.all


@given(
    sockets=st.integers(1, 4),
    per_socket=st.integers(1, 12),
    threads=st.sampled_from((1, 2, 4)),
    workers=st.integers(1, 4),
    taken=st.sets(st.integers(0, 200)),
)
def test_slices_hold_what_they_promise(
    sockets: int, per_socket: int, threads: int, workers: int, taken: set[int]
) -> None:
    host = made(sockets, per_socket, threads)
    free = [core for core in host if not core.threads & taken]
    if len(free) < 2 * workers + 1:
        with pytest.raises(ClusterError, match="takes at least"):
            divide(host, workers, frozenset(taken))
        return
    slices = divide(host, workers, frozenset(taken))
    owned = [slices.control_plane, *(worker.cpus for worker in slices.workers)]
    assert len(slices.workers) == workers
    assert sum(map(len, owned)) == len(slices.all), "they overlap"
    assert not slices.all & taken
    for cpus in owned:
        assert cpus
        assert all(core.threads <= cpus or not core.threads & cpus for core in host)
    online = frozenset().union(*(core.threads for core in host))
    for worker in slices.workers:
        assert online - worker.cpus < worker.reserved
        # A whole core to be shared, and at least one to be given away.
        assert len(worker.cpus & worker.reserved) == threads
        assert len(worker.cpus - worker.reserved) >= threads


def test_too_few_cores_are_said_in_one_sentence() -> None:
    with pytest.raises(ClusterError) as refused:
        divide(made(1, 4, 2), 2)
    assert "kind with 2 workers takes at least 5 cores of this host" in str(refused.value)
    assert "there are 4: ask for fewer --workers" in str(refused.value)
    with pytest.raises(ClusterError, match="kind clusters own 2 of 4: end others"):
        divide(made(1, 4, 1), 1, frozenset({0, 1}))


def test_the_host_is_read_along_the_hardware(tmp_path: Path) -> None:
    write_topology(tmp_path, sockets=2, cores=2, threads=2, numa=2)
    found = cores(tmp_path)
    assert [(core.socket, core.numa, sorted(core.threads)) for core in found] == [
        (0, 0, [0, 4]),
        (0, 0, [1, 5]),
        (1, 1, [2, 6]),
        (1, 1, [3, 7]),
    ]


def test_threads_that_are_offline_do_not_count(tmp_path: Path) -> None:
    write_topology(tmp_path, sockets=1, cores=2, threads=2)
    (tmp_path / "devices/system/cpu/online").write_text("0-2\n")
    assert [sorted(core.threads) for core in cores(tmp_path)] == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("cpu/online", "many\n", "holds no list of CPUs: 'many"),
        ("cpu/cpu1/topology/physical_package_id", "first\n", "holds no number: 'first"),
        ("cpu/cpu1/topology/thread_siblings_list", "0\n", "does not name CPU 1 itself"),
        ("cpu/cpu1/topology/thread_siblings_list", "0-1\n", "name different siblings"),
        ("cpu/cpu1/topology/thread_siblings_list", None, "cannot be read.*No such file"),
    ],
)
def test_what_the_kernel_does_not_write_is_refused(
    tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    write_topology(tmp_path, sockets=1, cores=4, threads=1)
    path = tmp_path / "devices/system" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(ClusterError, match=message):
        cores(tmp_path)
