"""A proxy on loopback in front of an API server, which does not always do what it is asked."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Fault = Callable[["Proxy"], None]


class Proxy(BaseHTTPRequestHandler):
    """One connection of the harness."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    trust: ssl.SSLContext
    fault: Fault
    counter = itertools.count(1)

    def answer(self) -> None:
        """Does what the fault says, or hands the request on."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).fault(self)

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = answer  # noqa: N815 - http.server's names

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silent."""

    @property
    def streams(self) -> bool:
        """Whether the answer does not end by itself: a watch, or a command's output."""
        return "watch=" in self.path or self.headers.get("Upgrade") is not None

    def refuse(self, code: int, **headers: str) -> None:
        """Answers with a status and a text that is no Status object."""
        text = b"not now"
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def reset(self) -> None:
        """Ends the connection without an answer."""
        self.close_connection = True

    def ask(self) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        """Sends the request on; the connection is to be closed."""
        server = urlsplit(self.upstream)
        assert server.hostname
        connection = http.client.HTTPSConnection(server.hostname, server.port, context=self.trust)
        kept = ("Authorization", "Accept", "Content-Type")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        connection.request(self.command, self.path, self.body, headers)
        return connection, connection.getresponse()

    def forward(self, *, answered: bool = True, cut: bool = False) -> None:
        """Hands the request on; the answer comes back, or half of it, or nothing."""
        if self.headers.get("Upgrade"):
            self.tunnel()
            return
        connection, response = self.ask()
        try:
            self.close_connection = True
            if not answered:
                response.read()
                return
            self.send_response(response.status)
            self.send_header("Content-Type", response.headers["Content-Type"])
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            while piece := response.read1(65536):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if cut:
                    return
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever watched has seen enough
        finally:
            connection.close()

    def say(self, code: int, kind: str, text: bytes) -> None:
        """Answers with what was answered once."""
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def tunnel(self, most: int | None = None) -> None:
        """Hands a WebSocket on, up to so many bytes of what is answered."""
        self.close_connection = True
        server = urlsplit(self.upstream)
        assert server.hostname
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        with (
            socket.create_connection((server.hostname, server.port or 443)) as plain,
            self.trust.wrap_socket(plain, server_hostname=server.hostname) as there,
        ):
            there.sendall(f"{self.command} {self.path} HTTP/1.1\r\n{head}\r\n".encode())
            up = threading.Thread(target=_pump, args=(self.connection, there), daemon=True)
            up.start()
            _pump(there, self.connection, most)
            for end in (self.connection, there):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            up.join()


def _pump(source: socket.socket, target: socket.socket, most: int | None = None) -> None:
    left = most
    with contextlib.suppress(OSError):
        while (left is None or left > 0) and (piece := source.recv(65536)):
            piece = piece if left is None else piece[:left]
            target.sendall(piece)
            left = None if left is None else left - len(piece)


def behind_proxy(kubeconfig: str, fault: Fault) -> str:
    """A kubeconfig that leads to the cluster of another one through a proxy."""
    path = Path(kubeconfig)
    config = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    Proxy.fault = staticmethod(fault)
    Proxy.upstream = cluster["server"]
    Proxy.trust = ssl._create_unverified_context()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster.clear()
    cluster["server"] = f"http://127.0.0.1:{server.server_port}"
    faulty = path.with_name("kubeconfig-faulty")
    faulty.write_text(yaml.safe_dump(config))
    return str(faulty)
