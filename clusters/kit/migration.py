"""Whether VMIs with dedicated CPUs may migrate between the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Collection

from clusters.contract.access import Capability


def migration(pinning: Collection[str]) -> Capability:
    """What the nodes that pin CPUs allow: a guest leaves one of them for another."""
    names = ", ".join(sorted(pinning)) or "none"
    if len(pinning) > 1:
        return Capability(True, f"{names} pin CPUs")
    return Capability(False, f"it takes two nodes that pin CPUs, and here that is {names}")
