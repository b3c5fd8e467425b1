"""A real machine: it has the shape asked for, obeys, is saved, restored and dies in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters.contract.access import AccessError
from clusters.contract.shape import NodeShape
from clusters.host import cache, checksums, processes
from clusters.virtual import network
from clusters.virtual_node import accel, image, machine
from clusters.virtual_node.boot import Preparation, boot
from clusters.virtual_node.machine import Machine, MachineError
from clusters.virtual_node.shell import CommandError

pytestmark = pytest.mark.machine

SHAPE = NodeShape(sockets=2, cores=2, threads=2, numa_nodes=2, memory_mib=1024)
EXTRA: dict[str, bytes | Path] = {"/opt/tests/hello": b"#!/bin/sh\necho hello from the image\n"}
PREPARED = Preparation(key="test", run=lambda node: node.shell.write("/root/prepared", b"yes"))

Bring = Callable[..., Machine]


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A short directory, which has one for each node."""
    with tempfile.TemporaryDirectory(prefix="vn-test-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def bring(base: Path) -> Iterator[Bring]:
    """Brings nodes up and ends them afterwards."""
    machines: list[Machine] = []

    def up(name: str, progress: list[str] | None = None, wire: Path | None = None) -> Machine:
        directory = base / name
        directory.mkdir()
        node = boot(
            name,
            directory,
            image.build(EXTRA, progress=print),
            SHAPE,
            accel.choose(),
            tied=True,
            progress=print if progress is None else progress.append,
            preparation=PREPARED,
            wire=wire,
        )
        machines.append(node)
        return node

    yield up
    for node in machines:
        node.stop()


@pytest.fixture(scope="module")
def node(bring: Bring) -> Machine:
    """One node for all tests that leave it as it is."""
    return bring("node")


def test_the_kernel_sees_the_shape(node: Machine) -> None:
    read = node.shell.read(
        [
            "/sys/devices/system/cpu/online",
            "/sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
            "/sys/devices/system/cpu/cpu*/topology/package_cpus_list",
            "/sys/devices/system/node/node*/cpulist",
        ]
    )
    values: dict[str, set[str]] = {}
    for path, text in read.files.items():
        values.setdefault(path.rpartition("/")[2], set()).add(text.strip())
    assert values == {
        "online": {"0-7"},
        "thread_siblings_list": {"0-1", "2-3", "4-5", "6-7"},
        "package_cpus_list": {"0-3", "4-7"},
        "cpulist": {"0-3", "4-7"},
    }


def test_it_has_what_a_stack_needs(node: Machine) -> None:
    node.shell.run("test -c /dev/kvm && virsh --version && crun --version && libvirtd --version")
    controllers = node.shell.read(["/sys/fs/cgroup/cgroup.subtree_control"]).files
    assert {"cpuset", "cpu", "memory", "pids"} <= set("".join(controllers.values()).split())
    assert node.shell.list([image.GUEST_KERNEL]) == (image.GUEST_KERNEL,)


def test_files_of_the_caller_are_in_it(node: Machine) -> None:
    assert node.shell.run(["/opt/tests/hello"]).text == "hello from the image\n"


def test_its_clock_and_its_name_are_its_own(node: Machine) -> None:
    now, name = node.shell.run("date +%s; hostname").text.split()
    assert name == "node"
    assert abs(int(now) - time.time()) < 60


def test_it_was_prepared(node: Machine) -> None:
    assert node.shell.read(["/root/prepared"]).files == {"/root/prepared": "yes"}


def test_what_is_written_is_read(node: Machine) -> None:
    data = bytes(range(256)) * 1000
    node.shell.write("/root/a file", data)
    assert node.shell.run(["cat", "/root/a file"]).stdout == data


def test_a_write_that_the_kernel_refuses_is_an_error(node: Machine) -> None:
    with pytest.raises(CommandError, match="Invalid argument"):
        node.shell.write("/sys/fs/cgroup/cgroup.subtree_control", b"+nonsense")


def test_a_command_gets_input_and_gives_status_and_both_outputs(node: Machine) -> None:
    done = node.shell.run("cat; echo bad >&2; exit 7", stdin=b"in", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in", "bad\n")


def test_a_command_that_takes_too_long_is_an_error(node: Machine) -> None:
    with pytest.raises(AccessError, match=r"took longer than 0\.5 s"):
        node.shell.run("sleep 1000", timeout_seconds=0.5)


def test_asyncio_sees_the_same(node: Machine) -> None:
    async def everything() -> list[str]:
        shell = node.async_shell
        await shell.write("/root/async", b"written")
        results = await asyncio.gather(*(shell.run(["echo", str(n)]) for n in range(20)))
        read = await shell.read(["/root/async"])
        listed = await shell.list(["/root/asyn*"])
        return [*(done.text.strip() for done in results), *read.files.values(), *listed]

    assert asyncio.run(everything()) == [*map(str, range(20)), "written", "/root/async"]


def test_output_streams_while_a_command_runs(node: Machine) -> None:
    with node.shell.spawn("echo first; read line; echo $line", stdin=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"first\n"
        process.stdin.write(b"second\n")
        process.stdin.close()
        assert process.stdout.read() == b"second\n"


def test_a_socket_of_the_node_is_reached_from_here(node: Machine) -> None:
    daemon = node.shell.spawn("exec libvirtd --config /dev/null --timeout 120")
    remote = "/run/libvirt/libvirt-sock"
    try:
        deadline = time.monotonic() + 120
        while not node.shell.list([remote]):
            assert time.monotonic() < deadline, "libvirtd has not opened its socket"
            time.sleep(0.1)
        with tempfile.TemporaryDirectory() as directory:
            local = Path(directory) / "libvirt"
            with node.shell.forward(local, remote), socket.socket(socket.AF_UNIX) as client:
                client.connect(str(local))
            assert not local.exists()
    finally:
        node.shell.run("killall libvirtd", check=False)
        daemon.communicate()


def test_nodes_of_one_saved_machine_do_not_see_each_other(node: Machine, bring: Bring) -> None:
    other = bring("other")
    other.shell.write("/root/mine", b"other")
    assert node.shell.list(["/root/mine"]) == ()
    assert other.shell.run("hostname").text == "other\n"
    other.stop()
    third = bring("third")
    assert third.shell.list(["/root/mine"]) == ()
    third.stop()


def test_nodes_on_a_wire_reach_each_other_and_send_much(base: Path, bring: Bring) -> None:
    async def everything() -> str:
        wire, names = base / "wire", ("one", "two")
        async with network.wire(wire, [base / name / machine.PEERS for name in names]):
            one, two = [await asyncio.to_thread(bring, name, wire=wire) for name in names]
            for number, each in enumerate((one, two), 1):
                await each.async_shell.run(network.wire_script(number, 2))
            server = "nc -l -p 5000 -e head -c 3000000 /dev/zero"
            await two.async_shell.run(f"setsid {server} >/dev/null 2>&1 </dev/null &")
            asked = (
                f"until nc {network.node_address(2)} 5000 </dev/null; do sleep 0.2; done | wc -c"
            )
            received = await one.async_shell.run(asked, timeout_seconds=60)
            one.stop()
            two.stop()
            return received.text

    assert asyncio.run(everything()).split() == ["3000000"]


def test_another_process_finds_it(node: Machine) -> None:
    found = machine.load(node.directory)
    assert found == node
    assert found.shell.run("hostname").text == "node\n"


def test_a_node_that_dies_is_noticed_and_shows_its_serial_log(bring: Bring) -> None:
    dying = bring("dying")
    with dying.shell.spawn("echo c >/proc/sysrq-trigger"):
        deadline = time.monotonic() + 60
        while dying.alive():
            assert time.monotonic() < deadline, "a panic does not end the machine"
            time.sleep(0.1)
    with pytest.raises(MachineError, match=r"(?s)node dying has died.*Kernel panic"):
        dying.require_alive()
    with pytest.raises(AccessError, match="node dying does not answer"):
        dying.shell.run("true")


def test_a_saved_machine_that_is_broken_is_replaced_by_a_boot(
    bring: Bring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: Machine
) -> None:
    # In a cache of its own, that shares the image but not the saved machine.
    kept = tmp_path / "cpu-conformance"
    kept.mkdir()
    real = cache.directory()
    for path in real.iterdir():
        if path.name.removeprefix(".").startswith(("base-", "image-", "accel")):
            (kept / path.name).symlink_to(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bring("saver").stop()
    (devices,) = kept.glob("state-*/devices")
    devices.write_bytes(devices.read_bytes()[:1000])
    # What is damaged in the cache is made anew; this one was saved so, and QEMU refuses it.
    state = devices.parent
    state.with_name(f".{state.name}.sums").write_text(json.dumps(checksums.of(state)))
    said: list[str] = []
    survivor = bring("survivor", said)
    assert survivor.shell.read(["/root/prepared"]).files == {"/root/prepared": "yes"}
    assert any("booting instead" in line for line in said)
    assert not devices.exists()
    survivor.stop()


STARTER = """
import sys, tempfile, time
from pathlib import Path
from clusters.contract.shape import NodeShape
from clusters.host import cache
from clusters.virtual_node import accel, image, machine
built = image.build({}, progress=print)
command = machine.command_line(built, NodeShape(1, 1, 1, 1, 512), accel.choose())
print(machine.start("n", Path(sys.argv[1]), built, command, tied=True).process, flush=True)
time.sleep(1000)
"""


def test_killing_the_run_kills_the_machine() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = str(Path(__file__).parents[2])
        with subprocess.Popen(
            [sys.executable, "-c", STARTER, directory],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        ) as starter:
            assert starter.stdout is not None
            identity = ""
            for line in starter.stdout:
                identity = line.strip()
                if identity.replace(":", "").isdigit():
                    break
            assert processes.alive(identity)
            starter.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while processes.alive(identity):
            assert time.monotonic() < deadline, "the machine outlives its run"
            time.sleep(0.05)
