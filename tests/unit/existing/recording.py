"""A pytest plugin that records what a run asks of the API: ``-p`` this, ``ASKED=FILE``.

One line a request: method and path or URL. It sees every HTTP request of urllib3, which the
`kubernetes` client uses, and every WebSocket, in the process that it is loaded into.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import websocket
from urllib3.connectionpool import HTTPConnectionPool

_FILE = Path(os.environ["ASKED"])


def _note(method: str, url: str) -> None:
    with _FILE.open("a") as file:
        file.write(f"{method} {url}\n")


def _record_requests(original: Any) -> Any:
    def request(self: Any, method: str, url: str, *rest: Any, **more: Any) -> Any:
        _note(method, url)
        return original(self, method, url, *rest, **more)

    return request


def _record_sockets(original: Any) -> Any:
    def connect(self: Any, url: str, **options: Any) -> Any:
        _note("GET", url)
        return original(self, url, **options)

    return connect


_patch = pytest.MonkeyPatch()
_patch.setattr(HTTPConnectionPool, "urlopen", _record_requests(HTTPConnectionPool.urlopen))
_patch.setattr(websocket.WebSocket, "connect", _record_sockets(websocket.WebSocket.connect))
