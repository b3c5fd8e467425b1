"""``python -m tests.unit.faulty_run FAULT COMMAND...``: `./conform` with something that fails.

Either the clusters that it brings up are reached through a proxy on loopback that does not
always do what it is asked, or there is no room for the evidence after a while. What fails is
counted, not drawn: every run is alike.
"""

from __future__ import annotations

import errno
import http.client
import itertools
import os
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from clusters import providers
from clusters.contract.provider import Handle
from conformance import settling
from conformance.checks.registry import registered
from conformance.cli import main
from conformance.collecting import bundle
from conformance.judging import terms

EVERY = 5
"""One request in so many fails."""
FILES = 9
"""Files of evidence for which there is room."""
LIVES = 25
"""Requests that are answered before an API goes away for good."""

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

    def forward(self, *, answered: bool = True, cut: bool = False) -> None:
        """Hands the request on; the answer comes back, or half of it, or nothing."""
        server = urlsplit(self.upstream)
        assert server.hostname
        connection = http.client.HTTPSConnection(server.hostname, server.port, context=self.trust)
        kept = ("Authorization", "Accept", "Content-Type")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        try:
            connection.request(self.command, self.path, self.body, headers)
            response = connection.getresponse()
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


def now_and_then(proxy: Proxy) -> None:
    """Each kind of fault in turn, with good answers between them."""
    number = next(Proxy.counter)
    if number % EVERY:
        proxy.forward()
        return
    faults: tuple[Callable[[], None], ...] = (
        lambda: proxy.refuse(500),
        lambda: proxy.refuse(429, Retry_After="0"),
        proxy.reset,
        lambda: proxy.forward(answered=False),
        lambda: proxy.forward(cut=True),
        lambda: proxy.refuse(503),
    )
    faults[number // EVERY % len(faults)]()


def for_good(proxy: Proxy) -> None:
    """Resets every connection after a while."""
    if next(Proxy.counter) <= LIVES:
        proxy.forward()
    else:
        proxy.reset()


def no_room() -> None:
    """Lets the disk be full after some files of evidence."""
    written = itertools.count(1)
    write = bundle._write

    def full(directory: Path, name: str, data: Mapping[str, Any]) -> None:
        if next(written) > FILES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory / name))
        write(directory, name, data)

    bundle._write = full


def bad_check() -> None:
    """Lets a check break: an error of our own, whatever the cluster is like."""

    def breaks(*_about: object) -> str:
        raise ZeroDivisionError("a slip of ours")

    broken = {"CPU-COUNT": replace(registered()["CPU-COUNT"], compare=breaks)}
    patched: Any = terms
    patched.registered = lambda: {**registered(), **broken}


FAULTS: dict[str, Fault] = {"now-and-then": now_and_then, "for-good": for_good}


def behind_proxy(handle: Handle) -> Handle:
    """The cluster, with a kubeconfig that leads to the proxy."""
    path = Path(handle.kubeconfig)
    config = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    Proxy.upstream = cluster["server"]
    Proxy.trust = ssl._create_unverified_context()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster.clear()
    cluster["server"] = f"http://127.0.0.1:{server.server_port}"
    faulty = path.with_name("kubeconfig-faulty")
    faulty.write_text(yaml.safe_dump(config))
    return replace(handle, kubeconfig=str(faulty))


def bad_api(fault: Fault) -> None:
    """Puts the proxy in front of every simulated cluster."""
    Proxy.fault = staticmethod(fault)
    settling.FIRST_RETRY = 0.01
    provider: Any = providers.provider("simulated")
    up = provider.up
    provider.up = lambda *arguments, **keywords: behind_proxy(up(*arguments, **keywords))


if __name__ == "__main__":
    if sys.argv[1] == "no-room":
        no_room()
    elif sys.argv[1] == "bad-check":
        bad_check()
    else:
        bad_api(FAULTS[sys.argv[1]])
    raise SystemExit(main(sys.argv[2:]))
