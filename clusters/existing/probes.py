"""Other ways to a node's files than virt-handler: a command such as ssh, and pods of our own."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError, Progress
from clusters.existing.claims import NAMESPACES, PRIVILEGED
from clusters.kit import framing, sampler
from clusters.kit.api import Api
from clusters.kit.marks import Mark
from clusters.kit.sampling import PipedSampling, piped

COMMAND_SECONDS = 180.0
PROBE_START_SECONDS = 180.0
PROBE_LABEL = "cpu-conformance/probe"
PROBE_CONTAINER = "probe"
_STAYS = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"
_NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})


class CommandShell(framing.FramedShell):
    """A `NodeShell` through a command of this host that reaches a shell there.

    Args:
        template: such as ``ssh root@{address}``; gets a line for the node's ``sh`` as its last
            word, and the names of files on its standard input.
        node: the node, as the API describes it.
    """

    def __init__(self, template: str, node: Mapping[str, Any]) -> None:
        self._node = str(node["metadata"]["name"])
        addresses = (node.get("status") or {}).get("addresses") or ()
        address = next((a["address"] for a in addresses if a["type"] == "InternalIP"), self._node)
        self._words = [
            word.replace("{node}", self._node).replace("{address}", address)
            for word in shlex.split(template)
        ]

    def sample(self, first: str) -> PipedSampling:
        """As `NodeShell.sample`."""
        shown = f"node {self._node}: `{shlex.join(self._words)}`"
        sampling = piped([*self._words, shlex.join(sampler.command())], shown)
        sampling.say(first)
        return sampling

    def _run(self, command: Sequence[str], patterns: Sequence[str]) -> bytes:
        shown = f"node {self._node}: `{shlex.join(self._words)}`"
        try:
            ended = subprocess.run(
                [*self._words, shlex.join(command)],
                input=framing.dump_patterns(patterns),
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
                # Without a terminal nothing asks for a password and waits for it.
                start_new_session=True,
            )
        except OSError as error:
            raise AccessError(f"{shown} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise AccessError(f"{shown} took longer than {COMMAND_SECONDS:.0f} s") from None
        if ended.returncode:
            said = framing.decode(ended.stderr or ended.stdout).strip()[-300:]
            raise AccessError(f"{shown} ended with {ended.returncode}: {said}")
        return ended.stdout


def start_probes(
    api: Api,
    namespace: str,
    image: str,
    nodes: Sequence[str],
    *,
    progress: Progress,
    mark: Mark | None = None,
) -> None:
    """Starts a privileged pod on each of the nodes.

    In a namespace made for them, or with the mark of a run in that which the run uses.

    Raises:
        ClusterError: they do not run; the namespace is gone again.
        ApiError: the API refused or did not answer; the same.
    """
    progress(f"starting probes on {len(nodes)} nodes, in namespace {namespace}")
    if mark is None:
        labels = {PRIVILEGED: "privileged", PROBE_LABEL: namespace}
        api.create(NAMESPACES, {"metadata": {"name": namespace, "labels": labels}})
    try:
        for number, node in enumerate(nodes, start=1):
            pod = probe_pod(f"probe-{number}", namespace, image, node)
            marked = pod if mark is None else mark.on(pod)
            api.create(f"/api/v1/namespaces/{namespace}/pods", marked)
        _await_probes(api, namespace, image)
    except BaseException:
        if mark is None:
            stop_probes(api, namespace)
        raise


def stop_probes(api: Api, namespace: str) -> None:
    """Removes the probes with their namespace, if they are there. Raises ApiError."""
    api.delete(f"/api/v1/namespaces/{namespace}")


def probe_pod(name: str, namespace: str, image: str, node: str) -> Mapping[str, Any]:
    """The manifest of a probe: as privileged as virt-handler, and doing nothing by itself."""
    small = {"cpu": "10m", "memory": "32Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {PROBE_LABEL: namespace}},
        "spec": {
            "nodeName": node,
            "hostPID": True,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": PROBE_CONTAINER,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", _STAYS],
                    "securityContext": {"privileged": True, "runAsUser": 0},
                    "resources": {"requests": small},
                }
            ],
        },
    }


def _await_probes(api: Api, namespace: str, image: str) -> None:
    deadline = time.monotonic() + PROBE_START_SECONDS
    while True:
        waits = {}
        selector = f"{PROBE_LABEL}={namespace}"
        for pod in api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector):
            status = pod.get("status") or {}
            if status.get("phase") != "Running":
                waits[str(pod["spec"].get("nodeName"))] = _why(status)
        if not waits:
            return
        late = time.monotonic() > deadline
        for node, why in waits.items():
            if late or any(reason in why for reason in _NO_IMAGE):
                raise ClusterError(
                    f"the probe on node {node} does not run ({why}): see that --probe-image "
                    f"{image} can be pulled there and has sh, cat and sleep, and that nothing "
                    "forbids privileged pods"
                )
        time.sleep(0.5)


def _why(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        for details in (state.get("waiting"), state.get("terminated")):
            if details:
                return f"{details.get('reason')} {details.get('message') or ''}".strip()
    return str(status.get("phase") or "not seen by its kubelet")
