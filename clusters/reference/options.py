"""Options of providers that run the reference stack."""

from __future__ import annotations

from collections.abc import Sequence

from clusters.contract.describing import Option
from clusters.contract.shape import ClusterSpec
from clusters.reference.faults import SWITCHES

BREAK = Option(
    "--break",
    "break a behaviour of the embedded or simulated stack on purpose; repeatable",
    {"action": "append", "choices": SWITCHES, "metavar": "FAULT"},
)


def broken(spec: ClusterSpec) -> Sequence[str]:
    """The names of the switches that are asked for."""
    return spec.options.get(BREAK.name) or ()
