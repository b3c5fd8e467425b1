"""Containers, guests and their libvirt on a real node, as the reference stack drives them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from clusters.contract.shape import NodeShape
from clusters.embedded import container_scripts, node_image
from clusters.embedded.qemu_machine import QemuMachine
from clusters.kit import libvirt_client, oci_archive
from clusters.kit.oci_archive import ContainerImage, File
from clusters.kit.oci_images import images
from clusters.reference.machine import ContainerSpec, Inside, Mount, NodeError, Program
from clusters.virtual_node import accel, image
from clusters.virtual_node.boot import boot
from clusters.virtual_node.machine import Machine as VirtualNode
from clusters.virtual_node.shell import forwarded

pytestmark = pytest.mark.machine

CGROUPS = "/sys/fs/cgroup"
PATIENCE = 240.0

Scenario = Callable[[QemuMachine], Coroutine[None, None, None]]
Run = Callable[[Scenario], None]


@pytest.fixture(scope="module")
def node() -> Iterator[VirtualNode]:
    """A prepared node of the default shape."""
    with tempfile.TemporaryDirectory(prefix="qm-test-") as directory:
        place = Path(directory) / "node"
        place.mkdir()
        node = boot(
            "node-1",
            place,
            image.build(node_image.extra_files(), progress=print),
            NodeShape(),
            accel.choose(),
            tied=True,
            progress=print,
            preparation=node_image.preparation(),
        )
        yield node
        node.stop()


@pytest.fixture
def run(node: VirtualNode) -> Run:
    """Runs a scenario on the node, of which nothing may be left there afterwards."""

    async def whole(scenario: Scenario) -> None:
        with tempfile.TemporaryDirectory(prefix="qm-test-") as sockets:
            machine = QemuMachine(node, Path(sockets))
            try:
                async with asyncio.timeout(PATIENCE):
                    await scenario(machine)
                    assert await machine.containers() == {}
                    groups = await machine.read([f"{CGROUPS}/test.slice/*/cgroup.procs"])
                    assert groups.files == {}
            finally:
                await machine.close()

    return lambda scenario: asyncio.run(whole(scenario))


def container(program: Program, **settings: object) -> ContainerSpec:
    id_ = uuid.uuid4().hex * 2
    defaults = {
        "id": id_,
        "name": "main",
        "pod_uid": str(uuid.uuid4()),
        "cgroup": f"/test.slice/{id_}.scope",
        "program": program,
        "cpuset": frozenset({2, 3, 4}),
    }
    return ContainerSpec(**{**defaults, **settings})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def running(machine: QemuMachine, spec: ContainerSpec) -> AsyncIterator[int]:
    """The container while it runs: its pid."""
    state = await machine.start_container(spec)
    try:
        yield state.pid
    finally:
        await machine.stop_container(spec.id, grace_seconds=5)


async def file(machine: QemuMachine, path: str) -> str:
    return (await machine.read([path])).files[path].strip()


def test_a_container_runs_in_its_cgroup_with_its_limits(run: Run) -> None:
    spec = container(Program.SLEEP, cpu_weight=79, cpu_max="20000 100000", memory_max=64 * 2**20)
    group = CGROUPS + spec.cgroup

    async def scenario(machine: QemuMachine) -> None:
        async with running(machine, spec) as pid:
            assert (await machine.containers())[spec.id].exit_code is None
            assert str(pid) in (await file(machine, f"{group}/cgroup.procs")).split()
            assert await file(machine, f"{group}/cpuset.cpus") == "2-4"
            assert await file(machine, f"{group}/cpu.weight") == "79"
            assert await file(machine, f"{group}/cpu.max") == "20000 100000"
            assert await file(machine, f"{group}/memory.max") == str(64 * 2**20)
            await machine.set_cpusets({spec.id: frozenset({0, 7}), "f" * 64: frozenset({1})})
            status = await file(machine, f"/proc/{pid}/status")
            assert "Cpus_allowed_list:\t0,7" in status
            end = asyncio.create_task(machine.wait_container(spec.id))
            await machine.stop_container(spec.id, grace_seconds=5)
            assert (await end).exit_code == 0

    run(scenario)


def test_a_command_ends_with_its_code_and_its_output(run: Run) -> None:
    spec = container(
        Program.COMMAND,
        command=("sh", "-c", 'echo "$GREETING"; echo trouble >&2; exit 3'),
        environment={"GREETING": "hello 'there'"},
    )

    async def scenario(machine: QemuMachine) -> None:
        async with running(machine, spec):
            assert (await machine.wait_container(spec.id)).exit_code == 3
            assert (await machine.containers())[spec.id].exit_code == 3
            assert await machine.container_log(spec.id) == "hello 'there'\ntrouble\n"
            with pytest.raises(NodeError, match="does not run"):
                await machine.execute_to_end(spec.id, ["true"])

    run(scenario)


def test_a_container_of_an_image_sees_its_files_and_has_its_user(
    node: VirtualNode, run: Run, tmp_path: Path
) -> None:
    busybox = File(node.shell.run("cat /usr/bin/busybox").stdout, 0o755)
    files = {"/bin/sh": busybox, "/bin/id": busybox, "/bin/ls": busybox, "/own": File(b"here")}
    oci_archive.write(tmp_path / "tool.tar", [ContainerImage("tool:1", files, owner=0, user=65532)])
    image_ = images(tmp_path / "tool.tar")["tool:1"]
    volume = Mount("/volume", f"/run/{uuid.uuid4()}/volume", group=65532)
    inside = Inside(image_, 65532, 0, (65532,), capable=False, escalates=False, mounts=(volume,))
    told = "id -u; ls /own; echo kept >/volume/file; ls /volume; echo no >/own; ls /usr; exit 4"
    spec = container(Program.IMAGE, command=("sh", "-c", told), inside=inside)

    async def scenario(machine: QemuMachine) -> None:
        for _ in range(2):
            await machine.pull(image_)
        async with running(machine, spec):
            assert (await machine.wait_container(spec.id)).exit_code == 4
            log = await machine.container_log(spec.id)
            assert log.splitlines()[:3] == ["65532", "/own", "file"]
            assert "Read-only file system" in log
            assert "/usr: No such file" in log, "it does not see the node's files"
        assert await file(machine, f"{volume.source}/file") == "kept"
        await machine.remove([volume.source.rpartition("/")[0]])

    run(scenario)


def test_a_program_that_is_not_there_is_an_error(run: Run) -> None:
    async def scenario(machine: QemuMachine) -> None:
        with pytest.raises(NodeError, match=r"could not start container main: .*nonsense"):
            await machine.start_container(container(Program.COMMAND, command=("nonsense",)))

    run(scenario)


def test_commands_run_inside_with_their_streams(run: Run) -> None:
    spec = container(Program.SLEEP)

    async def scenario(machine: QemuMachine) -> None:
        async with running(machine, spec):
            result = await machine.execute_to_end(spec.id, ["sh", "-c", "echo $$; exit 7"])
            assert result.returncode == 7
            session = await machine.execute(spec.id, ["cat"], tty=False)
            await session.write(b"ping")
            await session.close_stdin()
            assert [piece async for piece in session.output()] == [("stdout", b"ping")]
            assert await session.wait() == 0
            twice = ["sh", "-c", "read x; stty size; read x; stty size"]
            terminal = await machine.execute(spec.id, twice, tty=True)
            await terminal.resize(100, 30)
            await terminal.write(b"\n")
            screen = b""
            async for _, data in terminal.output():
                if b"30 100" in screen + data and b"30 100" not in screen:
                    await terminal.resize(120, 40)
                    await terminal.write(b"\n")
                screen += data
            assert await terminal.wait() == 0
            assert b"40 120" in screen

    run(scenario)


def test_virt_handlers_container_sees_the_node(run: Run) -> None:
    spec = container(Program.NODE_TOOLS)

    async def scenario(machine: QemuMachine) -> None:
        await machine.write({"/var/lib/kubelet/seen": "by virt-handler"})
        async with running(machine, spec):
            paths = ["/var/lib/kubelet/seen", "/proc/1/root/var/lib/kubelet/seen", "/proc/1/comm"]
            result = await machine.execute_to_end(spec.id, ["cat", *paths])
            assert result.stdout == "by virt-handlerby virt-handlerinit\n"
        await machine.remove(["/var/lib/kubelet/seen"])

    run(scenario)


def test_files_are_written_or_the_refusal_is_quoted(run: Run) -> None:
    async def scenario(machine: QemuMachine) -> None:
        text = "100% 'quoted'\n$HOME\n"
        await machine.write({"/root/new directory/file": text})
        assert list((await machine.read(["/root/new directory/*"])).files.values()) == [text]
        await machine.remove(["/root/new directory", "/root/never there"])
        group = f"{CGROUPS}/files.slice/child"
        await machine.make_directories([group])
        with pytest.raises(NodeError, match=r"Invalid argument; .*cpuset\.cpus"):
            await machine.write({f"{group}/cpuset.cpus": "nonsense"})
        await machine.remove([f"{CGROUPS}/files.slice"])
        assert (await machine.read([f"{CGROUPS}/files.slice/cgroup.procs"])).files == {}

    run(scenario)


def domain(name: str, uid: str, settings: str) -> str:
    return f"""
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>96</memory>
  <vcpu>2</vcpu>
  <iothreads>1</iothreads>
  <cputune>
    <vcpupin vcpu='0' cpuset='2'/>
    <vcpupin vcpu='1' cpuset='3'/>
    <emulatorpin cpuset='4'/>
    <iothreadpin iothread='1' cpuset='4'/>
  </cputune>
  {settings}
  <features><acpi/></features>
  <devices>
    <serial type='file'>
      <source path='/var/run/kubevirt-private/{uid}/virt-serial0-log' append='on'/>
    </serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def boot_settings(node: VirtualNode) -> str:
    guest = node_image.guest_settings(node.shell)
    features = "".join(f"<feature policy='require' name='{n}'/>" for n in guest.cpu_features)
    return f"""
  <os>
    <type arch='x86_64' machine='{guest.machine}'>hvm</type>
    <kernel>{guest.kernel}</kernel>
    <initrd>{guest.initrd}</initrd>
    <cmdline>{guest.arguments}</cmdline>
  </os>
  <cpu mode='{guest.cpu_mode}'>
    <topology sockets='1' dies='1' cores='1' threads='2'/>{features}
  </cpu>
"""


async def console(machine: QemuMachine, id_: str, name: str, *, reports: int) -> str:
    """What the guest has printed, once it has reported so often.

    An emulated one sometimes hangs while it boots (QEMU 7.2), and is reset, as virt-handler does.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE / 6):
                while True:
                    text = await machine.console_text(id_, name)
                    if text.count("CPU-CONFORMANCE-GUEST") >= reports and text.rstrip()[-1] == "}":
                        return text
                    await asyncio.sleep(0.2)
        await machine.reset_domain(id_, name)


async def report(machine: QemuMachine, id_: str, name: str) -> dict[str, object]:
    """What the guest says of itself, once it has."""
    text = await console(machine, id_, name, reports=1)
    marker = "CPU-CONFORMANCE-GUEST "
    line = next(line for line in text.splitlines() if line.startswith(marker))
    found: dict[str, object] = json.loads(line.removeprefix(marker))
    return found


def test_a_guest_runs_where_it_is_pinned_and_tells_its_topology(
    run: Run, node: VirtualNode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = container(Program.LAUNCHER, name="compute")
    console_log = container(Program.SLEEP, name="guest-console-log", pod_uid=spec.pod_uid)
    xml = domain("ns_vm", spec.pod_uid, boot_settings(node))

    async def scenario(machine: QemuMachine) -> None:
        async with running(machine, spec), running(machine, console_log):
            await machine.wait_libvirt(spec.id)
            private = f"/var/run/kubevirt-private/{spec.pod_uid}"
            assert (await machine.execute_to_end(spec.id, ["mkdir", "-p", private])).stderr == ""
            await machine.create_domain(spec.id, xml)
            with pytest.raises(NodeError, match="already exists"):
                await machine.create_domain(spec.id, xml)

            view = await machine.domain_view(spec.id, "ns_vm")
            assert view.vcpu_pins == {0: frozenset({2}), 1: frozenset({3})}
            assert view.emulator_pin == frozenset({4})
            assert view.iothread_pins == {1: frozenset({4})}
            with tempfile.TemporaryDirectory(prefix="qm-test-") as sockets:
                remote = container_scripts.libvirt_socket(spec.id)
                with forwarded(node.shell, remote, Path(sockets)) as socket:
                    other = await asyncio.to_thread(libvirt_client.ask, socket, "ns_vm")
            assert (other.vcpu_pins, other.xml) == (view.vcpu_pins, view.xml)

            guest = await report(machine, spec.id, "ns_vm")
            shape = [guest[key] for key in ("sockets", "cores_per_socket", "threads_per_core")]
            assert shape == [1, 1, 2]
            assert guest["online"] == "0-1"
            assert "CPU-CONFORMANCE-GUEST" in await machine.container_log(console_log.id)

            await machine.reset_domain(spec.id, "ns_vm")
            await console(machine, spec.id, "ns_vm", reports=2)
            again = await machine.domain_view(spec.id, "ns_vm")
            assert (again.vcpu_pins, again.emulator_pin) == (view.vcpu_pins, view.emulator_pin)

            await keep_house(machine, CGROUPS + spec.cgroup)
            end = asyncio.create_task(machine.wait_domain_end(spec.id, "ns_vm"))
            with pytest.raises(TimeoutError):  # it waits for as long as the domain is there
                await asyncio.wait_for(asyncio.shield(end), 5)
            await machine.destroy_domain(spec.id, "ns_vm")
            assert await end == "destroyed"
            await machine.destroy_domain(spec.id, "ns_vm")
            with pytest.raises(NodeError, match="ns_vm"):
                await machine.domain_view(spec.id, "ns_vm")

    run(scenario)


async def keep_house(machine: QemuMachine, group: str) -> None:
    """Moves all threads but the vCPUs' away, in virt-handler's order of writes."""
    house = f"{group}/housekeeping"
    await machine.make_directories([house])
    await machine.write(
        {
            f"{house}/cgroup.type": "threaded",
            f"{group}/cgroup.subtree_control": "+cpuset",
            f"{house}/cpuset.cpus": "4",
        }
    )
    threads = (await file(machine, f"{group}/cgroup.threads")).split()
    names = (await machine.read([f"/proc/{thread}/comm" for thread in threads])).files
    for path, name in names.items():
        if not ("CPU " in name and "KVM" in name):
            await machine.write({f"{house}/cgroup.threads": path.split("/")[2]})
    left = (await file(machine, f"{group}/cgroup.threads")).split()
    names = (await machine.read([f"/proc/{thread}/comm" for thread in left])).files
    assert sorted(name.strip() for name in names.values()) == ["CPU 0/KVM", "CPU 1/KVM"]
    assert await file(machine, f"{house}/cpuset.cpus.effective") == "4"


def test_a_launcher_that_is_killed_takes_its_guest_along(run: Run, node: VirtualNode) -> None:
    spec = container(Program.LAUNCHER, name="compute")
    xml = domain("ns_vm", spec.pod_uid, boot_settings(node))

    async def scenario(machine: QemuMachine) -> None:
        async with running(machine, spec) as pid:
            await machine.wait_libvirt(spec.id)
            private = f"/var/run/kubevirt-private/{spec.pod_uid}"
            await machine.execute_to_end(spec.id, ["mkdir", "-p", private])
            await machine.create_domain(spec.id, xml)
            end = asyncio.create_task(machine.wait_domain_end(spec.id, "ns_vm"))
            await asyncio.to_thread(node.shell.run, f"kill -KILL {pid}")
            assert (await machine.wait_container(spec.id)).exit_code == 137
            # It has gone, or breaks off while it is asked whether the domain is there.
            with pytest.raises(NodeError, match="libvirt"):
                await end

    run(scenario)


def test_a_refused_domain_is_an_error_with_libvirts_reason(run: Run) -> None:
    spec = container(Program.LAUNCHER, name="compute")

    async def scenario(machine: QemuMachine) -> None:
        async with running(machine, spec):
            await machine.wait_libvirt(spec.id)
            with pytest.raises(NodeError, match="libvirt refuses the domain"):
                await machine.create_domain(spec.id, "<domain type='kvm'><name>x</name></domain>")

    run(scenario)
