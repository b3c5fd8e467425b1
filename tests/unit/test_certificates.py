"""Who has a certificate of an authority is believed, and only by those who trust it."""

from __future__ import annotations

import base64
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
import yaml

from clusters.kit.certificates import Authority, Issued, credentials, kubeconfig, write_private


def context(side: int, authority: Authority, issued: Issued, place: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side else ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=authority.certificate.decode())
    made.verify_mode = ssl.CERT_REQUIRED
    both = place / f"{side}.pem"
    write_private(both, issued.key + issued.certificate)
    made.load_cert_chain(both)
    return made


def subject_seen(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> dict[str, str]:
    """The subject that the server reads in the client's certificate."""
    seen: dict[str, str] = {}
    here, there = socket.socketpair()

    def serve() -> None:
        with here, server.wrap_socket(here, server_side=True) as connection:
            peer = connection.getpeercert() or {}
            seen.update(pair for name in peer["subject"] for pair in name)  # type: ignore[misc]
            connection.sendall(b".")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with there, client.wrap_socket(there, server_hostname=host) as connection:
            connection.recv(1)
    finally:
        thread.join()
    return seen


def test_both_sides_prove_who_they_are(tmp_path: Path) -> None:
    authority = Authority("test")
    server = authority.issue("server", hosts=("127.0.0.1", "node-1"))
    client = authority.issue("system:node:node-1", group="system:nodes")
    for host in ("127.0.0.1", "node-1"):
        seen = subject_seen(
            context(1, authority, server, tmp_path), context(0, authority, client, tmp_path), host
        )
        assert seen == {"organizationName": "system:nodes", "commonName": "system:node:node-1"}


def test_a_server_is_not_believed_under_another_name(tmp_path: Path) -> None:
    authority = Authority("test")
    one = authority.issue("server", hosts=("node-1",))
    server, client = context(1, authority, one, tmp_path), context(0, authority, one, tmp_path)
    server.verify_mode = ssl.CERT_NONE
    here, there = socket.socketpair()
    thread = threading.Thread(target=_refused, args=(here, server))
    thread.start()
    with pytest.raises(ssl.SSLCertVerificationError, match="node-2"), there:
        client.wrap_socket(there, server_hostname="node-2")
    thread.join()


def _refused(connection: socket.socket, server: ssl.SSLContext) -> None:
    with connection, pytest.raises((ssl.SSLError, OSError)):
        server.wrap_socket(connection, server_side=True).recv(1)


def test_a_kubeconfig_has_the_credentials_and_is_private(tmp_path: Path) -> None:
    authority = Authority("test")
    issued = authority.issue("admin", group="system:masters")
    text = kubeconfig(
        name="c",
        url="https://127.0.0.1:1",
        authority=authority.certificate,
        user=credentials(issued),
    )
    path = tmp_path / "kubeconfig"
    write_private(path, text.encode())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    assert base64.b64decode(user["client-certificate-data"]) == issued.certificate
    assert base64.b64decode(user["client-key-data"]) == issued.key
