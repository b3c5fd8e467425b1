"""QEMU's machine protocol (QMP), as much as saving and restoring a machine needs."""

from __future__ import annotations

import json
import socket
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from clusters.contract.provider import ClusterError


class QmpError(ClusterError):
    """QEMU refused a command or is gone."""


class Qmp:
    """A connection to a machine's QMP socket, ready for commands. A context manager."""

    def __init__(self, path: Path, *, timeout_seconds: float = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise QmpError(f"QEMU does not answer on {path}: {error}") from None
        self._file = self._socket.makefile("rw")
        self._events: deque[dict[str, Any]] = deque()
        self._receive()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> Any:
        """Runs a command and returns its answer. Raises QmpError."""
        try:
            self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self._file.flush()
            while True:
                message = self._receive()
                if "return" in message:
                    return message["return"]
                if "error" in message:
                    raise QmpError(f"{command}: {message['error']['desc']}")
                self._events.append(message)
        except OSError as error:
            raise QmpError(f"{command}: {error}") from None

    def wait_for(self, event: str, *, status: frozenset[str]) -> str:
        """Waits for an event that carries one of these states, and returns the state."""
        try:
            while True:
                message = self._events.popleft() if self._events else self._receive()
                if message.get("event") == event and message["data"].get("status") in status:
                    return str(message["data"]["status"])
        except OSError as error:
            raise QmpError(f"waiting for {event}: {error}") from None

    def _receive(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise QmpError("QEMU has ended")
        message: dict[str, Any] = json.loads(line)
        return message

    def __enter__(self) -> Qmp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()
