"""Bytes that flow: logs, exec and consoles.

Exec speaks the remotecommand protocol over WebSocket (v4 and v5.channel.k8s.io): every
message begins with the number of its channel (k8s.io/streaming and
k8s.io/client-go/tools/remotecommand).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from aiohttp import WSMsgType, web

from clusters.reference.apiserver.errors import StatusError, bad_request
from clusters.reference.machine import ExecSession, NodeError

Object = dict[str, Any]

V5 = "v5.channel.k8s.io"
EXEC_PROTOCOLS = (V5, "v4.channel.k8s.io")
CONSOLE_PROTOCOL = "plain.kubevirt.io"

STREAMING = web.RequestKey("streaming", bool)
"""Set on a request when its answer begins to flow: a later failure cannot be told."""

FOLLOW_SECONDS = 0.5
"""How often text that grows is read again: nodes offer no way to wait for more of it."""


class Channel(IntEnum):
    """The first byte of a message."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255


@dataclass(frozen=True)
class Streams:
    """Which streams the client attached."""

    stdin: bool
    stdout: bool
    stderr: bool


def check_upgrade(request: web.Request) -> None:
    """Raises StatusError 400 for everything that is no WebSocket, such as SPDY."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade.startswith("spdy"):
        raise bad_request(
            "SPDY is not spoken here: use a client that streams over WebSocket, such as "
            "kubectl 1.31 or newer (KUBECTL_REMOTE_COMMAND_WEBSOCKETS must not be false)"
        )
    if upgrade != "websocket":
        raise bad_request("Upgrade request required: this answers WebSocket requests only")


async def serve_exec(
    request: web.Request, session: ExecSession, streams: Streams
) -> web.WebSocketResponse:
    """Connects a started command with the client, to the end of either."""
    socket = web.WebSocketResponse(protocols=EXEC_PROTOCOLS, compress=False, max_msg_size=0)
    try:
        request[STREAMING] = True
        await socket.prepare(request)
        # Tells the client that the streams are there, as kubelets do.
        await socket.send_bytes(bytes([Channel.STDOUT]))
        if not streams.stdin:
            await session.close_stdin()
        reader = asyncio.create_task(_receive(socket, session, streams))
        try:
            status = await _run(socket, session, streams, reader)
        finally:
            reader.cancel()
        if not socket.closed:
            await socket.send_bytes(bytes([Channel.ERROR]) + json.dumps(status).encode())
            await socket.close()
    finally:
        await session.kill()
    return socket


async def _run(
    socket: web.WebSocketResponse,
    session: ExecSession,
    streams: Streams,
    reader: asyncio.Task[None],
) -> Object:
    """Copies the output; the status that the client is to be told in the end."""
    sender = asyncio.create_task(_send(socket, session, streams))
    try:
        await asyncio.wait({sender, reader}, return_when=asyncio.FIRST_COMPLETED)
        if not sender.done():
            await session.kill()  # The client has gone.
        code = await sender
    except NodeError as error:
        return {"metadata": {}, **StatusError(500, "InternalError", str(error)).status()}
    finally:
        sender.cancel()
    return exit_status(code)


async def _send(socket: web.WebSocketResponse, session: ExecSession, streams: Streams) -> int:
    wanted = {"stdout": streams.stdout, "stderr": streams.stderr}
    channels = {"stdout": Channel.STDOUT, "stderr": Channel.STDERR}
    async for name, data in session.output():
        if data and wanted[name] and not socket.closed:
            await socket.send_bytes(bytes([channels[name]]) + data)
    return await session.wait()


async def _receive(socket: web.WebSocketResponse, session: ExecSession, streams: Streams) -> None:
    """Hands input and resizes to the command until the client goes."""
    async for message in socket:
        if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
            continue
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if not data:
            continue
        channel, payload = data[0], data[1:]
        if channel == Channel.STDIN and streams.stdin and payload:
            await session.write(payload)
        elif channel == Channel.RESIZE:
            size = json.loads(payload)
            await session.resize(size["Width"], size["Height"])
        elif channel == Channel.CLOSE and payload == bytes([Channel.STDIN]) and streams.stdin:
            await session.close_stdin()


def exit_status(code: int) -> Object:
    """How an exec tells the exit code of its command."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def serve_console(
    request: web.Request, read: Callable[[], Awaitable[str]], is_over: Callable[[], bool]
) -> web.WebSocketResponse:
    """Sends what the guest has printed and goes on with what it prints; input is ignored."""
    socket = web.WebSocketResponse(
        protocols=(CONSOLE_PROTOCOL,), compress=False, max_msg_size=0, autoping=True
    )
    request[STREAMING] = True
    await socket.prepare(request)

    async def send() -> None:
        async for text in growing(read, is_over):
            await socket.send_bytes(text.encode())
        await socket.close()

    sender = asyncio.create_task(send())
    try:
        async for _ in socket:
            pass
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
    return socket


async def growing(
    read: Callable[[], Awaitable[str]], is_over: Callable[[], bool]
) -> AsyncIterator[str]:
    """What `read` returns, then what it has more each time, until `is_over`."""
    sent = 0
    while True:
        over = is_over()  # Asked first: what was printed last is still to be read.
        try:
            text = await read()
        except (KeyError, NodeError):
            return
        if len(text) > sent:
            yield text[sent:]
            sent = len(text)
        if over:
            return
        await asyncio.sleep(FOLLOW_SECONDS)


def tail(text: str, lines: int | None) -> str:
    """The last lines of a text."""
    if lines is None:
        return text
    return "".join(text.splitlines(keepends=True)[-lines:]) if lines > 0 else ""
