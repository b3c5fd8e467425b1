"""Who is who in a virtual cluster: certificates and keys, as files below one directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clusters.kit.certificates import (
    Authority,
    Issued,
    credentials,
    kubeconfig,
    new_key,
    write_private,
)
from clusters.virtual.network import SERVICE_OF_THE_API

LOOPBACK = "127.0.0.1"
ADMINISTRATORS = "system:masters"
FRONT_PROXY = "front-proxy-client"
"""As whom the API server asks aggregated API servers, KubeVirt's among them."""
NODES = "system:nodes"


@dataclass(frozen=True)
class Pki:
    """The files, and the authority for whoever comes later.

    Attributes:
        directory: where they are; readable by the owner alone.
        authority: of everybody.
        url: of the API server, as this host reaches it.
    """

    directory: Path
    authority: Authority
    url: str

    def path(self, name: str) -> str:
        """Of a file: ``ca.crt``, ``server.crt``, ``server.key``, ``service-accounts.key``,
        ``front-proxy.crt``, ``front-proxy.key``,
        or a client's kubeconfig, such as ``admin.kubeconfig``.
        """
        return str(self.directory / name)

    def kubeconfig(self, user: Issued, url: str | None = None) -> bytes:
        """With the certificate of a user, for the API server at another URL where one is given."""
        return kubeconfig(
            name="virtual",
            url=url or self.url,
            authority=self.authority.certificate,
            user=credentials(user),
        ).encode()

    def node(self, name: str, address: str) -> Issued:
        """The certificate of a kubelet: a client's, and that of its own server."""
        return self.authority.issue(f"system:node:{name}", group=NODES, hosts=(name, address))


def make(directory: Path, port: int) -> Pki:
    """Makes what the control plane needs.

    Args:
        directory: for the files.
        port: of the API server on this host's loopback.
    """
    pki = Pki(directory, Authority("cpu-conformance virtual cluster"), f"https://{LOOPBACK}:{port}")
    # Of the API server and of etcd, and what the API server shows to etcd and to kubelets.
    server = pki.authority.issue(
        "kube-apiserver",
        group=ADMINISTRATORS,
        hosts=(LOOPBACK, SERVICE_OF_THE_API, "localhost", "kubernetes.default.svc"),
    )
    front_proxy = pki.authority.issue(FRONT_PROXY)
    files = {
        "ca.crt": pki.authority.certificate,
        "front-proxy.crt": front_proxy.certificate,
        "front-proxy.key": front_proxy.key,
        "server.crt": server.certificate,
        "server.key": server.key,
        "service-accounts.key": new_key(),
    }
    for user, group in (
        ("admin", ADMINISTRATORS),
        ("system:kube-controller-manager", ""),
        ("system:kube-scheduler", ""),
    ):
        name = f"{user.removeprefix('system:')}.kubeconfig"
        files[name] = pki.kubeconfig(pki.authority.issue(user, group=group))
    for name, data in files.items():
        write_private(directory / name, data)
    return pki
