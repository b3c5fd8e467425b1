"""What an administrator does on a node of the stack, asked for from outside its process.

A real node has systemctl; a kubelet of this stack lives in the cluster's process, which
listens on a unix socket of its run directory: one JSON request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from clusters.contract.access import AccessError
from clusters.reference.kubelet.checkpoint import CheckpointError
from clusters.reference.machine import NodeError
from clusters.reference.stack import Stack

SOCKET = "admin.sock"
ANSWER_SECONDS = 120.0


@contextlib.asynccontextmanager
async def administered(stack: Stack, directory: Path) -> AsyncIterator[None]:
    """Answers an `Administrator` for as long as the context lasts."""

    async def do(request: dict[str, str]) -> str:
        node = request["node"]
        kubelet = stack.kubelets.get(node)
        if kubelet is None:
            raise NodeError(f"there is no node {node}, only {', '.join(stack.kubelets)}")
        before = kubelet.starts
        if policy := request.get("policy"):
            configuration = replace(kubelet.configuration, policy=policy)
            await stack.configure_cpu_manager(node, configuration)
        else:
            await stack.restart_kubelet(node)
        return f"start {before} of the kubelet, then start {kubelet.starts}"

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply = {"done": await do(json.loads(await reader.readline()))}
        except (NodeError, CheckpointError) as error:
            reply = {"error": str(error)}
        writer.write(json.dumps(reply).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(on_connection, directory / SOCKET):
        yield


class Administrator:
    """`clusters.contract.access.NodeControl` of a cluster whose process runs in a directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / SOCKET

    def restart_kubelet(self, node: str) -> str:
        """As `NodeControl.restart_kubelet`."""
        return self._ask({"node": node})

    def set_cpu_manager_policy(self, node: str, policy: str) -> str:
        """As `NodeControl.set_cpu_manager_policy`."""
        return self._ask({"node": node, "policy": policy})

    def _ask(self, request: dict[str, str]) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_SECONDS)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as stream:
                    reply = json.loads(stream.read() or b"{}")
        except (OSError, ValueError) as error:
            raise AccessError(f"the cluster's process does not answer: {error}") from error
        if "done" not in reply:
            raise AccessError(reply.get("error", "the cluster's process broke off"))
        return str(reply["done"])
