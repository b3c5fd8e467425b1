"""The provider ``embedded``, described."""

from __future__ import annotations

from clusters.contract.describing import SHAPE, Description
from clusters.host.needs import NODE
from clusters.kit.options import IMAGES
from clusters.reference.options import BREAK
from clusters.virtual_node import topology

IMMOBILE = "guests of virtual nodes do not migrate: those of --cluster simulated do"
"""Why no VMI can be migrated: nested guests have no network between their launchers."""

DESCRIPTION = Description(
    "embedded",
    "the reference stack on virtual nodes of this host",
    options=(SHAPE, BREAK, IMAGES),
    need=NODE,
    limits=topology.why_not,
)
