"""How a cluster is brought up, found again from another process, and taken down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from clusters.contract.access import ClusterAccess
from clusters.contract.shape import ClusterSpec

Progress = Callable[[str], None]
"""Receives one line at a time, to be shown to a person who waits."""


class ClusterError(Exception):
    """The cluster could not be brought up or has broken; the message says what to do."""


@dataclass(frozen=True)
class Handle:
    """Everything another process needs to reach a running cluster; JSON-serialisable.

    Attributes:
        provider: name of the provider, such as ``embedded``.
        name: the cluster's own name; two clusters on one host differ in it.
        directory: the cluster's run directory (kubeconfig, sockets, logs).
        kubeconfig: path of the kubeconfig.
        details: what the provider itself wants to find again.
    """

    provider: str
    name: str
    directory: str
    kubeconfig: str
    details: Mapping[str, str] = field(default_factory=dict)

    def dump(self) -> str:
        """The handle as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Handle:
        """Reads what `dump` wrote."""
        return cls(**json.loads(text))


class Provider(Protocol):
    """One kind of cluster."""

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """Brings a cluster up and returns when its API and its nodes are ready.

        Args:
            name: name of the cluster.
            spec: the requested nodes.
            directory: an empty directory for its run files; short, since sockets live there.
            progress: is told what is being waited for.
            detached: the cluster outlives this process; otherwise it dies with it, even
                when this process is killed.

        Raises:
            ClusterError: it did not come up; nothing is left running.
        """
        ...

    def connect(self, handle: Handle) -> ClusterAccess:
        """Reaches a running cluster from this process."""
        ...

    def alive(self, handle: Handle) -> str | None:
        """None while the cluster runs, else one line that says what died.

        Raises ClusterError when it is not this run's any more, and will not be again.
        """
        ...

    def down(self, handle: Handle) -> None:
        """Takes the cluster down and removes what it left. Safe to call twice."""
        ...
