"""The Kubernetes API as JSON, through the `kubernetes` client; trouble becomes one clear sentence.

Typed models would drop what they do not know; evidence keeps objects as they came.

Longer than 400 lines: one client with every kind of request, and the errors that it raises.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode, urlsplit

from clusters.contract.access import AccessError
from clusters.kit import credentials

T = TypeVar("T")
Json = dict[str, Any]

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
PAUSES = (0.5, 1.0, 2.0)
"""Before a request is sent again whose answer did not come as it should, seconds."""
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses of a server that may answer later."""
GONE = 410
JSON_BODY = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
FIELD_MANAGER = "cpu-conformance"
CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})
"""Types of a watch's events that are about an object."""


class ApiError(AccessError):
    """The API server refused a request or did not answer it.

    Attributes:
        code: HTTP status; 0 when there was no answer.
        status: the Status object; one made of the body where the server sent none, and empty
            without an answer.
    """

    def __init__(self, message: str, code: int = 0, status: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status: Json = {} if status is None else status


class TransientError(ApiError):
    """It may answer as it should when it is asked again: it is busy, or its answer broke off.

    Attributes:
        after: seconds that the server asks to wait, None when it does not say.
    """

    def __init__(
        self,
        message: str,
        after: float | None = None,
        code: int = 0,
        status: Json | None = None,
    ) -> None:
        super().__init__(message, code, status)
        self.after = after


class UnreachableError(TransientError):
    """Nothing answers there, or not in time, or not as the kubeconfig's cluster."""


class Appended(Protocol):
    """What takes one text after the other, such as a list."""

    def append(self, text: str, /) -> None:
        """Takes one more."""
        ...


class Retry(Protocol):
    """Whether and when a request is sent again that met a TransientError."""

    def __call__(self, call: Callable[[], T], on_retry: Callable[[str], None], /) -> T:
        """What the call returns in the end; `on_retry` is told why it is called again."""
        ...


def once(call: Callable[[], T], _on_retry: Callable[[str], None], /) -> T:
    """Never: whoever asks waits himself."""
    return call()


def patiently(call: Callable[[], T], on_retry: Callable[[str], None], /) -> T:
    """A few times in `PAUSES`, but not where nothing answers."""
    for pause in PAUSES:
        try:
            return call()
        except UnreachableError:
            raise
        except TransientError as error:
            on_retry(str(error))
        time.sleep(pause)
    return call()


class Api:
    """The API server of a kubeconfig's current context.

    Attributes:
        server: its URL.
        faults: takes why requests were sent again, and why watches ended early.
    """

    def __init__(
        self, kubeconfig: str, *, retry: Retry = patiently, faults: Appended | None = None
    ) -> None:
        """A client that has asked nothing yet.

        Raises:
            ApiError: the kubeconfig's credentials cannot be had.
        """
        from kubernetes import client, config

        try:
            configuration = credentials.configuration(kubeconfig)
        except (config.ConfigException, OSError, ValueError) as error:
            raise ApiError(f"the kubeconfig's credentials cannot be used: {error}") from error
        self.server: str = configuration.host
        self.faults: Appended = [] if faults is None else faults
        self._retry = retry
        self._ahead = timedelta()
        self._configuration = configuration
        self._client: Any = client.ApiClient(configuration)

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def now(self) -> datetime:
        """The time by the server's clock, as its last answer told it; until then by ours."""
        return datetime.now(UTC) + self._ahead

    def get(self, path: str, **query: str) -> Json:
        """One object, such as that of ``/version``. Raises ApiError."""
        return self._ask("GET", path, query)

    def items(self, path: str, **query: str) -> list[Json]:
        """A whole list, such as ``/api/v1/nodes``, in however many parts it comes.

        A list whose parts do not all come is none: an item that is missing proves nothing.
        Raises ApiError.
        """
        found: list[Json] = []
        more = dict(query)
        while True:
            answer = self._ask("GET", path, more)
            part = answer.get("items", "nothing")
            if not isinstance(part, list | None):
                raise TransientError(f"GET {path}: the answer is no list: it has {part!r} of items")
            found += part or []
            rest = (answer.get("metadata") or {}).get("continue")
            if not rest:
                return found
            more = {**query, "continue": str(rest)}

    def text(self, path: str, **query: str) -> str:
        """What is at a path, as text: logs. Raises ApiError."""

        def read() -> str:
            return self._read("GET", path, query, None).decode(errors="backslashreplace")

        return self._retry(read, self.faults.append)

    def find(self, path: str, **query: str) -> Json | None:
        """One object, None when there is none. Raises ApiError."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def create(self, path: str, obj: Mapping[str, Any]) -> Json:
        """Posts an object; returns what the API made of it. Raises ApiError.

        A retry after a connection that broke may find its own object: that is its answer.
        """
        attempts = 0

        def send() -> Json:
            nonlocal attempts
            attempts += 1
            try:
                return self._once("POST", path, {}, obj)
            except ApiError as error:
                name = obj.get("metadata", {}).get("name")
                if error.code == 409 and attempts > 1 and name:
                    return self._once("GET", f"{path}/{name}", {}, None)
                raise

        return self._retry(send, self.faults.append)

    def try_out(self, path: str, obj: Mapping[str, Any]) -> Json:
        """What the API would make of a new object, which is not stored, with strict fields.

        Raises ApiError when it would be refused, as for a field that is not known.
        """
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        return self._retry(lambda: self._once("POST", path, query, obj), self.faults.append)

    def delete(self, path: str, **query: str) -> Json | None:
        """Begins to delete what is there; returns what the API answers. Raises ApiError.

        What is not there is deleted already: None.
        """
        try:
            return self._ask("DELETE", path, query)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def merge(self, path: str, patch: Mapping[str, Any]) -> Json:
        """Patches an object by JSON merge patch: None removes a member. Raises ApiError."""
        return self._retry(
            lambda: self._once("PATCH", path, {}, patch, MERGE_PATCH), self.faults.append
        )

    def apply(self, path: str, content: Mapping[str, Any]) -> Json:
        """Makes the object at a path as wanted (server-side apply); it may not be there yet.

        Fields that somebody else owns are taken over. Sent once: who applies waits until that is
        possible. Raises ApiError.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._once("PATCH", path, query, content, APPLY_PATCH)

    def watch(self, path: str, seconds: float, **query: str) -> Iterator[Json]:
        """Events of a list until the seconds have passed or the server ends it.

        Begins with ADDED for what is there. One that is refused as out of date (410), or that
        breaks, just ends, and `faults` says why. Raises ApiError.
        """
        query = {**query, "watch": "true", "timeoutSeconds": str(max(1, int(seconds)))}
        try:
            response = self._retry(
                lambda: self._send("GET", path, query, None, seconds=seconds + ANSWER_SECONDS),
                self.faults.append,
            )
        except ApiError as error:
            if error.code != GONE:
                raise
            self.faults.append(f"the watch of {path} was refused: {error}")
            return
        try:
            buffer = b""
            for piece in response.stream(amt=None):
                buffer += piece
                *lines, buffer = buffer.split(b"\n")
                for event in (json.loads(line) for line in lines if line):
                    obj = event["object"]
                    if event["type"] == "ERROR":
                        # Its object is a Status: the server ends the watch early, and says why.
                        why = obj.get("message", "")
                        self.faults.append(f"the watch of {path} was ended: {why}")
                        return
                    if event["type"] in CHANGES and isinstance(obj, dict):
                        yield event
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self.faults.append(f"the watch of {path} sent what is no event: {error!r}")
        except Exception as error:
            if not _is_connection_fault(error):
                raise
            self.faults.append(f"the watch of {path} broke: {error}")
        finally:
            response.close()

    def _ask(self, method: str, path: str, query: Mapping[str, str]) -> Json:
        return self._retry(lambda: self._once(method, path, query, None), self.faults.append)

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: object,
        content_type: str = JSON_BODY,
    ) -> Json:
        data = self._read(method, path, query, body, content_type)
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise TransientError(f"{method} {path}: the answer broke off: {error}") from error
        if not isinstance(answer, dict):
            raise TransientError(f"{method} {path}: the answer is no object: {data[:100]!r}")
        return answer

    def _read(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: object,
        content_type: str = JSON_BODY,
    ) -> bytes:
        response = self._send(method, path, query, body, content_type=content_type)
        try:
            data: bytes = response.read()
        except Exception as error:
            if _is_connection_fault(error):
                raise TransientError(f"{method} {path}: the answer broke off: {error}") from error
            raise
        return data

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: object,
        *,
        seconds: float = ANSWER_SECONDS,
        content_type: str = JSON_BODY,
    ) -> Any:
        """Over the client's own connections, which hold certificates and proxies.

        Its generated methods come and go with its versions; this does not.
        """
        from urllib3 import Timeout
        from urllib3.exceptions import ProtocolError

        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        for setting in self._configuration.auth_settings().values():
            headers[setting["key"]] = setting["value"]
        question = f"?{urlencode(query)}" if query else ""
        try:
            response = self._client.rest_client.pool_manager.request(
                method,
                f"{self.server}{path}{question}",
                headers=headers,
                body=json.dumps(body) if body is not None else None,
                timeout=Timeout(connect=CONNECT_SECONDS, read=seconds),
                retries=False,
                preload_content=False,
            )
            refusal = response.read() if response.status >= 400 else b""
        except ProtocolError as error:
            why = error.args[-1] if error.args else error  # urllib3 wraps what happened
            raise TransientError(f"{method} {path}: the connection broke: {why}") from error
        except Exception as error:
            if _is_connection_fault(error):
                raise UnreachableError(self._unreachable(error)) from error
            raise
        if date := _date(response.headers.get("Date")):
            self._ahead = date - datetime.now(UTC)
        if response.status >= 400:
            raise self._refused(method, path, response, refusal)
        return response

    def _unreachable(self, error: Exception) -> str:
        text = str(getattr(error, "reason", None) or error)
        reason = text.rpartition(": ")[2] if "Connection" in text else text
        if "certificate" in text.lower():
            return (
                f"{self.server} does not prove to be the cluster of this kubeconfig ({reason}): "
                "fetch a new kubeconfig, or correct its certificate-authority"
            )
        return (
            f"nothing answers at {self.server} ({reason}): is the cluster up, and does the "
            f"network reach {urlsplit(self.server).hostname} from {socket.gethostname()}?"
        )

    def _refused(self, method: str, path: str, response: Any, body: bytes) -> ApiError:
        code = int(response.status)
        status = status_of(code, response.reason, body)
        said = status.get("message", "")
        message = f"{method} {path} was refused with {code}: {said}"
        if code == 401:
            message = (
                f"{self.server} refuses the credentials of this kubeconfig ({said}): "
                "they have expired or are of another cluster; log in again"
            )
        if code in BUSY:
            after = _seconds(response.headers.get("Retry-After"))
            return TransientError(message, after, code, status)
        return ApiError(message, code, status)


def status_of(code: int, reason: str | None, body: bytes) -> Json:
    """The Status that a server refused with.

    What is none, such as the text of a version that is not served, is made one.
    """
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"reason": reason, "message": body.decode(errors="replace")[:500].strip()}
    return {**status, "kind": "Status", "code": code}


def _is_connection_fault(error: Exception) -> bool:
    from urllib3.exceptions import HTTPError

    return isinstance(error, HTTPError | OSError)


def _seconds(after: str | None) -> float | None:
    """What Retry-After asks for: seconds or a date (RFC 9110, 10.2.3); None for anything else."""
    if not after:
        return None
    if after.strip().isdecimal():
        return float(after)
    # A date in the past is no wait; one far away is bounded by whoever waits.
    date = _date(after)
    return (date - datetime.now(UTC)).total_seconds() if date else None


def _date(text: str | None) -> datetime | None:
    """A date of HTTP; None for anything else."""
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
