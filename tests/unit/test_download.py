"""What is fetched is the right file, whole, or nothing; told by a real HTTP server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.host import download

CONTENT = b"x" * (3 << 20)
DIGEST = hashlib.sha512(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/broken" else CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def fetch(url: str, target: Path, expected: str = DIGEST) -> list[str]:
    said: list[str] = []
    download.fetch(
        url, target, "sha512", expected, what="it", instead="do without", progress=said.append
    )
    return said


@pytest.mark.parametrize(("path", "of"), [("/it", " of 3"), ("/unsized", "")])
def test_it_is_written_and_told_of(
    server: str, tmp_path: Path, path: str, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PROGRESS_SECONDS", 0.0)
    said = fetch(server + path, tmp_path / "it")
    assert (tmp_path / "it").read_bytes() == CONTENT
    assert said[0] == f"fetching it from {server}{path}"
    assert said[-1] == f"it: 3{of} MiB"


@pytest.mark.parametrize(
    ("path", "expected", "message"),
    [
        ("/none", DIGEST, r"cannot be fetched .*404.*: do without"),
        ("/broken", DIGEST, r"cannot be fetched .*broke off after 1572864 of 3145728 .*: do with"),
        ("/it", "00", r"has SHA-512 \w+ instead of 00, and is not used: .*; do without"),
    ],
)
def test_anything_else_leaves_nothing(
    server: str, tmp_path: Path, path: str, expected: str, message: str
) -> None:
    with pytest.raises(ClusterError, match=message):
        fetch(server + path, tmp_path / "it", expected)
    assert not list(tmp_path.iterdir())


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot be fetched from http://127.0.0.1:1/ .*refused"):
        fetch("http://127.0.0.1:1/", tmp_path / "it")
