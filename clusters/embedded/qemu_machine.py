"""A node of the reference stack that is a real machine: a virtual node with crun and libvirt."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from clusters.contract.access import AccessError, ExecResult, LibvirtView, Reading
from clusters.contract.provider import ClusterError
from clusters.embedded import container_scripts, oci
from clusters.embedded.description import IMMOBILE
from clusters.embedded.exec_session import PipedSession, TerminalSession
from clusters.kit.libvirt_client import LibvirtConnection
from clusters.kit.oci_images import Image
from clusters.reference.machine import ContainerSpec, ContainerState, ExecSession, NodeError
from clusters.virtual_node.machine import Machine as VirtualNode
from clusters.virtual_node.shell import Done, decode, forwarded

CONSOLE_LOG = "guest-console-log"
"""Name of the container whose log is what the guest of its pod prints."""
LAUNCHER_START_SECONDS = 120.0
FAREWELL_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class _Launcher:
    """The connection to the libvirt of one LAUNCHER container."""

    connection: LibvirtConnection
    forwarding: ExitStack
    ends: dict[str, asyncio.Future[str]] = field(default_factory=dict)

    def end_of(self, domain: str) -> asyncio.Future[str]:
        """Becomes the reason why the domain ended."""
        if domain not in self.ends:
            self.ends[domain] = asyncio.get_running_loop().create_future()
        return self.ends[domain]

    def close(self) -> None:
        """May block."""
        self.connection.close()
        self.forwarding.close()


class QemuMachine:
    """`clusters.reference.machine.Machine` on a virtual node.

    One process at a time may drive a node through it: only one is told that containers end.

    Args:
        node: a running node whose image has `clusters.embedded.node_image.extra_files` and on
            which `clusters.embedded.node_image.warm_up` has run.
        directory: an existing directory of this object alone, for sockets; its path is short.
    """

    immobile = IMMOBILE

    def __init__(self, node: VirtualNode, directory: Path) -> None:
        self._name = node.name
        self._commands = node.commands
        self._shell = node.shell
        self._async_shell = node.async_shell
        self._directory = directory
        self._specs: dict[str, ContainerSpec] = {}
        self._ends: dict[str, asyncio.Future[int]] = {}
        self._launchers: dict[str, _Launcher] = {}
        self._launcher_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._images: set[str] = set()
        self._image_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._follower: asyncio.Task[None] | None = None
        self._follower_lock = asyncio.Lock()

    # files

    async def read(self, patterns: Sequence[str]) -> Reading:
        """As `Machine.read`."""
        with self._translated():
            return await self._async_shell.read(patterns)

    async def write(self, files: Mapping[str, str]) -> None:
        """As `Machine.write`. A file that is not the kernel's is replaced as a whole."""
        await self._do("write files", container_scripts.write(files))

    async def make_directories(self, paths: Sequence[str]) -> None:
        """As `Machine.make_directories`."""
        await self._do("make directories", container_scripts.make_directories(paths))

    async def remove(self, paths: Sequence[str]) -> None:
        """As `Machine.remove`."""
        await self._do("remove files", container_scripts.remove(paths))

    # containers

    async def pull(self, image: Image) -> None:
        """As `Machine.pull`."""
        async with self._image_locks[image.key]:
            if image.key in self._images:
                return
            try:
                files = await asyncio.to_thread(image.files)
            except ClusterError as error:
                raise NodeError(str(error)) from error
            await self._do(
                "unpack an image", container_scripts.unpack(oci.image_root(image)), stdin=files
            )
            self._images.add(image.key)

    async def start_container(self, spec: ContainerSpec) -> ContainerState:
        """As `Machine.start_container`."""
        await self._follow_ends()
        self._specs[spec.id] = spec
        self._end_of(spec.id)
        config = oci.config(spec, container_scripts.directory_of(spec.id))
        try:
            done = await self._do(
                f"start container {spec.name}",
                container_scripts.start(spec),
                stdin=config.encode(),
            )
        except NodeError:
            await self.stop_container(spec.id, grace_seconds=0)
            raise
        return ContainerState(spec.id, int(done.text), None)

    async def set_cpusets(self, cpusets: Mapping[str, frozenset[int]]) -> None:
        """As `Machine.set_cpusets`."""
        if cpusets:
            await self._do("set cpusets", container_scripts.set_cpusets(cpusets))

    async def set_fifo(self, threads: Sequence[int], priority: int) -> None:
        """As `Machine.set_fifo`."""
        if threads:
            each = " && ".join(f"chrt --fifo --pid {priority} {thread}" for thread in threads)
            await self._do("schedule threads in real time", each)

    async def affine_pit(self, id: str) -> None:
        """As `Machine.affine_pit`."""
        script = container_scripts.affine_pit(self._specs[id].cgroup)
        await self._do("bind the timer of a guest", script)

    async def stop_container(self, id: str, *, grace_seconds: float) -> None:
        """As `Machine.stop_container`."""
        launcher = self._launchers.pop(id, None)
        if launcher is not None:
            for end in launcher.ends.values():
                if not end.done():
                    end.set_result("the launcher ended")
            await asyncio.to_thread(launcher.close)
        await self._do(f"stop container {id}", container_scripts.stop(id, grace_seconds))
        self._forget(id)

    async def containers(self) -> Mapping[str, ContainerState]:
        """As `Machine.containers`."""
        done = await self._do("list containers", container_scripts.states())
        states = {}
        for line in done.text.splitlines():
            container, pid, code = line.split()
            ended = None if code == "-" else int(code)
            states[container] = ContainerState(container, int(pid) if ended is None else 0, ended)
        return states

    async def wait_container(self, id: str) -> ContainerState:
        """As `Machine.wait_container`."""
        await self._follow_ends()
        end = self._end_of(id)
        if id not in self._specs:  # another process started it; it may have ended meanwhile
            state = (await self.containers()).get(id)
            if state is None:
                self._ends.pop(id, None)
                raise NodeError(f"there is no container {id} on node {self._name}")
            if state.exit_code is not None:
                return state
        return ContainerState(id, 0, await asyncio.shield(end))

    async def container_log(self, id: str) -> str:
        """As `Machine.container_log`; that of guest-console-log is the guest's console."""
        spec = self._specs.get(id)
        if spec is not None and spec.name == CONSOLE_LOG:
            return await self._console([i for i in self._launchers if self._of_pod(i, spec)])
        path = f"{container_scripts.directory_of(id)}/log"
        files = (await self.read([path])).files
        if path not in files:
            raise NodeError(f"there is no container {id} on node {self._name}")
        return files[path]

    async def execute(self, id: str, command: Sequence[str], *, tty: bool) -> ExecSession:
        """As `Machine.execute`."""
        if not tty:
            return await PipedSession.start(
                self._commands.run(container_scripts.execute(id, command))
            )
        terminal = f"terminal-{uuid.uuid4().hex}"

        async def resize(columns: int, rows: int) -> None:
            script = container_scripts.resize(id, terminal, columns, rows)
            await self._do("resize a terminal", script)

        script = container_scripts.execute(id, command, terminal=terminal)
        return await TerminalSession.start([*self._commands.ssh("-tt"), script], resize)

    async def execute_to_end(self, id: str, command: Sequence[str]) -> ExecResult:
        """As `Machine.execute_to_end`."""
        script = container_scripts.execute(id, command)
        with self._translated():
            done = await self._async_shell.run(script, check=False)
        if done.returncode == container_scripts.NOT_RUNNING:
            raise NodeError(f"container {id} on node {self._name} does not run")
        return ExecResult(done.returncode, decode(done.stdout), done.stderr)

    # libvirt

    async def wait_libvirt(self, id: str) -> None:
        """As `Machine.wait_libvirt`."""
        await self._launcher(id)

    async def create_domain(self, id: str, xml: str) -> None:
        """As `Machine.create_domain`."""
        launcher = await self._launcher(id)
        await self._in_thread(launcher.connection.create, xml)

    async def receive_domain(self, id: str, xml: str) -> None:  # noqa: ARG002
        """As `Machine.receive_domain`. Always raises."""
        raise NodeError(self.immobile)

    async def domain_view(self, id: str, domain: str) -> LibvirtView:
        """As `Machine.domain_view`."""
        launcher = await self._launcher(id)
        return await self._in_thread(launcher.connection.view, domain)

    async def destroy_domain(self, id: str, domain: str) -> None:
        """As `Machine.destroy_domain`; a launcher that has gone took its domain with it."""
        launcher = self._launchers.get(id)
        if launcher is not None:
            await self._in_thread(launcher.connection.destroy, domain)

    async def reset_domain(self, id: str, domain: str) -> None:
        """As `Machine.reset_domain`."""
        launcher = await self._launcher(id)
        await self._in_thread(launcher.connection.reset, domain)

    async def wait_domain_end(self, id: str, domain: str) -> str:
        """As `Machine.wait_domain_end`."""
        launcher = await self._launcher(id)
        end = launcher.end_of(domain)
        there = end.done() or await self._in_thread(launcher.connection.exists, domain)
        # Its end may have been told while it was looked for.
        if not there and not end.done():
            return "gone"
        return await asyncio.shield(end)

    async def console_text(self, id: str, domain: str) -> str:  # noqa: ARG002
        """As `Machine.console_text`."""
        return await self._console([id])

    async def close(self) -> None:
        """As `Machine.close`."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        launchers, self._launchers = self._launchers, {}
        for launcher in launchers.values():
            await asyncio.to_thread(launcher.close)

    # inside

    async def _do(
        self, purpose: str, script: str, *, stdin: bytes = b"", timeout_seconds: float | None = None
    ) -> Done:
        """Runs a script to its end. Raises NodeError that quotes what it complained of."""
        with self._translated():
            done = await self._async_shell.run(
                script, stdin=stdin, check=False, timeout_seconds=timeout_seconds
            )
        if done.returncode:
            said = (done.stderr.strip() or done.text.strip()).replace("\n", "; ")
            raise NodeError(f"node {self._name} could not {purpose}: {said}")
        return done

    @staticmethod
    async def _in_thread(call: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        with QemuMachine._translated():
            return await asyncio.to_thread(call, *arguments, **keywords)

    @staticmethod
    @contextlib.contextmanager
    def _translated() -> Iterator[None]:
        try:
            yield
        except AccessError as error:
            raise NodeError(str(error)) from error

    def _end_of(self, id: str) -> asyncio.Future[int]:
        if id not in self._ends:
            self._ends[id] = asyncio.get_running_loop().create_future()
        return self._ends[id]

    def _forget(self, id: str) -> None:
        self._specs.pop(id, None)
        self._ends.pop(id, None)
        self._launcher_locks.pop(id, None)

    def _of_pod(self, id: str, spec: ContainerSpec) -> bool:
        return id in self._specs and self._specs[id].pod_uid == spec.pod_uid

    async def _console(self, ids: Sequence[str]) -> str:
        if not ids:
            return ""
        files = (await self.read(list(map(container_scripts.console_pattern, ids)))).files
        return "".join(files.values())

    async def _follow_ends(self) -> None:
        """Begins to listen to the ends of containers, before the first is started."""
        async with self._follower_lock:
            if self._follower is None:
                script = container_scripts.follow_ends()
                process = await self._async_shell.spawn(script, stdin=True)
                self._follower = asyncio.create_task(self._follow(process))

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                container, code = line.split()
                end = self._ends.get(container.decode())
                if end is not None and not end.done():
                    end.set_result(int(code))
        finally:
            await _end(process)
            lost = NodeError(f"node {self._name} does not tell the ends of containers any more")
            for end in self._ends.values():
                if not end.done():
                    end.set_exception(lost)
                    end.exception()  # whoever waits sees it; nobody has to

    async def _launcher(self, id: str) -> _Launcher:
        """The connection to the container's libvirt, opened when that answers."""
        async with self._launcher_locks[id]:
            if id not in self._launchers:
                self._launchers[id] = await self._connect(id)
        return self._launchers[id]

    async def _connect(self, id: str) -> _Launcher:
        script = container_scripts.await_libvirt(id)
        await self._do("start libvirt", script, timeout_seconds=LAUNCHER_START_SECONDS)
        loop = asyncio.get_running_loop()

        def on_end(domain: str, reason: str) -> None:
            loop.call_soon_threadsafe(self._on_domain_end, id, domain, reason)

        def on_lost() -> None:
            loop.call_soon_threadsafe(self._on_libvirt_lost, id)

        def connect() -> _Launcher:
            with ExitStack() as stack:
                remote = container_scripts.libvirt_socket(id)
                socket = stack.enter_context(forwarded(self._shell, remote, self._directory))
                connection = LibvirtConnection(socket, on_domain_end=on_end, on_lost=on_lost)
                return _Launcher(connection, stack.pop_all())

        return await self._in_thread(connect)

    def _on_domain_end(self, id: str, domain: str, reason: str) -> None:
        launcher = self._launchers.get(id)
        if launcher is not None and not (end := launcher.end_of(domain)).done():
            end.set_result(reason)

    def _on_libvirt_lost(self, id: str) -> None:
        launcher = self._launchers.get(id)
        for end in launcher.ends.values() if launcher is not None else ():
            if not end.done():
                end.set_exception(NodeError(f"the libvirt of container {id} has gone"))
                end.exception()


async def _end(follower: asyncio.subprocess.Process) -> None:
    """Ends the far side by the end of its stdin; where that is not heard, this side alone."""
    assert follower.stdin is not None
    follower.stdin.close()
    try:
        async with asyncio.timeout(FAREWELL_SECONDS):
            await follower.wait()
    except TimeoutError:
        follower.kill()
