"""Questions to the API server, answered as plain JSON; trouble becomes one clear sentence."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from clusters.contract.access import AccessError

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
ATTEMPTS_AFTER_THE_FIRST = 1
PAUSES = (0.5, 1.0, 2.0)
"""Before a question is asked again whose answer did not come as it should, seconds."""
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses of a server that may answer later."""
FIELD_MANAGER = "cpu-conformance"


class ApiError(AccessError):
    """The API server refused or did not answer.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        passing: whether it may answer when it is asked again: it is busy, or its answer broke off.
    """

    def __init__(self, message: str, status: int = 0, *, passing: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.passing = passing


class Api:
    """The API server of a kubeconfig's current context.

    Raises:
        ApiError: the kubeconfig's credentials cannot be had.
    """

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import client, config

        configuration: Any = client.Configuration()
        try:
            config.load_kube_config(kubeconfig, client_configuration=configuration)
        except (config.ConfigException, OSError, ValueError) as error:
            raise ApiError(f"the kubeconfig's credentials cannot be used: {error}") from error
        configuration.retries = ATTEMPTS_AFTER_THE_FIRST
        self.server: str = configuration.host
        self._client: Any = client.ApiClient(configuration)

    def get(self, path: str, **query: str) -> Any:
        """The object at a path, such as ``/version``. Asks again a few times."""
        for pause in PAUSES:
            try:
                return self._object(path, query)
            except ApiError as error:
                if not error.passing:
                    raise
            time.sleep(pause)
        return self._object(path, query)

    def items(self, path: str, **query: str) -> list[Any]:
        """A whole list, such as ``/api/v1/nodes``, in however many parts it comes."""
        found: list[Any] = []
        more = dict(query)
        while True:
            answer = self.get(path, **more)
            try:
                found += answer["items"] or []
                rest = (answer.get("metadata") or {}).get("continue")
            except (KeyError, TypeError, AttributeError) as error:
                raise ApiError(f"GET {path} was answered with what is no list") from error
            if not rest:
                return found
            more = {**query, "continue": rest}

    def _object(self, path: str, query: dict[str, str]) -> Any:
        try:
            return json.loads(self._request("GET", path, query, None))
        except (ValueError, RecursionError) as error:
            message = f"GET {path} was answered with what is no JSON: {error}"
            raise ApiError(message, passing=True) from error

    def text(self, path: str, **query: str) -> str:
        """What is at a path, as text: logs."""
        return self._request("GET", path, query, None).decode(errors="backslashreplace")

    def post(self, path: str, body: object) -> Any:
        """What the API server answers to a new object."""
        return json.loads(self._request("POST", path, {}, body))

    def apply(self, path: str, content: Mapping[str, Any]) -> Any:
        """Makes the object at a path as wanted (server-side apply); it may not be there yet.

        Fields that somebody else owns are taken over.
        """
        return json.loads(
            self._request(
                "PATCH",
                path,
                {"fieldManager": FIELD_MANAGER, "force": "true"},
                json.dumps(content),
                content_type="application/apply-patch+yaml",
            )
        )

    def delete(self, path: str) -> None:
        """Begins to delete the object at a path."""
        self._request("DELETE", path, {}, None)

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: object,
        *,
        content_type: str = "application/json",
    ) -> bytes:
        import urllib3
        from kubernetes.client.exceptions import ApiException

        parameters = self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json, */*", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(
                *parameters, _request_timeout=(CONNECT_SECONDS, ANSWER_SECONDS)
            )
            data: bytes = answer.read()
        except urllib3.exceptions.ProtocolError as error:
            raise ApiError(self._unreachable(error), passing=True) from error
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise ApiError(self._unreachable(error)) from error
        if not 200 <= answer.status <= 299:
            refusal = self._refused(method, path, answer.status, data)
            raise ApiError(refusal, answer.status, passing=answer.status in BUSY)
        return data

    def _unreachable(self, error: Exception) -> str:
        text = str(getattr(error, "reason", None) or error)
        reason = text.rpartition(": ")[2] if "HTTPSConnection" in text else text
        if "certificate" in text.lower():
            return (
                f"{self.server} does not prove to be the cluster of this kubeconfig ({reason}): "
                "fetch a new kubeconfig, or correct its certificate-authority"
            )
        return (
            f"nothing answers at {self.server} ({reason}): is the cluster up, and does the "
            f"network reach {urlsplit(self.server).hostname} from {socket.gethostname()}?"
        )

    def _refused(self, method: str, path: str, status: int, data: bytes) -> str:
        try:
            said = json.loads(data)["message"]
        except (ValueError, KeyError, TypeError):
            said = data.decode(errors="backslashreplace")[:200].strip()
        if status == 401:
            return (
                f"{self.server} refuses the credentials of this kubeconfig ({said}): "
                "they have expired or are of another cluster; log in again"
            )
        return f"{method} {path} was refused with {status}: {said}"
