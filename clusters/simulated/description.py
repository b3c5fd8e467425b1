"""The provider ``simulated``, described."""

from __future__ import annotations

from clusters.contract.describing import SHAPE, Description
from clusters.reference.options import BREAK

DESCRIPTION = Description(
    "simulated",
    "the reference stack on nodes in memory, in seconds",
    options=(SHAPE, BREAK),
    at_once=0,
    light=True,
)
