"""Bulk reads in a simulated virt-handler pod, as if its ``sh`` had run the scripts.

`clusters.kit.framing` says what the scripts read and write.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Sequence

from clusters.contract.access import ExecResult
from clusters.kit import framing
from clusters.kit.sampler import END, LOADER
from clusters.simulated import sampler
from clusters.simulated.kernel import Kernel
from clusters.simulated.kernel_objects import KernelError


def understands(command: Sequence[str]) -> bool:
    """Whether a command is a bulk read or list."""
    return list(command[:2]) == ["sh", "-c"] and command[2] in {framing.READ, framing.LIST}


def samples(command: Sequence[str]) -> bool:
    """Whether a command is a sampler."""
    return list(command[:3]) == ["sh", "-c", LOADER]


class BulkSession:
    """An exec session of one bulk read or list; it begins when its last glob has come."""

    def __init__(self, kernel: Kernel, command: Sequence[str]) -> None:
        self._kernel = kernel
        self._command = list(command)
        self._stdin = b""
        self._asked = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """One more piece of the globs."""
        self._stdin += data
        if self._stdin.endswith(b"\n\n"):
            self._asked.set()

    async def close_stdin(self) -> None:
        """No more globs come."""
        self._asked.set()

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """What the script writes."""
        await self._asked.wait()
        patterns = self._stdin.decode().split("\n")
        paths = [path for pattern in patterns if pattern for path in self._kernel.glob(pattern)]
        if self._command[2] == framing.LIST:
            yield "stdout", "".join(f"{path}\0" for path in paths).encode()
        else:
            yield "stdout", self._read(paths, self._command[4]).encode()

    def _read(self, paths: Sequence[str], mark: str) -> str:
        """Every file by itself, as the script does when its one ``cat`` has failed."""
        listed, contents = [], []
        for path in paths:
            try:
                contents.append(f"{self._kernel.read(path)}{mark} 0\0")
            except KernelError as error:
                if error.errno == errno.EISDIR:
                    continue
                contents.append(f"cat: {path}: {error.strerror}\n{mark} 1\0")
            listed.append(f"{path}\0")
        return f"{''.join(listed)}\0{mark} 1\0{''.join(contents)}" if listed else ""

    async def wait(self) -> int:
        """Its exit code."""
        return 0

    async def kill(self) -> None:
        """Nothing runs."""


class SamplingSession:
    """An exec session of a sampler; see `clusters.simulated.sampler`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._rest = b""
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        """Words, in pieces."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._lines.put_nowait(line.decode())

    async def close_stdin(self) -> None:
        """Ends it."""
        self._lines.put_nowait(None)

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """What the sampler prints."""
        for _program in range(2):
            while await self._lines.get() not in (END, None):
                pass
        checkpoint = await self._lines.get() or ""
        while await self._lines.get():
            pass  # globs
        async for lines in sampler.sample(self._kernel, checkpoint, self._lines):
            if lines:
                yield "stdout", "".join(f"{line}\n" for line in lines).encode()

    async def wait(self) -> int:
        """Its exit code."""
        return 0

    async def kill(self) -> None:
        """Nothing runs."""
        self._lines.put_nowait(None)


class FinishedSession:
    """An exec session whose command ended at once."""

    def __init__(self, result: ExecResult) -> None:
        self._result = result

    async def write(self, data: bytes) -> None:
        """Nobody reads any more."""

    async def close_stdin(self) -> None:
        """Nobody reads any more."""

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """What the command printed."""
        if self._result.stdout:
            yield "stdout", self._result.stdout.encode()
        if self._result.stderr:
            yield "stderr", self._result.stderr.encode()

    async def wait(self) -> int:
        """Its exit code."""
        return self._result.returncode

    async def kill(self) -> None:
        """It has ended already."""
