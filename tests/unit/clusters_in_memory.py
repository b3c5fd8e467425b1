"""A simulated cluster for tests that speak with its API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusters import providers
from clusters.contract.provider import Handle
from clusters.contract.shape import ClusterSpec


@contextmanager
def brought_up(runtime: Path, spec: ClusterSpec | None = None) -> Iterator[Handle]:
    """A cluster, for as long as the context lasts; its directory is in `runtime`."""
    directory = runtime / "c"
    directory.mkdir()
    provider = providers.provider("simulated")
    wanted = spec or ClusterSpec()
    handle = provider.up("there", wanted, directory, progress=lambda _: None, detached=False)
    try:
        yield handle
    finally:
        provider.down(handle)
