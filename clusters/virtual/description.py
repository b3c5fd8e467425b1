"""The provider ``virtual``, described."""

from __future__ import annotations

from dataclasses import dataclass

from clusters.contract.describing import SHAPE, Description, Option
from clusters.host.needs import NODE
from clusters.kit.options import IMAGES, KUBEVIRT
from clusters.virtual_node import topology


@dataclass(frozen=True)
class Settings:
    """The options, as `ClusterSpec.options` has them.

    Attributes:
        kubernetes: directory with the Kubernetes programs, None for the pinned release.
        kubevirt: where the KubeVirt to deploy comes from: URL, file or directory; None or
            ``none`` for nowhere.
        images: archive of container images, or a directory of them.
    """

    kubernetes: str | None = None
    kubevirt: str | None = None
    images: str | None = None


DESCRIPTION = Description(
    "virtual",
    "a real Kubernetes and KubeVirt on virtual nodes of this host",
    options=(
        SHAPE,
        KUBEVIRT,
        IMAGES,
        Option(
            "--kubernetes",
            "with the Kubernetes programs of a virtual cluster (default: a release, fetched once)",
            {"metavar": "DIR"},
        ),
    ),
    at_once=2,
    need=NODE,
    limits=topology.why_not,
)
