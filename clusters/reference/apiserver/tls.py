"""TLS of the API server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from clusters.host import scratch
from clusters.kit.certificates import Authority


@dataclass(frozen=True)
class ServerTls:
    """TLS of one server.

    Attributes:
        context: for the listening socket.
        authority: PEM of the authority that clients are to trust.
    """

    context: ssl.SSLContext
    authority: bytes


def make_tls(address: str) -> ServerTls:
    """A new authority, and a certificate for an IP address and ``localhost``."""
    authority = Authority("cpu-conformance embedded cluster")
    own = authority.issue("kube-apiserver", hosts=(address, "localhost", "kubernetes.default.svc"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module reads certificates from files only.
    with scratch.directory() as directory:
        path = Path(directory) / "server.pem"
        path.write_bytes(own.key + own.certificate)
        context.load_cert_chain(path)
    return ServerTls(context, authority.certificate)
