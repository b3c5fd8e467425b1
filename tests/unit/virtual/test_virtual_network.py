"""The API server reaches nodes and pods through the proxy, and nothing else."""

from __future__ import annotations

import asyncio
import json
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
