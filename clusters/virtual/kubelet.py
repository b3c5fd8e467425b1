"""A kubelet on a virtual node: its configuration, its start, and what an administrator does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from clusters.contract.access import AccessError
from clusters.contract.shape import NodeSpec
from clusters.host import daemon
from clusters.virtual import network
from clusters.virtual.node_layout import (
    CHECKPOINT,
    CONFIG,
    CONTAINERD_SOCKET,
    KUBECONFIG,
    KUBELET,
    KUBELET_LOG,
    PID,
    PKI,
    PLUGIN_CONFIG,
)
from clusters.virtual.pki import LOOPBACK, Pki
from clusters.virtual_node import machine
from clusters.virtual_node.shell import Shell

HEALTH_PORT = 10248
KEPT_MEMORY = "50Mi"
"""What pods do not get."""
START_SECONDS = 180
"""An emulated node needs a good part of it."""


def configuration(node: NodeSpec) -> dict[str, Any]:
    """The KubeletConfiguration (kubelet.config.k8s.io/v1beta1)."""
    cpu_manager, near = node.cpu_manager, node.topology_manager
    chosen: dict[str, Any] = {
        "cpuManagerPolicy": cpu_manager.policy,
        "reservedSystemCPUs": ",".join(map(str, sorted(cpu_manager.reserved))),
    }
    # Another policy than static refuses to start with options.
    if cpu_manager.options and cpu_manager.policy == "static":
        chosen["cpuManagerPolicyOptions"] = dict.fromkeys(sorted(cpu_manager.options), "true")
        chosen["featureGates"] = {"CPUManagerPolicyAlphaOptions": True}
    if near.policy != "none":
        chosen["topologyManagerPolicy"], chosen["topologyManagerScope"] = near.policy, near.scope
    if node.memory_manager_policy != "None":
        # It wants all that is kept from pods to be somewhere, which is the threshold below.
        first = next(each.id for each in node.shape.hardware.numa if each.memory_mib)
        chosen["memoryManagerPolicy"] = node.memory_manager_policy
        chosen["reservedMemory"] = [{"numaNode": first, "limits": {"memory": KEPT_MEMORY}}]
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **chosen,
        "address": "0.0.0.0",
        "port": network.KUBELET_PORT,
        "healthzPort": HEALTH_PORT,
        "tlsCertFile": f"{PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        # Who has a certificate of the cluster's authority may do everything; asking the API
        # server each time is slow, and the node is reached through this cluster alone.
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        # The node has no systemd.
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [network.DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        # Its disk is memory, and ends with it.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": KEPT_MEMORY},
        # Its CPUs are slow.
        "runtimeRequestTimeout": "10m",
    }


def files(node: NodeSpec, number: int, pki: Pki) -> Mapping[str, bytes]:
    """What a node gets for this cluster alone, by path."""
    own = pki.node(node.name, network.node_address(number))
    return {
        CONFIG: _dump(configuration(node)),
        KUBECONFIG: pki.kubeconfig(own, f"https://{network.SERVICE_OF_THE_API}:{network.API_PORT}"),
        PLUGIN_CONFIG: network.plugin_configuration(network.pod_range(number)),
        f"{PKI}/ca.crt": pki.authority.certificate,
        f"{PKI}/kubelet.crt": own.certificate,
        f"{PKI}/kubelet.key": own.key,
    }


def command(node: str, number: int) -> list[str]:
    """The kubelet's command line."""
    return [
        KUBELET,
        f"--config={CONFIG}",
        f"--kubeconfig={KUBECONFIG}",
        f"--hostname-override={node}",
        f"--node-ip={network.node_address(number)}",
    ]


def network_script(number: int, nodes: int) -> str:
    """Gives a node its address, that of the API's service, and the way to the other nodes."""
    own = (network.node_address(number), network.SERVICE_OF_THE_API)
    lines = ["set -e", *(f"ip address add {address}/32 dev lo" for address in own)]
    if nodes > 1:
        lines.append(network.wire_script(number, nodes))
    return "\n".join(lines)


def start_script(node: str, number: int) -> str:
    """Starts the kubelet and ends when it works; it leaves its id in a file."""
    health = f"http://{LOOPBACK}:{HEALTH_PORT}/healthz"
    return f"""
setsid {shlex.join(command(node, number))} >>{KUBELET_LOG} 2>&1 </dev/null &
kubelet=$!
echo $kubelet >{PID}
until wget -q -O /dev/null {health} 2>/dev/null; do
    kill -0 $kubelet 2>/dev/null || {{ tail -n 5 {KUBELET_LOG} >&2; exit 1; }}
    sleep 0.5
done
echo $kubelet
"""


STOP_SCRIPT = f"""
read -r kubelet <{PID}
kill $kubelet 2>/dev/null
while kill -0 $kubelet 2>/dev/null; do sleep 0.2; done
echo $kubelet
"""


def start(
    shell: Shell, node: NodeSpec, number: int, nodes: int, pki: Pki, *, api_port: int
) -> None:
    """Makes a booted node one of so many of the cluster; returns when its kubelet works.

    Raises AccessError.
    """
    shell.run(network_script(number, nodes))
    shell.reverse(network.SERVICE_OF_THE_API, network.API_PORT, api_port)
    for path, data in files(node, number, pki).items():
        shell.run(f"mkdir -p {Path(path).parent}; umask 077; cat >{path}", stdin=data)
    shell.run(start_script(node.name, number), timeout_seconds=START_SECONDS)


class Administrator:
    """`clusters.contract.access.NodeControl` of a cluster whose run directory this is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spec = daemon.load_spec((directory / daemon.REQUEST).read_text())

    def restart_kubelet(self, node: str) -> str:
        """As `NodeControl.restart_kubelet`."""
        return self._restarted(node, None)

    def set_cpu_manager_policy(self, node: str, policy: str) -> str:
        """As `NodeControl.set_cpu_manager_policy`."""
        return self._restarted(node, policy)

    def _restarted(self, name: str, policy: str | None) -> str:
        names = [node.name for node in self._spec.nodes]
        found = machine.load(self._directory / name) if name in names else None
        if found is None:
            raise AccessError(f"there is no node {name}, only {', '.join(names)}")
        shell = found.shell
        before = shell.run(STOP_SCRIPT, timeout_seconds=START_SECONDS).text.strip()
        if policy is not None:
            node = self._spec.nodes[names.index(name)]
            asked = replace(node, cpu_manager=replace(node.cpu_manager, policy=policy))
            shell.write(CONFIG, _dump(configuration(asked)))
            shell.run(["rm", "-f", CHECKPOINT])
        script = start_script(name, names.index(name) + 1)
        after = shell.run(script, timeout_seconds=START_SECONDS).text.strip()
        return f"the kubelet was process {before}, then {after}"


def _dump(document: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(document), sort_keys=False).encode()
