"""The Kubernetes API as JSON, through the `kubernetes` client.

Typed models would drop what they do not know; evidence keeps objects as they came.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from conformance.matrix import kinds
from conformance.settling import TransientError, persistently

Json = dict[str, Any]

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 30.0
JSON_BODY = "application/json"
MERGE_PATCH = "application/merge-patch+json"
RETRIED_CODES = frozenset({408, 425, 429, 500, 502, 503, 504})
GONE = 410
CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})
"""Types of a watch's events that are about an object."""


class Appended(Protocol):
    """What takes one text after the other, such as a list."""

    def append(self, text: str, /) -> None:
        """Takes one more."""
        ...


class ApiError(Exception):
    """The API refused a request.

    Attributes:
        code: HTTP status.
        status: the Status object; one made of the body where the server sent none.
    """

    def __init__(self, code: int, status: Json) -> None:
        super().__init__(f"{code} {status.get('reason', '')}: {status.get('message', '')}")
        self.code = code
        self.status = status


class Api:
    """One cluster's API. Requests that meet a passing fault are sent again, a few times."""

    def __init__(
        self, kubeconfig: str, context: str | None = None, *, faults: Appended | None = None
    ) -> None:
        """A client of the kubeconfig's cluster; requests sent again are appended."""
        from kubernetes import client, config

        configuration = client.Configuration()
        config.load_kube_config(kubeconfig, context, client_configuration=configuration)
        self._configuration: Any = configuration
        self._client: Any = client.ApiClient(configuration)
        self.faults: Appended = [] if faults is None else faults

    def get(self, path: str, **query: str) -> Json:
        """One object. Raises ApiError, TransientError."""
        return self._ask("GET", path, query)

    def items(self, path: str, **query: str) -> list[Json]:
        """A whole list, in however many parts it comes. Raises ApiError, TransientError.

        A list whose parts do not all come is none: an item that is missing proves nothing.
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
        """What is at a path, as text: logs. Raises ApiError, TransientError."""

        def read() -> str:
            return self._read("GET", path, query, None).decode(errors="backslashreplace")

        return persistently(read, self.faults.append)

    def find(self, path: str, **query: str) -> Json | None:
        """One object, None when there is none."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def create(self, path: str, obj: Mapping[str, Any]) -> Json:
        """Posts an object. Raises ApiError when it is refused.

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

        return persistently(send, self.faults.append)

    def try_out(self, path: str, obj: Mapping[str, Any]) -> Json:
        """What the API would make of a new object, which is not stored, with strict fields.

        Raises ApiError when it would be refused, as for a field that is not known.
        """
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        return persistently(lambda: self._once("POST", path, query, obj), self.faults.append)

    def delete(self, path: str, **query: str) -> Json | None:
        """Deletes; what is not there is deleted already. Returns what the API answers."""
        try:
            return self._ask("DELETE", path, query)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def merge(self, path: str, patch: Mapping[str, Any]) -> Json:
        """Patches an object by JSON merge patch: None removes a member."""
        return persistently(
            lambda: self._once("PATCH", path, {}, patch, MERGE_PATCH), self.faults.append
        )

    def watch(self, path: str, seconds: float, **query: str) -> Iterator[Json]:
        """Events of a list until the seconds have passed or the server ends it.

        Begins with ADDED for what is there. One that is refused as out of date (410), or that
        breaks, just ends, and `faults` says why. Raises ApiError, TransientError.
        """
        query = {**query, "watch": "true", "timeoutSeconds": str(max(1, int(seconds)))}
        try:
            response = persistently(
                lambda: self._send("GET", path, query, None, seconds + REQUEST_SECONDS),
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
        return persistently(lambda: self._once(method, path, query, None), self.faults.append)

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
        response = self._send(method, path, query, body, REQUEST_SECONDS, content_type=content_type)
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
        seconds: float,
        *,
        content_type: str = JSON_BODY,
    ) -> Any:
        """Over the client's own connections, which hold certificates and proxies.

        Its generated methods come and go with its versions; this does not.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type}
        for setting in self._configuration.auth_settings().values():
            headers[setting["key"]] = setting["value"]
        question = f"?{urlencode(query)}" if query else ""
        try:
            response = self._client.rest_client.pool_manager.request(
                method,
                f"{self._configuration.host}{path}{question}",
                headers=headers,
                body=json.dumps(body) if body is not None else None,
                timeout=_timeout(seconds),
                retries=False,
                preload_content=False,
            )
            refusal = response.read() if response.status >= 400 else b""
        except Exception as error:
            if _is_connection_fault(error):
                raise TransientError(f"{method} {path}: {error}") from error
            raise
        if response.status >= 400:
            raise _refusal(method, path, response, refusal)
        return response


def _timeout(seconds: float) -> object:
    from urllib3 import Timeout

    return Timeout(connect=CONNECT_SECONDS, read=seconds)


def _is_connection_fault(error: Exception) -> bool:
    from urllib3.exceptions import HTTPError

    return isinstance(error, HTTPError | OSError)


def _refusal(method: str, path: str, response: Any, body: bytes) -> ApiError | TransientError:
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        message = body.decode(errors="replace")[:500]
        status = {"reason": response.reason, "message": message}
    # What is no Status, such as the text of a version that is not served, is made one.
    status = {**status, "kind": "Status", "code": int(response.status)}
    code = int(response.status)
    if code in RETRIED_CODES:
        return TransientError(
            f"{method} {path}: {code} {status.get('message', '')}",
            _seconds(response.headers.get("Retry-After")),
        )
    return ApiError(code, status)


def _seconds(after: str | None) -> float | None:
    """What Retry-After asks for: seconds or a date (RFC 9110, 10.2.3); None for anything else."""
    if not after:
        return None
    if after.strip().isdecimal():
        return float(after)
    try:
        date = parsedate_to_datetime(after)
    except ValueError:
        return None
    # A date in the past is no wait; one far away is bounded by whoever waits.
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - datetime.now(
        UTC
    ).timestamp()


def core(resource: str, namespace: str = "", name: str = "") -> str:
    """Path of a core resource."""
    parts = ("/api/v1", namespace and f"namespaces/{namespace}", resource, name)
    return "/".join(part for part in parts if part)


def of_manifest(manifest: Mapping[str, Any], namespace: str) -> str:
    """Path of the collection that an object of `kinds` is created in."""
    version = str(manifest.get("apiVersion", "kubevirt.io/v1"))
    return kinds.collection(str(manifest.get("kind", kinds.VMI)), version, namespace)


def vmis(version: str, namespace: str, name: str = "") -> str:
    """Path of the VMIs of a namespace, or of one of them, in an API version of KubeVirt."""
    path = f"/apis/kubevirt.io/{version}/namespaces/{namespace}/virtualmachineinstances"
    return f"{path}/{name}" if name else path
