"""Addresses of a virtual cluster, and the way from its API server to its nodes.

Each node has a network of QEMU's with nothing but its ssh connection to this host.
The API server reaches kubelets and pods through a proxy (an egress selector, KEP-1281) that
opens a channel of that connection. Each node has the address of the API's service itself, with
a port that leads back here, so that kubelet and pods reach the API server without a kube-proxy.
What the API server asks of services, webhooks and aggregated APIs, it asks of their pods
(``--enable-aggregator-routing``). Pods reach no other service, and names are not resolved.

Nodes that are not alone, and their pods, reach one another over a wire of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

from clusters.virtual_node.shell import Commands

_NETWORK = ipaddress.IPv4Network("10.10.0.0/16")
SERVICES = "10.96.0.0/16"
SERVICE_OF_THE_API = "10.96.0.1"
DNS = "10.96.0.10"
API_PORT = 443
"""Of that service."""
KUBELET_PORT = 10250
LARGEST_PIECE = 65536
_DEVICE = "eth1"
_CONNECT = re.compile(rb"CONNECT ([0-9.]+):(\d+) HTTP/1\.[01]\r\n")


def node_address(number: int) -> str:
    """The address of the node with that number, counted from 1."""
    return f"10.10.0.{number}"


def pod_range(number: int) -> str:
    """The addresses of that node's pods."""
    return f"10.10.{number}.0/24"


def number_of(address: str) -> int | None:
    """The number of the node that has the address, or whose pods may have it."""
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        return None
    third, fourth = parsed.packed[2:]
    return (third or fourth) if parsed in _NETWORK else None


def plugin_configuration(pods: str) -> bytes:
    """Of the network plugins: a bridge, for the pods of one node.

    Args:
        pods: the range of their addresses.
    """
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}).encode()


def wire_script(number: int, nodes: int) -> str:
    """Connects a node, which has a second network device, with the others.

    A saved machine that is restored several times has the same hardware address each time.
    """
    others = [other for other in range(1, nodes + 1) if other != number]
    return "\n".join(
        (
            "set -e",
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
            f"ip link set {_DEVICE} address 02:00:00:00:00:{number:02x}",
            f"ip address add {node_address(number)}/24 dev {_DEVICE}",
            f"ip link set {_DEVICE} up",
            *(f"ip route add {pod_range(other)} via {node_address(other)}" for other in others),
        )
    )


@contextlib.asynccontextmanager
async def wire(path: Path, ends: Collection[Path]) -> AsyncIterator[None]:
    """Hands each frame that one end sends to every other, for as long as the context lasts.

    As on any wire, frames get lost: those for an end that is not there or does not read.

    Args:
        path: of the socket to which the ends send.
        ends: their sockets, whether they are there yet or not.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.bind(str(path))
        loop.add_reader(own, _hand_on, own, [str(end) for end in ends])
        try:
            yield
        finally:
            loop.remove_reader(own)


def _hand_on(own: socket.socket, ends: Collection[str]) -> None:
    try:
        frame, sender = own.recvfrom(LARGEST_PIECE)
    except BlockingIOError:
        return  # Woken for nothing, as select(2) may.
    for end in ends:
        if end != sender:
            with contextlib.suppress(OSError):
                own.sendto(frame, end)


@contextlib.asynccontextmanager
async def proxy(path: Path, nodes: Mapping[int, Commands]) -> AsyncIterator[None]:
    """Answers HTTP CONNECT on a unix socket for as long as the context lasts.

    Args:
        path: of the socket.
        nodes: how each is reached, by number; looked at for each connection.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _answer(reader, writer, nodes)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # Whoever asked has gone, or speaks something else.
        finally:
            tasks.discard(task)
            writer.close()

    async with await asyncio.start_unix_server(on_connection, path):
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nodes: Mapping[int, Commands]
) -> None:
    asked = _CONNECT.match(await reader.readuntil(b"\r\n\r\n"))
    if asked is None:
        writer.write(b"HTTP/1.1 405 Only CONNECT to an address is understood\r\n\r\n")
        return
    address, port = asked[1].decode(), int(asked[2])
    commands = nodes.get(number_of(address) or 0)
    if commands is None:
        writer.write(b"HTTP/1.1 502 No node has this address\r\n\r\n")
        return
    channel = await asyncio.create_subprocess_exec(
        *commands.ssh("-W", f"{address}:{port}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert channel.stdin is not None
    assert channel.stdout is not None
    try:
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        up = asyncio.ensure_future(_pump(reader, channel.stdin))
        try:
            await _pump(channel.stdout, writer)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            channel.kill()
        await channel.wait()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(LARGEST_PIECE):
        target.write(piece)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
