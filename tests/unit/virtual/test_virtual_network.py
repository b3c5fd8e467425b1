"""The API server reaches nodes and pods through the proxy, and nodes one another by a wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from clusters.virtual import network
from clusters.virtual_node.shell import Commands


@dataclass(frozen=True)
class Echo(Commands):
    """A node whose every service says where it was looked for, and then repeats what it hears."""

    def ssh(self, *options: str) -> list[str]:
        return ["sh", "-c", 'echo "$@"; exec cat', "sh", self.node, *options]


NODES = {number: Echo(f"node-{number}", "", "", "", 0) for number in (1, 2)}


async def talk(path: Path, nodes: Mapping[int, Commands], *said: bytes) -> bytes:
    async with network.proxy(path, nodes):
        reader, writer = await asyncio.open_unix_connection(path)
        for piece in said:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


@pytest.mark.parametrize(
    ("address", "node"),
    [("10.10.0.1", "node-1"), ("10.10.0.2", "node-2"), ("10.10.2.17", "node-2")],
)
def test_a_node_and_its_pods_are_reached(tmp_path: Path, address: str, node: str) -> None:
    asked = f"CONNECT {address}:10250 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = asyncio.run(talk(tmp_path / "s", NODES, asked, b"hello"))
    assert answer == f"HTTP/1.1 200 Connected\r\n\r\n{node} -W {address}:10250\nhello".encode()


@pytest.mark.parametrize(
    "address", ["10.10.0.3", "10.10.9.1", "127.0.0.1", "10.11.0.1", "999.1.1.1"]
)
def test_nothing_else_is_reached(tmp_path: Path, address: str) -> None:
    asked = f"CONNECT {address}:80 HTTP/1.1\r\n\r\n".encode()
    assert asyncio.run(talk(tmp_path / "s", NODES, asked)).startswith(b"HTTP/1.1 502 ")


def test_only_connect_is_understood(tmp_path: Path) -> None:
    asked = b"GET http://10.10.0.1/ HTTP/1.1\r\n\r\n"
    assert asyncio.run(talk(tmp_path / "s", NODES, asked)).startswith(b"HTTP/1.1 405 ")


def test_who_breaks_off_is_forgotten(tmp_path: Path) -> None:
    assert asyncio.run(talk(tmp_path / "s", NODES, b"CONN")) == b""


def test_addresses_lead_back_to_their_node() -> None:
    for number in (1, 2, 200):
        assert network.number_of(network.node_address(number)) == number
        configuration = json.loads(network.plugin_configuration(network.pod_range(number)))
        subnet = configuration["plugins"][0]["ipam"]["ranges"][0][0]["subnet"]
        assert network.number_of(subnet.partition("/")[0].removesuffix(".0") + ".7") == number


async def heard(tmp_path: Path, frames: Mapping[str, bytes]) -> dict[str, bytes]:
    """What each of three nodes hears, after these have sent; a fourth is not there."""
    names = ("one", "two", "three")
    ends: dict[str, socket.socket] = {}
    try:
        for name in names:
            ends[name] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            ends[name].setblocking(False)
            ends[name].bind(str(tmp_path / name))
        wire = tmp_path / "wire"
        async with network.wire(wire, [tmp_path / name for name in (*names, "none")]):
            loop = asyncio.get_running_loop()
            for name, frame in frames.items():
                ends[name].sendto(frame, str(wire))
            found = {}
            for name in names:
                wanted = sum(other != name for other in frames)
                async with asyncio.timeout(30):
                    found[name] = b"".join(
                        [await loop.sock_recv(ends[name], 2000) for _ in range(wanted)]
                    )
                with pytest.raises(BlockingIOError):
                    ends[name].recv(2000)
            return found
    finally:
        for end in ends.values():
            end.close()


def test_what_one_node_sends_reaches_every_other(tmp_path: Path) -> None:
    found = asyncio.run(heard(tmp_path, {"one": b"from one", "three": b"from three"}))
    assert found == {"one": b"from three", "two": b"from onefrom three", "three": b"from one"}


def test_a_node_that_does_not_read_loses_frames_and_the_others_none(tmp_path: Path) -> None:
    names = ("deaf", "one", "two")

    async def everything() -> list[bytes]:
        with contextlib.ExitStack() as stack:
            ends = {}
            for name in names:
                end = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                end.setblocking(False)
                end.bind(str(tmp_path / name))
                ends[name] = end
            loop = asyncio.get_running_loop()
            found = []
            async with (
                asyncio.timeout(30),
                network.wire(tmp_path / "wire", [tmp_path / name for name in names]),
            ):
                for number in range(1000):
                    frame = str(number).encode()
                    await loop.sock_sendto(ends["one"], frame, str(tmp_path / "wire"))
                    found.append(await loop.sock_recv(ends["two"], 2000))
            return found

    assert asyncio.run(everything()) == [str(number).encode() for number in range(1000)]
