"""Commands in containers, through the API server's ``exec`` subresource.

One WebSocket for each command; needs nothing but a kubeconfig, on any cluster.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.contract.access import AccessError, ExecResult
from clusters.kit import credentials, sampler

CONNECT_SECONDS = 20.0
COMMAND_SECONDS = 180.0
GOODBYE_SECONDS = 3.0
SAMPLE_SECONDS = 1.0
"""How long a sampler is listened to at once."""
STDIN_FRAME_BYTES = 16384
LONGEST_SHOWN = 120
_STDOUT, _STDERR, _ERROR = 1, 2, 3
"""Channels of the protocols v4.channel.k8s.io and v5.channel.k8s.io."""


class CannotRunError(AccessError):
    """The command did not start: no such pod or container, no right, no answer."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended, with its output as it came."""

    returncode: int
    stdout: bytes
    stderr: bytes


class ApiExec:
    """ContainerExec of a cluster that serves the subresource."""

    def __init__(self, kubeconfig: str) -> None:
        import websocket
        from kubernetes import client

        # The client's stream sets no deadline for its handshake; this is the only way in.
        websocket.setdefaulttimeout(CONNECT_SECONDS)
        self._client: Any = client.ApiClient(credentials.configuration(kubeconfig))

    def run(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        """As `ContainerExec.run`; bytes that are no UTF-8 are shown as ``\\xNN``."""
        ended = self.run_bytes(namespace, pod, container, command)
        return ExecResult(
            ended.returncode,
            ended.stdout.decode(errors="backslashreplace"),
            ended.stderr.decode(errors="backslashreplace"),
        )

    def run_bytes(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
    ) -> Ended:
        """Runs the command to its end.

        Args:
            stdin: what it can read. It then waits for more: only the newest servers let one
                side of the stream be closed.

        Raises:
            CannotRunError: it could not be started.
            AccessError: it did not end in time, or the connection broke before it ended.
        """
        words = (word if len(word) < LONGEST_SHOWN else "..." for word in command[:8])
        shown = f"`{' '.join(words)}` in {namespace}/{pod} ({container})"
        socket = self._open(namespace, pod, container, command, shown, reads=bool(stdin))
        try:
            return _to_end(socket, stdin, shown)
        finally:
            socket.close()

    def sample(
        self, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> ExecSampling:
        """Starts a sampler in a container. Raises CannotRunError."""
        shown = f"the sampler in {namespace}/{pod} ({container})"
        return ExecSampling(
            self._open(namespace, pod, container, command, shown, reads=True), shown
        )

    def _open(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        shown: str,
        *,
        reads: bool,
    ) -> Any:
        import websocket
        from kubernetes.stream.ws_client import WSClient, get_websocket_url

        # What `stream` does for a method of `CoreV1Api`, of which the import alone takes longer
        # than most commands: it loads the models of every type of the API.
        query = {"container": container, "stdin": reads, "stdout": True, "stderr": True}
        _method, url, headers, *_rest = self._client.param_serialize(
            "GET",
            f"/api/v1/namespaces/{namespace}/pods/{pod}/exec",
            query_params=[(key, str(value).lower()) for key, value in query.items()]
            + [("command", word) for word in command],
            auth_settings=["BearerToken"],
        )
        try:
            return WSClient(
                self._client.configuration,
                get_websocket_url(url),
                headers,
                capture_all=False,
                binary=True,
            )
        except (OSError, websocket.WebSocketException) as error:
            raise CannotRunError(f"cannot run {shown}: {_why_not(error)}") from error


class ExecSampling:
    """`clusters.contract.access.Sampling` through an exec."""

    def __init__(self, socket: Any, shown: str) -> None:
        self._socket = socket
        self._shown = shown
        self._closed = False
        self._until = float("inf")

    def lines(self) -> Iterator[str]:
        """As `Sampling.lines`."""
        import websocket

        pieces: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: [], _ERROR: []}
        rest = b""
        try:
            while self._socket.is_open() and time.monotonic() < self._until:
                self._socket.update(timeout=SAMPLE_SECONDS)
                _drain(self._socket, pieces)
                *whole, rest = (rest + b"".join(pieces[_STDOUT])).split(b"\n")
                pieces[_STDOUT] = []
                yield from (line.decode(errors="backslashreplace") for line in whole)
        except (OSError, ValueError, websocket.WebSocketException) as error:
            if not self._closed:
                raise AccessError(f"the connection broke during {self._shown}: {error}") from error
        finally:
            self._socket.close()
        if not self._closed and (code := _returncode(b"".join(pieces[_ERROR]), self._shown)):
            said = b"".join(pieces[_STDERR]).decode(errors="backslashreplace").strip()
            raise AccessError(f"{self._shown} ended with {code}: {said[-300:]}")

    def say(self, word: str) -> None:
        """As `Sampling.say`."""
        import websocket

        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.write_stdin(f"{word}\n".encode())

    def close(self) -> None:
        """As `Sampling.close`: whoever reads its lines has a moment for the last of them."""
        if not self._closed:
            self._closed = True
            self._until = time.monotonic() + GOODBYE_SECONDS
            self.say(sampler.BYE)


def _why_not(error: Exception) -> str:
    """The API server's own words where it answered, else the connection's."""
    body = getattr(error, "resp_body", None)
    if not body:
        return str(error)
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{getattr(error, 'status_code', '')} {bytes(body).decode(errors='replace')[:200]}"


def _to_end(socket: Any, stdin: bytes, shown: str) -> Ended:
    import websocket

    pieces: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: [], _ERROR: []}
    deadline = time.monotonic() + COMMAND_SECONDS
    try:
        for start in range(0, len(stdin), STDIN_FRAME_BYTES):
            socket.write_stdin(stdin[start : start + STDIN_FRAME_BYTES])
        while socket.is_open():
            left = deadline - time.monotonic()
            if left <= 0:
                raise AccessError(f"{shown} took longer than {COMMAND_SECONDS:.0f} s")
            socket.update(timeout=left)
            _drain(socket, pieces)
        _drain(socket, pieces)  # what came with the end
    except (OSError, websocket.WebSocketException) as error:
        raise AccessError(f"the connection broke during {shown}: {error}") from error
    stdout, stderr, status = (b"".join(received) for received in pieces.values())
    return Ended(_returncode(status, shown), stdout, stderr)


def _drain(socket: Any, pieces: dict[int, list[bytes]]) -> None:
    for channel, received in pieces.items():
        received.append(socket.read_channel(channel))


def _returncode(status: bytes, shown: str) -> int:
    """From the ``Status`` that ends an exec (k8s.io/apimachinery, NonZeroExitCodeReason)."""
    if not status:
        raise AccessError(f"the connection ended before {shown} did")
    try:
        answer = json.loads(status)
    except ValueError as error:
        raise AccessError(f"{shown} ended with {status!r}, which is no Status") from error
    if answer.get("status") == "Success":
        return 0
    causes = (answer.get("details") or {}).get("causes") or ()
    for cause in causes:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise CannotRunError(f"cannot run {shown}: {answer.get('message', answer)}")
