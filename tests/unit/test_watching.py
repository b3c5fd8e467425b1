"""A watch gives what changes, and ends when the server ends it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from clusters.kit.api import Api
from clusters.kit.certificates import kubeconfig
from conformance.collecting.api import connect

PODS = "/api/v1/namespaces/ns/pods"
ADDED = {"type": "ADDED", "object": {"metadata": {"name": "p"}, "status": {"phase": "Running"}}}
ERROR = {
    "type": "ERROR",
    "object": {"kind": "Status", "status": "Failure", "message": "too old", "code": 410},
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Of a server that answers a watch with one object, an error, and the object again."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            for event in (ADDED, ERROR, ADDED):
                self.wfile.write(json.dumps(event).encode() + b"\n")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = tmp_path / "kubeconfig"
        url = f"http://127.0.0.1:{server.server_port}"
        path.write_text(kubeconfig(name="c", url=url, authority=b"", user={"token": "t"}))
        yield connect(str(path))
        server.shutdown()


def test_a_watch_that_the_server_ends_is_over_and_noted(api: Api) -> None:
    assert list(api.watch(PODS, 5.0)) == [ADDED]
    assert api.faults == [f"the watch of {PODS} was ended: too old"]
