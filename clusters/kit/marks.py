"""What tells this tool's objects from everybody else's, on a cluster that is not its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RUN = "cpu-conformance/run"
"""Label of whatever a run makes: its id."""
OWNER = "cpu-conformance/owner"
"""Annotation of it: who started the run."""
TTL = "cpu-conformance/ttl"
"""Annotation of it: how long after the last sign of life of its run it may be removed."""
LASTS_SECONDS = 300
"""How long a run that gives no sign of life counts as alive. Longer than a run waits for an API
that is away, with the time between two signs."""


@dataclass(frozen=True)
class Mark:
    """Whose something is.

    Attributes:
        run: id of the run; also a label's value.
        owner: who started it, such as ``user@host``.
        seconds: after its last sign of life the run counts as dead.
    """

    run: str
    owner: str
    seconds: int = LASTS_SECONDS

    def on(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest with its mark."""
        metadata = dict(manifest["metadata"])
        metadata["labels"] = {**(metadata.get("labels") or {}), RUN: self.run}
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            OWNER: self.owner,
            TTL: f"{self.seconds}s",
        }
        return {**manifest, "metadata": metadata}


def whoever_runs_this() -> str:
    """``user@host``."""
    user = str(os.getuid())
    # In a container nobody may know the user's name.
    with contextlib.suppress(KeyError, OSError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def run_of(obj: Mapping[str, Any]) -> str:
    """The id of the run that made an object; empty where none did."""
    return str((obj["metadata"].get("labels") or {}).get(RUN) or "")


def owner_of(obj: Mapping[str, Any]) -> str:
    """Who started the run that made an object."""
    return str((obj["metadata"].get("annotations") or {}).get(OWNER) or "somebody")
