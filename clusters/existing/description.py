"""The provider ``existing``, described."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from dataclasses import dataclass

from clusters.contract.describing import Description, Option, image_name
from clusters.contract.shape import KUBELET_ROOT


def directory_name(text: str) -> str:
    """An absolute path without glob characters. Raises ArgumentTypeError."""
    if not re.fullmatch(r"(/[\w.@+-]+)+", text):
        raise ArgumentTypeError(f"{text!r} is no absolute path of a directory on the nodes")
    return text


def namespace_name(text: str) -> str:
    """A name that a namespace can have. Raises ArgumentTypeError."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise ArgumentTypeError(f"{text!r} cannot be the name of a namespace")
    return text


@dataclass(frozen=True)
class Settings:
    """The options, as `ClusterSpec.options` has them.

    Attributes:
        kubeconfig: path of a kubeconfig, None for the usual one.
        context: which of its contexts, None for the current one.
        kubelet_root: where its kubelets keep their files.
        disruptive: scenarios may disturb it.
        node_ssh: command by which its nodes are read, None for another way
            (`clusters.existing.probes.CommandShell`).
        probe_image: image of pods by which they are read; without both virt-handler is used.
        namespace: that a run uses, and that is there already; None for one of its own.
        owner: who runs it, for whoever finds what it leaves; None for ``user@host``.
    """

    kubeconfig: str | None = None
    context: str | None = None
    kubelet_root: str = KUBELET_ROOT
    disruptive: bool = False
    node_ssh: str | None = None
    probe_image: str | None = None
    namespace: str | None = None
    owner: str | None = None


DESCRIPTION = Description(
    "existing",
    "a cluster of yours with KubeVirt, by its kubeconfig",
    options=(
        Option("--kubeconfig", "of an existing cluster", {"metavar": "FILE"}),
        Option("--context", "of the kubeconfig", {"metavar": "NAME"}),
        Option(
            "--kubelet-root",
            f"root directory of its kubelets (default: {KUBELET_ROOT})",
            {"type": directory_name, "default": KUBELET_ROOT, "metavar": "DIR"},
        ),
        Option(
            "--disruptive",
            "let scenarios fill its nodes, take their labels and turn feature gates off; all is "
            "put back",
            {"action": "store_true"},
        ),
        Option(
            "--node-ssh",
            "read its nodes by a command instead of through virt-handler, such as "
            "'ssh root@{address}'; {node} is the node's name",
            {"metavar": "COMMAND"},
            private=True,
        ),
        Option(
            "--probe-image",
            "read its nodes through privileged pods of this image, which needs sh, cat and sleep",
            {"type": image_name, "metavar": "REF"},
        ),
        Option(
            "--namespace",
            "make everything in this namespace, which is there already, and touch nothing else in "
            "it; without the right to create and delete namespaces",
            {"metavar": "NAME", "type": namespace_name},
        ),
        Option(
            "--owner",
            "who runs it, noted on everything that is made (default: USER@HOST)",
            {"metavar": "NAME"},
        ),
    ),
    made=False,
)
