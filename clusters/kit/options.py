"""Options of providers that deploy a KubeVirt."""

from __future__ import annotations

from clusters.contract.describing import Option

KUBEVIRT = Option(
    "--kubevirt",
    "where the KubeVirt of a cluster that is made comes from (default: a pinned release)",
    {"metavar": "URL|FILE|DIR|none"},
)
IMAGES = Option(
    "--images",
    "archives of container images that a cluster is given, for hosts without a registry",
    {"metavar": "DIR|FILE"},
)
