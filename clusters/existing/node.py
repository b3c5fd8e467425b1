"""A node's files, through an exec into the cluster's own virt-handler pod on it.

virt-handler is privileged and shares the node's process ids, so that ``/proc`` is the node's
own and ``/proc/1/root`` the node's root (kubevirt
pkg/virt-operator/resource/generate/components/daemonsets.go). ``sh`` and ``cat`` are all
that is needed of its image. Absolute symbolic links below ``/proc/1/root`` lead into the
pod instead of the node: what is behind them is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.contract.access import AccessError, NodeShell, Reading
from clusters.kit import framing, sampler
from clusters.kit.api import Api
from clusters.kit.pod_exec import ApiExec, CannotRunError, ExecSampling

HANDLER = "virt-handler"
HANDLER_LABEL = f"kubevirt.io={HANDLER}"
ROOT = "/proc/1/root"


@dataclass(frozen=True)
class Handler:
    """A virt-handler pod.

    Attributes:
        trouble: why it cannot be used, None when it can.
    """

    node: str
    namespace: str
    pod: str
    container: str
    trouble: str | None


def handlers(api: Api, label: str = HANDLER_LABEL) -> tuple[Handler, ...]:
    """Every virt-handler pod, or one with another label, that is bound to a node, one a node.

    Raises ApiError.
    """
    pods = api.items("/api/v1/pods", labelSelector=label)
    found: dict[str, Handler] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        handler = _handler(pod)
        # During a rollout a node may have an ending and a new one.
        if node and (node not in found or found[node].trouble):
            found[node] = handler
    return tuple(handler for _, handler in sorted(found.items()))


def _handler(pod: Any) -> Handler:
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    names = [container["name"] for container in spec["containers"]]
    trouble = None
    if meta.get("deletionTimestamp"):
        trouble = "it is being deleted"
    elif status.get("phase") != "Running":
        trouble = f"it is {status.get('phase') or 'in no phase'}"
    elif not spec.get("hostPID"):
        trouble = "it does not share the node's process ids (hostPID)"
    return Handler(
        node=spec.get("nodeName", ""),
        namespace=meta["namespace"],
        pod=meta["name"],
        container=HANDLER if HANDLER in names else names[0],
        trouble=trouble,
    )


class HandlerShell(framing.FramedShell):
    """`clusters.contract.access.NodeShell` through one virt-handler, or a pod as privileged."""

    def __init__(
        self, api: Api, exec_: ApiExec, handler: Handler, label: str = HANDLER_LABEL
    ) -> None:
        self._api = api
        self._label = label
        self._exec = exec_
        self._handler = handler

    def read(self, patterns: Sequence[str]) -> Reading:
        """As `NodeShell.read`."""
        reading = super().read(patterns)
        return Reading(
            {_here(path): text for path, text in reading.files.items()},
            {_here(path): why for path, why in reading.unreadable.items()},
        )

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """As `NodeShell.list`."""
        return tuple(sorted({_here(path) for path in super().list(patterns)}))

    def sample(self, first: str) -> ExecSampling:
        """As `NodeShell.sample`."""
        self._handler = handler = self._successor()
        command = sampler.command(ROOT)
        sampling = self._exec.sample(handler.namespace, handler.pod, handler.container, command)
        sampling.say(first)
        return sampling

    def _run(self, command: Sequence[str], patterns: Sequence[str]) -> bytes:
        handler = self._handler
        try:
            ended = self._exec.run_bytes(
                handler.namespace,
                handler.pod,
                handler.container,
                command,
                stdin=framing.dump_patterns([_there(pattern) for pattern in patterns]),
            )
        except CannotRunError:
            self._handler = self._successor()
            if self._handler == handler:
                raise
            return self._run(command, patterns)
        if ended.returncode:
            raise AccessError(
                f"node {handler.node}: reading through {handler.namespace}/{handler.pod} ended "
                f"with {ended.returncode}: {framing.decode(ended.stderr).strip()[:300]}"
            )
        return ended.stdout

    def _successor(self) -> Handler:
        """The node's virt-handler of now: it may have been replaced since."""
        for handler in handlers(self._api, self._label):
            if handler.node == self._handler.node:
                return handler
        return self._handler


ShellOf = Callable[[str], NodeShell]
"""The shell of a node by its name. Raises AccessError."""


def handler_shells(
    api: Api, exec_: ApiExec, found: Sequence[Handler], label: str = HANDLER_LABEL
) -> ShellOf:
    """Shells through these pods, which have that label."""
    by_node = {handler.node: handler for handler in found}
    what = label.partition("=")[2]

    def shell(node: str) -> NodeShell:
        handler = by_node.get(node)
        if handler is None:
            raise AccessError(f"there is no {what} pod on node {node}")
        if handler.trouble:
            pod = f"{handler.namespace}/{handler.pod}"
            raise AccessError(f"{pod} cannot be used: {handler.trouble}")
        return HandlerShell(api, exec_, handler, label)

    return shell


def _there(path: str) -> str:
    """The node's path as virt-handler sees it. /proc is the node's own there."""
    return path if path.startswith("/proc/") else ROOT + path


def _here(path: str) -> str:
    return path.removeprefix(ROOT)
