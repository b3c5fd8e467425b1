"""The provider ``kind``, described."""

from __future__ import annotations

from dataclasses import dataclass

from clusters.contract.describing import SHAPE, Description, Need, Option
from clusters.host.needs import LIBVIRT
from clusters.kit.options import IMAGES, KUBEVIRT


@dataclass(frozen=True)
class Settings:
    """The options, as `ClusterSpec.options` has them.

    Attributes:
        workers: nodes beside the control plane.
        kubevirt: where the KubeVirt to deploy comes from: URL, file or directory, ``none`` for
            nowhere, None for the pinned release.
        images: archive of container images, or a directory of them, None for a registry.
    """

    workers: int = 1
    kubevirt: str | None = None
    images: str | None = None


DESCRIPTION = Description(
    "kind",
    "KubeVirt on nodes that are containers of this host",
    options=(
        SHAPE,
        Option(
            "--workers",
            "nodes of a kind cluster that take VMIs (default: 1)",
            {"type": int, "default": 1, "metavar": "N"},
        ),
        KUBEVIRT,
        IMAGES,
    ),
    need=Need("reading the launchers of a kind cluster", modules=LIBVIRT, group="libvirt"),
)
