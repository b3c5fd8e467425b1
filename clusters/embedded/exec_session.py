"""Commands in containers with their streams, run by ssh and crun on a virtual node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

Resize = Callable[[int, int], Awaitable[None]]
"""Given columns and rows."""
PIECE = 64 * 1024


class PipedSession:
    """A `clusters.reference.machine.ExecSession` with separate stdout and stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str]) -> PipedSession:
        """Runs a command of this host."""
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        )

    async def write(self, data: bytes) -> None:
        """Sends to its stdin; what comes after its end is lost."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        """Ends its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """Pieces of both streams as they come."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        pieces: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(maxsize=4)

        async def pump(name: str, stream: asyncio.StreamReader) -> None:
            while data := await stream.read(PIECE):
                await pieces.put((name, data))
            await pieces.put((name, b""))

        pumps = [
            asyncio.create_task(pump("stdout", self._process.stdout)),
            asyncio.create_task(pump("stderr", self._process.stderr)),
        ]
        try:
            open_streams = len(pumps)
            while open_streams:
                name, data = await pieces.get()
                if data:
                    yield name, data
                else:
                    open_streams -= 1
        finally:
            for task in pumps:
                task.cancel()

    async def wait(self) -> int:
        """Its exit code."""
        return await self._process.wait()

    async def kill(self) -> None:
        """Ends it, or leaves it alone with its streams where it does not notice."""
        _kill(self._process)


class TerminalSession:
    """A `clusters.reference.machine.ExecSession` on a terminal; everything is stdout."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int, resize: Resize) -> None:
        self._process = process
        self._terminal = terminal
        self._resize = resize
        self._open = True

    @classmethod
    async def start(cls, command: Sequence[str], resize: Resize) -> TerminalSession:
        """Runs a command of this host; it must be ssh that asks for a terminal there.

        Args:
            command: what is run.
            resize: resizes the terminal there; returns when it has its size.
        """
        terminal, far_side = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=far_side, stdout=far_side, stderr=far_side, start_new_session=True
            )
        except BaseException:
            os.close(terminal)
            raise
        finally:
            os.close(far_side)
        os.set_blocking(terminal, False)
        return cls(process, terminal, resize)

    async def write(self, data: bytes) -> None:
        """Types."""
        while data and self._open:
            try:
                data = data[os.write(self._terminal, data) :]
            except BlockingIOError:
                await self._ready(write=True)
            except OSError:
                return  # it has ended

    async def close_stdin(self) -> None:
        """Types the end of file."""
        await self.write(b"\x04")

    async def resize(self, columns: int, rows: int) -> None:
        """Resizes the terminal there, so that what is typed next finds the new size."""
        if self._open:
            await self._resize(columns, rows)

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """What is on the screen, as it comes."""
        while self._open:
            try:
                data = os.read(self._terminal, PIECE)
            except BlockingIOError:
                await self._ready(write=False)
                continue
            except OSError:  # EIO: the other side has been closed
                data = b""
            if not data:
                self._open = False
                os.close(self._terminal)
                return
            yield "stdout", data

    async def wait(self) -> int:
        """Its exit code."""
        return await self._process.wait()

    async def kill(self) -> None:
        """Ends it, or leaves it alone with its streams where it does not notice."""
        _kill(self._process)

    async def _ready(self, *, write: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        add, remove = (
            (loop.add_writer, loop.remove_writer)
            if write
            else (loop.add_reader, loop.remove_reader)
        )
        add(self._terminal, ready.set)
        try:
            await ready.wait()
        finally:
            remove(self._terminal)


def _kill(process: asyncio.subprocess.Process) -> None:
    # Not waited for: ssh's shared connection holds the streams until the command has ended.
    with contextlib.suppress(ProcessLookupError):
        process.kill()
