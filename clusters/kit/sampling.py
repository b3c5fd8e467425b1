"""Samplers that run behind a pipe or an exec; see `clusters.kit.sampler`."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

from clusters.contract.access import AccessError

_GOODBYE_SECONDS = 5.0
_LONGEST_LINE = 2**20
"""A checkpoint of 576 CPUs and 250 pods takes 30 KiB."""


def piped(words: Sequence[str], shown: str) -> PipedSampling:
    """Starts a command of this host that runs a sampler elsewhere. Raises AccessError."""
    pipe = subprocess.PIPE
    try:
        # Without a terminal nothing asks for a password and waits for it.
        process = subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise AccessError(f"{shown} cannot be run: {error.strerror}") from error
    return PipedSampling(process, shown)


class PipedSampling:
    """`clusters.contract.access.Sampling` of a process of this host, such as ssh."""

    def __init__(self, process: subprocess.Popen[bytes], shown: str) -> None:
        """A sampler.

        Args:
            process: with pipes.
            shown: what messages call it.
        """
        self._process = process
        self._shown = shown
        self._closed = False

    def lines(self) -> Iterator[str]:
        """As `Sampling.lines`."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(_LONGEST_LINE):
            yield line.decode(errors="backslashreplace").removesuffix("\n")
        code = self._process.wait()
        if code and not self._closed:
            assert self._process.stderr is not None
            said = self._process.stderr.read(2000).decode(errors="backslashreplace").strip()
            raise AccessError(f"{self._shown} ended with {code}: {said[-300:]}")

    def say(self, word: str) -> None:
        """As `Sampling.say`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """As `Sampling.close`."""
        self._closed = True
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()
        try:
            self._process.wait(_GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
