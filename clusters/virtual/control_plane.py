"""etcd, API server, controllers and scheduler: processes of this host, on its loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from clusters.contract.provider import ClusterError
from clusters.kit.api import Api, ApiError, once
from clusters.virtual.binaries import Binaries
from clusters.virtual.network import SERVICES, node_address
from clusters.virtual.pki import FRONT_PROXY, LOOPBACK, Pki

DIRECTORY = "control-plane"
"""Below the cluster's: logs, data, certificates."""
LAST_LINES = 15
NODE_GRACE = "5m"
"""Without a sign of life from a node; its CPUs are slow."""


@dataclass(frozen=True)
class Ports:
    """On this host's loopback."""

    etcd: int
    api: int


def egress(socket: Path) -> str:
    """The API server's EgressSelectorConfiguration: nodes and pods through a proxy."""
    connection = {
        "proxyProtocol": "HTTPConnect",
        "transport": {"uds": {"udsName": str(socket)}},
    }
    return yaml.safe_dump(
        {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": connection}],
        }
    )


def commands(
    binaries: Binaries, pki: Pki, ports: Ports, data: Path, egress_file: Path
) -> Mapping[str, Sequence[str]]:
    """Command lines by program, in the order in which they are started.

    Args:
        binaries: what is run.
        pki: certificates.
        ports: to listen on.
        data: directory of etcd's data.
        egress_file: with `egress` in it.
    """
    authority, certificate, key = (
        pki.path(name) for name in ("ca.crt", "server.crt", "server.key")
    )
    etcd = f"https://{LOOPBACK}:{ports.etcd}"
    accounts = pki.path("service-accounts.key")
    apart = {
        "bind-address": LOOPBACK,
        # Nobody asks them anything.
        "secure-port": "0",
        "leader-elect": "false",
    }
    flags: Mapping[str, Mapping[str, str]] = {
        "etcd": {
            "data-dir": str(data),
            "listen-client-urls": etcd,
            "advertise-client-urls": etcd,
            # It has no peers.
            "listen-peer-urls": f"https://{LOOPBACK}:0",
            "trusted-ca-file": authority,
            "cert-file": certificate,
            "key-file": key,
            "client-cert-auth": "true",
            "peer-trusted-ca-file": authority,
            "peer-cert-file": certificate,
            "peer-key-file": key,
            "peer-client-cert-auth": "true",
        },
        "kube-apiserver": {
            "etcd-servers": etcd,
            "etcd-cafile": authority,
            "etcd-certfile": certificate,
            "etcd-keyfile": key,
            "bind-address": LOOPBACK,
            "secure-port": str(ports.api),
            # Where pods would find it; nobody puts that into a service's endpoints.
            "advertise-address": node_address(1),
            "endpoint-reconciler-type": "none",
            "client-ca-file": authority,
            "tls-cert-file": certificate,
            "tls-private-key-file": key,
            "kubelet-client-certificate": certificate,
            "kubelet-client-key": key,
            "kubelet-certificate-authority": authority,
            "kubelet-preferred-address-types": "InternalIP",
            "egress-selector-config-file": str(egress_file),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "enable-aggregator-routing": "true",
            "requestheader-client-ca-file": authority,
            "requestheader-allowed-names": FRONT_PROXY,
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": pki.path("front-proxy.crt"),
            "proxy-client-key-file": pki.path("front-proxy.key"),
            "service-cluster-ip-range": SERVICES,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": accounts,
            "service-account-signing-key-file": accounts,
        },
        "kube-controller-manager": {
            **apart,
            "kubeconfig": pki.path("kube-controller-manager.kubeconfig"),
            "root-ca-file": authority,
            "service-account-private-key-file": accounts,
            # Each controller has rights of its own, and this process itself next to none.
            "use-service-account-credentials": "true",
            "node-monitor-grace-period": NODE_GRACE,
        },
        "kube-scheduler": {**apart, "kubeconfig": pki.path("kube-scheduler.kubeconfig")},
    }
    programs = {name: str(binaries.etcd) if name == "etcd" else binaries[name] for name in flags}
    return {
        name: [programs[name], *(f"--{flag}={value}" for flag, value in given.items())]
        for name, given in flags.items()
    }


class ControlPlane:
    """Its processes, each with a log of its own in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str, command: Sequence[str]) -> None:
        """Starts one program; the kernel ends it with this process."""
        with self.log(name).open("wb") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL"),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
            )

    def log(self, name: str) -> Path:
        """Where a program's words go."""
        return self._directory / f"{name}.log"

    def dead(self) -> str | None:
        """What has ended, with its last words; None while everything runs."""
        for name, process in self._running.items():
            if process.returncode is not None:
                text = self.log(name).read_text(errors="replace")
                last = "\n".join(text.splitlines()[-LAST_LINES:])
                return f"{name} has ended with {process.returncode}:\n{last}"
        return None

    def not_ready(self, kubeconfig: str) -> str | None:
        """Why the API server cannot be used yet. Raises ClusterError when something has died."""
        if dead := self.dead():
            raise ClusterError(dead)
        try:
            api = Api(kubeconfig, retry=once)
            try:
                api.text("/readyz")
            finally:
                api.close()
        except ApiError as error:
            return f"{error} (its log is {self.log('kube-apiserver')})"
        return None

    async def stop(self) -> None:
        """Ends everything at once: what they would save is thrown away."""
        for process in self._running.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def control_plane(
    directory: Path, started: Mapping[str, Sequence[str]]
) -> AsyncIterator[ControlPlane]:
    """Everything started, and ended with the context."""
    plane = ControlPlane(directory)
    try:
        for name, command in started.items():
            await plane.start(name, command)
        yield plane
    finally:
        await plane.stop()
