"""The machine asked for is the one that QEMU is told to be; acceleration is what works."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.contract.shape import NodeShape
from clusters.host import processes
from clusters.virtual_node import accel, machine
from clusters.virtual_node.accel import Accel
from clusters.virtual_node.image import Image
from clusters.virtual_node.machine import MachineError
from clusters.virtual_node.qmp import Qmp, QmpError
from clusters.virtual_node.shell import Commands

TCG = Accel("tcg", "EPYC", "a test", "7.2")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    directory = tmp_path / "image"
    directory.mkdir()
    found = Image(directory, "key")
    for path in (found.identity_file, found.known_hosts):
        path.touch()
    return found


def values(command: list[str], option: str) -> list[str]:
    return [command[index + 1] for index, word in enumerate(command) if word == option]


@pytest.mark.parametrize(
    ("shape", "smp", "nodes"),
    [
        (NodeShape(2, 3, 2, 2), "12,sockets=2,cores=3,threads=2", ["0-5", "6-11"]),
        (NodeShape(1, 4, 1, 1), "4,sockets=1,cores=4,threads=1", ["0-3"]),
        (NodeShape(1, 4, 2, 2), "8,sockets=1,cores=4,threads=2", ["0-3", "4-7"]),
        (NodeShape(2, 1, 1, 1), "2,sockets=2,cores=1,threads=1", ["0-1"]),
    ],
    ids=str,
)
def test_the_shape_is_what_qemu_is_told(
    image: Image, shape: NodeShape, smp: str, nodes: list[str]
) -> None:
    command = machine.command_line(image, shape, TCG)
    assert values(command, "-smp") == [smp]
    assert [numa.split("cpus=")[1].split(",")[0] for numa in values(command, "-numa")] == nodes


def test_the_numa_nodes_share_all_the_memory(image: Image) -> None:
    command = machine.command_line(image, NodeShape(3, 1, 1, 3, memory_mib=1000), TCG)
    sizes = [int(o.rpartition("size=")[2].removesuffix("M")) for o in values(command, "-object")]
    assert values(command, "-m") == ["1000"]
    assert sum(sizes) == 1000
    assert max(sizes) - min(sizes) <= 1


def test_a_saved_memory_is_mapped_privately(image: Image, tmp_path: Path) -> None:
    command = machine.command_line(image, NodeShape(), TCG, memory=tmp_path)
    assert all("share=off" in backend for backend in values(command, "-object"))


def test_clocks_of_emulation_are_for_emulation_only(image: Image) -> None:
    kvm = machine.command_line(image, NodeShape(), Accel("kvm", "host", "a test", "7.2"))
    assert "lpj=" not in values(kvm, "-append")[0]
    assert "lpj=" in values(machine.command_line(image, NodeShape(), TCG), "-append")[0]


def test_a_qemu_that_ends_at_once_is_quoted(image: Image, tmp_path: Path) -> None:
    script = "echo 'warning: TCG doesn'\"'\"'t support requested feature: x' >&2; echo bad >&2"
    directory = tmp_path / "run"
    directory.mkdir()
    with pytest.raises(MachineError, match=r"(?s)node n1 did not start.*qemu.log ends with:\nbad$"):
        machine.start("n1", directory, image, ["sh", "-c", script], tied=True)


def test_a_missing_qemu_is_an_error(image: Image, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"did not start|could not be started"):
        machine.start("n1", tmp_path, image, ["/nonexistent/qemu"], tied=False)


def test_a_directory_too_deep_for_sockets_is_refused(image: Image, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="too long a path for sockets"):
        machine.start("n1", tmp_path / ("x" * 100), image, ["true"], tied=True)


def test_a_dead_machine_shows_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "serial.log").write_text("booting\nKernel panic - not syncing\n")
    (tmp_path / "qemu.log").touch()
    (tmp_path / "machine.json").write_text(
        json.dumps(
            {
                "name": "n1",
                "directory": str(tmp_path),
                "process": f"{2**22 + 1}:12",
                "commands": {
                    "node": "n1",
                    "control_path": "c",
                    "identity_file": "i",
                    "known_hosts": "k",
                    "port": 1,
                },
            }
        )
    )
    found = machine.load(tmp_path)
    assert found is not None
    assert not found.alive()
    with pytest.raises(MachineError, match=r"(?s)node n1 has died.*Kernel panic"):
        found.require_alive()
    found.stop()


def test_nothing_is_loaded_where_nothing_was_started(tmp_path: Path) -> None:
    assert machine.load(tmp_path) is None


def test_a_machine_survives_being_written_and_read(image: Image, tmp_path: Path) -> None:
    commands = Commands("n1", "c", "i", "k", 1)
    written = machine.Machine("n1", tmp_path, processes.identity(1), commands)
    (tmp_path / "machine.json").write_text(written.dump())
    assert machine.load(tmp_path) == written


# Acceleration. A script plays QEMU; the host's KVM is taken out of the question.


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    qemu = directory / accel.QEMU
    qemu.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n'
        '[ "$1" = --version ] && { echo "QEMU emulator version 9.9.9 (Debian 1)"; exit; }\n'
        ". $0.behaviour\n"
    )
    qemu.chmod(0o755)
    return qemu


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        ("exit 33", None),
        ("sleep 60", "did not run within"),
        ("echo 'failed to initialize kvm' >&2; exit 1", "failed (failed to initialize kvm)"),
        ("exit 0", "failed (0)"),
    ],
)
def test_kvm_is_what_runs_a_guest_in_time(
    fake_qemu: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, problem: str | None
) -> None:
    fake_qemu.with_name(fake_qemu.name + ".behaviour").write_text(f"exec sh -c {behaviour!r}\n")
    monkeypatch.setattr(accel, "KVM_PROBE_SECONDS", 1.0 if "sleep" in behaviour else 30.0)
    found = accel.guest_problem()
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


def test_the_choice_is_kept_until_something_changes(
    fake_qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = ["no KVM today", "asked again"]
    monkeypatch.setattr(accel, "_kvm_problem", lambda: problems.pop(0))
    first = accel.choose()
    assert (first.kind, first.qemu) == ("tcg", "9.9.9 (Debian 1)")
    assert first.reason.startswith("no KVM today")
    assert accel.choose() == first
    fake_qemu.write_text("#!/bin/sh\necho 'QEMU emulator version 10.0.0'\n")
    assert accel.choose().reason.startswith("asked again")


def test_without_qemu_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ClusterError, match=r"apt-get install .*qemu-system-x86"):
        accel.choose()


# QMP. A thread plays QEMU's side of the socket.


@pytest.fixture
def monitor(tmp_path: Path) -> Path:
    path = tmp_path / "qmp"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def serve() -> None:
        connection, _ = server.accept()
        with server, connection, connection.makefile("rw") as file:

            def say(**message: object) -> None:
                file.write(json.dumps(message) + "\n")
                file.flush()

            say(QMP={})
            for line in file:
                asked = json.loads(line)["execute"]
                if asked == "migrate":
                    say(event="MIGRATION", data={"status": "setup"})
                    say(event="STOP")
                    say(**{"return": {}})
                    say(event="MIGRATION", data={"status": "completed"})
                elif asked == "quit":
                    return
                elif asked == "bogus":
                    say(error={"class": "CommandNotFound", "desc": "no such command"})
                else:
                    say(**{"return": asked})

    threading.Thread(target=serve, daemon=True).start()
    return path


def test_answers_and_events_are_told_apart(monitor: Path) -> None:
    with Qmp(monitor) as qmp:
        assert qmp.execute("query-status") == "query-status"
        qmp.execute("migrate", uri="exec:true")
        states = frozenset({"completed", "failed"})
        assert qmp.wait_for("MIGRATION", status=states) == "completed"


def test_a_refusal_carries_its_reason(monitor: Path) -> None:
    with Qmp(monitor) as qmp, pytest.raises(QmpError, match="bogus: no such command"):
        qmp.execute("bogus")


def test_a_qemu_that_is_gone_is_an_error(monitor: Path, tmp_path: Path) -> None:
    with Qmp(monitor) as qmp, pytest.raises(QmpError, match="QEMU has ended"):
        qmp.execute("quit")
    with pytest.raises(QmpError, match="does not answer"):
        Qmp(tmp_path / "none")


def test_a_qemu_that_does_not_work_is_told_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / accel.QEMU
    broken.write_text("#!/bin/sh\necho libfoo.so is missing >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ClusterError, match=r"libfoo.so is missing; install it anew"):
        accel._qemu_version()
