"""A node of the reference stack that exists in memory: containers, libvirt, guests.

Nothing runs. Containers are processes of a `Kernel`, a domain is a QEMU process with the
threads that libvirt would have made and pinned. Every operation takes one turn of the event
loop, so that the stack meets the same interleavings as on a real node.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from clusters.contract import cpuset
from clusters.contract.access import ExecResult, LibvirtView, Reading
from clusters.contract.hardware import Hardware
from clusters.contract.shape import NodeShape
from clusters.kit.oci_images import Image
from clusters.reference.machine import (
    ContainerSpec,
    ContainerState,
    ExecSession,
    NodeError,
    Program,
)
from clusters.simulated.containers import (
    EMULATOR_THREADS,
    PROCESSES,
    Container,
    Domain,
    exit_code,
)
from clusters.simulated.guest import console_text, enabled_vcpus, numa_maps
from clusters.simulated.kernel import CGROUP_ROOT, KTHREADD, Kernel
from clusters.simulated.kernel_objects import KernelError
from clusters.simulated.node_tools import (
    BulkSession,
    FinishedSession,
    SamplingSession,
    samples,
    understands,
)
from clusters.simulated.virsh import commands, pins_as_printed, together

SOURCE = "simulated libvirt"
KILLED = 137
"""Exit code of a process ended by SIGKILL."""


class SimulatedMachine:
    """`clusters.reference.machine.Machine` in memory."""

    immobile = ""

    def __init__(
        self,
        shape: NodeShape | Hardware,
        hostname: str = "node-1",
        *,
        start_seconds: float = 0.0,
    ) -> None:
        self.kernel = Kernel(shape, hostname)
        self._start_seconds = start_seconds
        self._hostname = hostname
        self._containers: dict[str, Container] = {}
        self._dead = False

    # files

    async def read(self, patterns: Sequence[str]) -> Reading:
        """As `Machine.read`."""
        await self._turn()
        return self.read_now(patterns)

    def read_now(self, patterns: Sequence[str]) -> Reading:
        """Reads without an event loop: what a shell on the node would see."""
        files: dict[str, str] = {}
        unreadable: dict[str, str] = {}
        for pattern in patterns:
            for path in self.kernel.glob(pattern):
                try:
                    files[path] = self.kernel.read(path)
                except KernelError as error:
                    unreadable[path] = str(error.strerror)
        return Reading(files, unreadable)

    def list_now(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Existing paths that match, sorted."""
        return tuple(sorted({path for pattern in patterns for path in self.kernel.glob(pattern)}))

    async def write(self, files: Mapping[str, str]) -> None:
        """As `Machine.write`."""
        await self._turn()
        for path, text in files.items():
            self._write(path, text)

    async def make_directories(self, paths: Sequence[str]) -> None:
        """As `Machine.make_directories`."""
        await self._turn()
        for path in paths:
            self.kernel.make_directory(path)

    async def remove(self, paths: Sequence[str]) -> None:
        """As `Machine.remove`."""
        await self._turn()
        for path in paths:
            try:
                self.kernel.remove(path)
            except KernelError as error:
                raise NodeError(f"cannot remove {path}: {error}") from error

    # containers

    async def pull(self, image: Image) -> None:  # noqa: ARG002
        """As `Machine.pull`. Always raises: programs need a node that is more than memory."""
        raise NodeError("a node in memory runs no programs")

    async def start_container(self, spec: ContainerSpec) -> ContainerState:
        """As `Machine.start_container`."""
        await self._turn()
        if spec.program is Program.LAUNCHER:
            await asyncio.sleep(self._start_seconds)
        if spec.id in self._containers:
            raise NodeError(f"container {spec.id} exists already")
        group = self.kernel.make_cgroup(spec.cgroup)
        settings = {"cpu.weight": str(spec.cpu_weight), "cpu.max": spec.cpu_max}
        if spec.cpuset is not None:
            settings["cpuset.cpus"] = cpuset.render(spec.cpuset)
        if spec.mems is not None:
            settings["cpuset.mems"] = cpuset.render(spec.mems)
        if spec.memory_max is not None:
            settings["memory.max"] = str(spec.memory_max)
        for name, text in settings.items():
            self._write(f"{CGROUP_ROOT}{spec.cgroup}/{name}", text)
        names = PROCESSES.get(spec.program, (spec.command[0] if spec.command else "sleep",))
        container = Container(spec, [self.kernel.spawn(name, group) for name in names])
        self._containers[spec.id] = container
        code = exit_code(spec)
        if code is not None:
            self._end(container, code)
        return container.state

    async def set_cpusets(self, cpusets: Mapping[str, frozenset[int]]) -> None:
        """As `Machine.set_cpusets`."""
        await self._turn()
        for container_id, cpus in cpusets.items():
            container = self._containers.get(container_id)
            if container is not None and container.exit_code is None:
                path = f"{CGROUP_ROOT}{container.spec.cgroup}/cpuset.cpus"
                self._write(path, cpuset.render(cpus))

    async def set_fifo(self, threads: Sequence[int], priority: int) -> None:
        """As `Machine.set_fifo`."""
        await self._turn()
        for thread in threads:
            try:
                self.kernel.set_fifo(thread, priority)
            except KernelError as error:
                raise NodeError(f"cannot schedule thread {thread}: {error.strerror}") from error

    async def stop_container(self, id: str, *, grace_seconds: float) -> None:  # noqa: ARG002
        """As `Machine.stop_container`; everything here obeys SIGTERM at once."""
        await self._turn()
        container = self._containers.pop(id, None)
        if container is not None:
            self._end(container, KILLED)
            self.kernel.remove_cgroup(container.spec.cgroup)

    def kill_container(self, id: str, exit_code: int = KILLED) -> None:
        """Ends the processes of a container, as a crash or the OOM killer would."""
        self._end(self._container(id), exit_code)

    async def containers(self) -> Mapping[str, ContainerState]:
        """As `Machine.containers`."""
        await self._turn()
        return {name: container.state for name, container in self._containers.items()}

    async def wait_container(self, id: str) -> ContainerState:
        """As `Machine.wait_container`."""
        container = self._container(id)
        await container.ended.wait()
        await self._turn()
        return container.state

    async def container_log(self, id: str) -> str:
        """As `Machine.container_log`; guest-console-log prints the guest's console."""
        await self._turn()
        container = self._container(id)
        if container.spec.name != "guest-console-log":
            return f"{container.spec.name} runs in a simulation: nothing was executed\n"
        return "".join(
            domain.console
            for other in self._containers.values()
            if other.spec.pod_uid == container.spec.pod_uid
            for domain in other.domains.values()
        )

    async def execute(self, id: str, command: Sequence[str], *, tty: bool) -> ExecSession:  # noqa: ARG002
        """As `Machine.execute`."""
        if self._container(id).spec.program is Program.NODE_TOOLS:
            if understands(command):
                return BulkSession(self.kernel, command)
            if samples(command):
                return SamplingSession(self.kernel)
        return FinishedSession(await self.execute_to_end(id, command))

    async def execute_to_end(self, id: str, command: Sequence[str]) -> ExecResult:
        """As `Machine.execute_to_end`, for the few commands that a simulation understands."""
        await self._turn()
        container = self._container(id)
        if container.exit_code is not None:
            raise NodeError(f"container {container.spec.name} has ended")
        return self._run(container, list(command))

    # libvirt

    async def wait_libvirt(self, id: str) -> None:
        """As `Machine.wait_libvirt`."""
        await self._turn()
        if self._container(id).exit_code is not None:
            raise NodeError(f"container {id} ended before its libvirt answered")

    async def create_domain(self, id: str, xml: str) -> None:
        """As `Machine.create_domain`."""
        await self._turn()
        container = self._container(id)
        if container.exit_code is not None:
            raise NodeError(f"container {id} has ended; it cannot start a domain")
        tree = ElementTree.fromstring(xml)
        name = tree.findtext("name") or ""
        if name in container.domains:
            raise NodeError(f"domain '{name}' already exists")
        group = self.kernel.cgroup(container.spec.cgroup)
        parent = container.processes[-1].pid
        process = self.kernel.spawn(
            "qemu-system-x86_64",
            group,
            parent=parent,
            arguments=("qemu-system-x86_64", "-name", f"guest={name}"),
        )
        vcpus = {n: self.kernel.add_thread(process, f"CPU {n}/KVM") for n in enabled_vcpus(tree)}
        iothreads = {
            n: self.kernel.add_thread(process, f"IO iothread{n}")
            for n in range(1, int(tree.findtext("iothreads") or 0) + 1)
        }
        emulator = [process.threads[0]]
        names = (*EMULATOR_THREADS, f"vhost-{process.pid}")
        emulator += [self.kernel.add_thread(process, comm) for comm in names]
        # The kernel's own, in no cgroup of the guest.
        pit = self.kernel.spawn(f"kvm-pit/{process.pid}", self.kernel.root, parent=KTHREADD)
        domain = Domain(process, xml, vcpus, iothreads, emulator, console_text(tree), pit)
        try:
            self._pin(domain, tree)
        except KernelError as error:
            self.kernel.exit(pit.pid)
            self.kernel.exit(process.pid)
            raise NodeError(f"cannot set CPU affinity on process: {error.strerror}") from error
        process.numa_maps = numa_maps(tree)
        container.domains[name] = domain

    async def receive_domain(self, id: str, xml: str) -> None:
        """As `Machine.receive_domain`: asked for it, the guest says its report again."""
        await self.create_domain(id, xml)

    async def affine_pit(self, id: str) -> None:
        """As `Machine.affine_pit`."""
        await self._turn()
        for domain in self._container(id).domains.values():
            if 0 in domain.vcpus:
                self.kernel.set_affinity(domain.pit.threads[0], domain.vcpus[0].allowed)

    async def domain_view(self, id: str, domain: str) -> LibvirtView:
        """As `Machine.domain_view`."""
        await self._turn()
        return self.domain_view_now(id, domain)

    def domain_view_now(self, id: str, domain: str) -> LibvirtView:
        """What `domain_view` answers, without an event loop."""
        found = self._domain(id, domain)
        everything = self.kernel.online
        return LibvirtView(
            xml=found.xml,
            vcpu_pins={n: t.requested or everything for n, t in found.vcpus.items()},
            emulator_pin=found.emulator[0].requested or everything,
            # libvirt asks the kernel for those, which keeps them within their cgroup.
            iothread_pins={n: t.allowed for n, t in found.iothreads.items()},
            source=SOURCE,
        )

    async def destroy_domain(self, id: str, domain: str) -> None:
        """As `Machine.destroy_domain`."""
        await self._turn()
        container = self._containers.get(id)
        if container is not None and domain in container.domains:
            self._end_domain(container, domain, "destroyed")

    async def wait_domain_end(self, id: str, domain: str) -> str:
        """As `Machine.wait_domain_end`."""
        reason = self._container(id).ended_domains.get(domain)
        if reason is not None:
            return reason
        found = self._domain(id, domain)
        await found.ended.wait()
        await self._turn()
        return found.reason

    async def reset_domain(self, id: str, domain: str) -> None:
        """As `Machine.reset_domain`: it prints its report once more."""
        await self._turn()
        found = self._domain(id, domain)
        found.console += found.console

    async def console_text(self, id: str, domain: str) -> str:
        """As `Machine.console_text`."""
        await self._turn()
        return self.console_now(id, domain)

    def console_now(self, id: str, domain: str) -> str:
        """What the guest has printed; it printed all of it when it began."""
        return self._domain(id, domain).console

    def end_domain(self, id: str, domain: str, reason: str = "shutdown") -> None:
        """The guest ends by itself."""
        self._domain(id, domain)
        self._end_domain(self._container(id), domain, reason)

    async def close(self) -> None:
        """As `Machine.close`."""

    def die(self) -> None:
        """From now on nothing on this node answers."""
        self._dead = True

    # inside

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self._dead:
            raise NodeError(f"node {self._hostname} does not answer")

    def _write(self, path: str, text: str) -> None:
        try:
            self.kernel.write(path, text)
        except KernelError as error:
            raise NodeError(f"cannot write {text!r} to {path}: {error}") from error

    def _container(self, id: str) -> Container:
        try:
            return self._containers[id]
        except KeyError:
            raise NodeError(f"no container {id} on {self._hostname}") from None

    def _domain(self, id: str, name: str) -> Domain:
        container = self._container(id)
        if name not in container.domains:
            raise NodeError(f"no domain {name} in container {container.spec.name}")
        return container.domains[name]

    def _end(self, container: Container, exit_code: int) -> None:
        if container.exit_code is not None:
            return
        for domain in list(container.domains):
            self._end_domain(container, domain, "the launcher ended")
        for process in container.processes:
            self.kernel.exit(process.pid)
        container.exit_code = exit_code
        container.ended.set()

    def _end_domain(self, container: Container, name: str, reason: str) -> None:
        domain = container.domains.pop(name)
        self.kernel.exit(domain.process.pid)
        self.kernel.exit(domain.pit.pid)
        domain.reason = container.ended_domains[name] = reason
        domain.ended.set()

    def _pin(self, domain: Domain, tree: ElementTree.Element) -> None:
        for pin in tree.findall("cputune/vcpupin"):
            thread = domain.vcpus.get(int(pin.attrib["vcpu"]))
            if thread is not None:
                self.kernel.set_affinity(thread, cpuset.parse(pin.attrib["cpuset"]))
        for pin in tree.findall("cputune/iothreadpin"):
            thread = domain.iothreads[int(pin.attrib["iothread"])]
            self.kernel.set_affinity(thread, cpuset.parse(pin.attrib["cpuset"]))
        emulator = tree.find("cputune/emulatorpin")
        if emulator is not None:
            for thread in domain.emulator:
                self.kernel.set_affinity(thread, cpuset.parse(emulator.attrib["cpuset"]))

    def _run(self, container: Container, command: list[str]) -> ExecResult:
        name, *words = command
        if name.rsplit("/", 1)[-1] in ("sh", "bash") and "-c" in words:
            return self._run(container, shlex.split(words[words.index("-c") + 1]))
        output = ""
        match name:
            case "cat":
                return self._cat(words)
            case "virsh":
                return together(self._virsh(container, each) for each in commands(words))
            case "ls":
                output = "".join(f"{path.rsplit('/', 1)[1]}\n" for path in self._in(words))
            case "echo":
                output = " ".join(words) + "\n"
            case "hostname":
                output = self._hostname + "\n"
            case "nproc":
                output = f"{len(self.kernel.cgroup(container.spec.cgroup).effective)}\n"
            case "kill":
                self._end(container, KILLED)
            case "true" | "mkdir" | "truncate" | "sleep":
                pass
            case _:
                return ExecResult(127, "", f"{name}: not part of this simulation\n")
        return ExecResult(0, output, "")

    def _in(self, directories: Sequence[str]) -> tuple[str, ...]:
        return self.list_now([f"{d.rstrip('/')}/*" for d in directories if d[0] != "-"])

    def _cat(self, paths: Sequence[str]) -> ExecResult:
        texts, errors = [], []
        for path in paths:
            try:
                texts.append(self.kernel.read(path))
            except KernelError as error:
                errors.append(f"cat: {path}: {error.strerror}\n")
        return ExecResult(int(bool(errors)), "".join(texts), "".join(errors))

    def _virsh(self, container: Container, words: Sequence[str]) -> ExecResult:
        plain = [word for word in words if not word.startswith("-") and "://" not in word]
        output = "\n"
        try:
            match plain:
                case ["echo", text]:
                    output = f"{text}\n"
                case ["list"]:
                    output = "".join(f"{name}\n" for name in container.domains)
                case ["dumpxml", name]:
                    output = self._domain(container.spec.id, name).xml
                case ["vcpupin" | "emulatorpin" | "iothreadinfo" as command, name]:
                    view = self.domain_view_now(container.spec.id, name)
                    output = pins_as_printed(command, view)
                case ["vcpupin", name, vcpu, cpus]:
                    thread = self._domain(container.spec.id, name).vcpus[int(vcpu)]
                    self.kernel.set_affinity(thread, cpuset.parse(cpus))
                case _:
                    return ExecResult(1, "", f"virsh {shlex.join(words)}: not simulated\n")
        except (NodeError, KernelError) as error:
            return ExecResult(1, "", f"error: {error}\n")
        return ExecResult(0, output, "")
