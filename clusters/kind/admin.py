"""What an administrator does on a kind node, whose kubelet is a unit of its own systemd."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError
from clusters.kind.config import KUBELET_PATCH
from clusters.kind.engine import Engine

CONFIG = "/var/lib/kubelet/config.yaml"
CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"
HEALTH = "http://127.0.0.1:10248/healthz"
START_SECONDS = 180.0

_PROCESS = "systemctl show --property MainPID --value kubelet"
_RESTART = f"""
before=$({_PROCESS})
systemctl stop kubelet
%s
systemctl start kubelet
until curl --fail --silent --output /dev/null {HEALTH}; do sleep 0.5; done
echo "the kubelet was process $before, then $({_PROCESS})"
"""
_NEW_POLICY = f"cat >{CONFIG}; rm -f {CHECKPOINT}"


class Administrator:
    """`clusters.contract.access.NodeControl` of a kind cluster.

    Args:
        engine: whose containers the nodes are.
        patches: by worker, the directory of this host with what its kubelet was told.
    """

    def __init__(self, engine: Engine, patches: Mapping[str, Path]) -> None:
        self._engine = engine
        self._patches = patches

    def restart_kubelet(self, node: str) -> str:
        """As `NodeControl.restart_kubelet`."""
        return self._run(node, _RESTART % ":")

    def set_cpu_manager_policy(self, node: str, policy: str) -> str:
        """As `NodeControl.set_cpu_manager_policy`."""
        configuration = yaml.safe_load(self._run(node, f"cat {CONFIG}"))
        configuration |= yaml.safe_load((self._patches[node] / KUBELET_PATCH).read_text())
        configuration["cpuManagerPolicy"] = policy
        if policy != "static":
            # With options it would refuse to start.
            configuration.pop("cpuManagerPolicyOptions", None)
        return self._run(node, _RESTART % _NEW_POLICY, yaml.safe_dump(configuration).encode())

    def _run(self, node: str, script: str, stdin: bytes = b"") -> str:
        if node not in self._patches:
            raise AccessError(f"there is no worker {node}, only {', '.join(self._patches)}")
        words = ("exec", "--interactive", node, "bash", "-ec", script)
        try:
            ended = self._engine.run(*words, stdin=stdin, seconds=START_SECONDS)
        except ClusterError as error:
            raise AccessError(f"the kubelet of node {node} does not come up: {error}") from error
        said = (ended.stdout if not ended.returncode else ended.stderr).decode(errors="replace")
        if ended.returncode:
            raise AccessError(f"on node {node}, `{self._engine.name} exec` says: {said.strip()}")
        return said.strip()
