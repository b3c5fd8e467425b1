"""How other processes look into simulated nodes: one JSON request a connection.

A real node is looked into over ssh, or by an exec; one that exists in memory can only be
asked of the process that simulates it, over a unix socket of its run directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clusters.contract.access import AccessError, LibvirtView, Reading
from clusters.kit.sampler import END
from clusters.reference.apiserver.resources import POD, VMI
from clusters.reference.apiserver.store import NotFoundError, Object, Store
from clusters.reference.launcher.launcher import container_id
from clusters.reference.launcher_pod import COMPUTE, CREATED_BY
from clusters.reference.machine import NodeError
from clusters.simulated import sampler
from clusters.simulated.machine import SimulatedMachine

ANSWER_SECONDS = 30.0
REQUEST_BYTES = 16 * 2**20
"""Of one request, at the most: the patterns of a node of 256 CPUs take some 300 KiB."""
SOCKET = "nodes.sock"


async def serve(
    path: Path, machines: Mapping[str, SimulatedMachine], store: Store
) -> asyncio.Server:
    """Answers `ask` on a unix socket until the server is closed."""

    def answer(request: Mapping[str, Any]) -> object:
        match request:
            case {"read": patterns, "node": node}:
                return asdict(machines[node].read_now(patterns))
            case {"list": patterns, "node": node}:
                return machines[node].list_now(patterns)
            case {"domain": [namespace, vmi]}:
                pod = _launcher_pod(store, namespace, vmi)
                machine = machines[pod["spec"]["nodeName"]]
                view = machine.domain_view_now(container_id(pod, COMPUTE), f"{namespace}_{vmi}")
                return {
                    "xml": view.xml,
                    "vcpu_pins": {cpu: sorted(pins) for cpu, pins in view.vcpu_pins.items()},
                    "emulator_pin": sorted(view.emulator_pin),
                    "iothread_pins": {
                        thread: sorted(pins) for thread, pins in view.iothread_pins.items()
                    },
                    "source": view.source,
                }
            case {"console": [namespace, vmi]}:
                pod = _launcher_pod(store, namespace, vmi)
                machine = machines[pod["spec"]["nodeName"]]
                return machine.console_now(container_id(pod, COMPUTE), f"{namespace}_{vmi}")
        raise NodeError(f"a simulated node cannot answer {request}")

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        if "sample" in request:
            await _sample(machines[request["node"]], request["sample"], reader, writer)
            return
        try:
            reply = {"answer": answer(request)}
        except (NodeError, NotFoundError) as error:
            reply = {"error": str(error)}
        except KeyError as error:
            reply = {"error": f"there is no {error}"}
        writer.write(json.dumps(reply).encode())
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(on_connection, path, limit=REQUEST_BYTES)


async def _sample(
    machine: SimulatedMachine,
    checkpoint: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()

    async def listen() -> None:
        while line := await reader.readline():
            heard.put_nowait(line.decode().removesuffix("\n"))
        heard.put_nowait(None)

    listening = asyncio.create_task(listen())
    try:
        async for lines in sampler.sample(machine.kernel, checkpoint, heard):
            writer.write("".join(f"{line}\n" for line in lines).encode())
            await writer.drain()
    except ConnectionError:
        pass  # whoever looked has gone
    finally:
        listening.cancel()
        writer.close()


def _launcher_pod(store: Store, namespace: str, vmi: str) -> Object:
    uid = store.get(VMI, vmi, namespace)["metadata"]["uid"]
    for pod in store.list(POD, namespace):
        if (pod["metadata"].get("labels") or {}).get(CREATED_BY) == uid and pod["spec"].get(
            "nodeName"
        ):
            return pod
    raise NotFoundError(f"VMI {namespace}/{vmi} has no launcher on a node")


def ask(path: Path, request: Mapping[str, object]) -> Any:
    """One answer. Raises AccessError."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                reply = json.loads(stream.read() or b"{}")
    except (OSError, ValueError) as error:
        raise AccessError(f"the simulated cluster does not answer: {error}") from error
    if "answer" not in reply:
        raise AccessError(reply.get("error", "the simulated cluster broke off"))
    return reply["answer"]


class SimulatedShell:
    """NodeShell of a node in memory."""

    def __init__(self, path: Path, node: str) -> None:
        self._path = path
        self._node = node

    def read(self, patterns: Sequence[str]) -> Reading:
        """As `clusters.contract.access.NodeShell.read`."""
        return Reading(**ask(self._path, {"node": self._node, "read": list(patterns)}))

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """As `clusters.contract.access.NodeShell.list`."""
        return tuple(ask(self._path, {"node": self._node, "list": list(patterns)}))

    def sample(self, first: str) -> SocketSampling:
        """As `clusters.contract.access.NodeShell.sample`."""
        return SocketSampling(
            self._path, self._node, first.rpartition(f"{END}\n")[2].partition("\n")[0]
        )


class SocketSampling:
    """`clusters.contract.access.Sampling` of a node in memory."""

    def __init__(self, path: Path, node: str, checkpoint: str) -> None:
        """Starts it. Raises AccessError."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._closed = False
        try:
            self._socket.connect(str(path))
            request = {"sample": checkpoint, "node": node}
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            self._socket.close()
            raise AccessError(f"the simulated cluster does not answer: {error}") from error

    def lines(self) -> Iterator[str]:
        """As `Sampling.lines`."""
        with self._socket, self._socket.makefile("r", encoding="utf-8") as stream:
            yield from (line.removesuffix("\n") for line in stream)
        if not self._closed:
            raise AccessError("the simulated cluster broke off")

    def say(self, word: str) -> None:
        """As `Sampling.say`."""
        with contextlib.suppress(OSError):
            self._socket.sendall(f"{word}\n".encode())

    def close(self) -> None:
        """As `Sampling.close`."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


class SimulatedLibvirt:
    """Libvirt of domains in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def view(
        self,
        namespace: str,
        vmi: str,
        launcher: Mapping[str, Any],  # noqa: ARG002 - a domain is found by its name
    ) -> LibvirtView:
        """As `clusters.contract.access.Libvirt.view`."""
        answer = ask(self._path, {"domain": [namespace, vmi]})
        return LibvirtView(
            xml=answer["xml"],
            vcpu_pins=_pins(answer["vcpu_pins"]),
            emulator_pin=frozenset(answer["emulator_pin"]),
            iothread_pins=_pins(answer["iothread_pins"]),
            source=answer["source"],
        )


class SimulatedConsole:
    """GuestConsole of guests in memory, which have printed all that they ever will."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def text(self, namespace: str, vmi: str, enough: Callable[[str], bool]) -> str:  # noqa: ARG002
        """As `clusters.contract.access.GuestConsole.text`."""
        return str(ask(self._path, {"console": [namespace, vmi]}))


def _pins(answer: Mapping[str, list[int]]) -> dict[int, frozenset[int]]:
    return {int(number): frozenset(cpus) for number, cpus in answer.items()}
